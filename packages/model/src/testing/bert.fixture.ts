// A tiny BERT without a head, and what transformers embeds with it. Provenance in `evaluate/embeddings.test.ts`.
import { readFileSync } from 'node:fs';
import { expectedTensors } from '../architecture/expected-tensors.ts';
import { modelWeights } from '../architecture/model-weights.ts';
import { describeArchitecture } from '../architecture/registry.ts';
import { readModelConfig } from '../config/read-config.ts';
import { createModel } from '../language-model.ts';
import type { LanguageModel } from '../language-model.ts';
import { renamedWeight } from '../technique/renamed-weight.ts';
import { createTokenizer } from '../tokenizer/tokenizer.ts';
import { filledWeight } from './filled-weights.fixture.ts';

interface BertEmbeddings {
  readonly tokenizer: unknown;
  readonly encoded: readonly { readonly text: string; readonly ids: number[]; readonly plain: number[] }[];
  readonly pair: { readonly ids: number[]; readonly segments: number[] };
  readonly decoded: string;
  readonly config: Record<string, unknown>;
  readonly mean: readonly number[];
  readonly cls: readonly number[];
  readonly meanNormalized: readonly number[];
  readonly pairMean: readonly number[];
}

/** Tokenizer, config, texts with their ids, and the vectors. */
export const bertEmbeddings = JSON.parse(
  readFileSync(new URL('../evaluate/bert-embeddings.fixture.json', import.meta.url), 'utf8'),
) as BertEmbeddings;

/** The model, from tensors named as such checkpoints have them: without the prefix, norms by their old names. */
export function bertModel(): LanguageModel {
  const { config, tokenizer } = bertEmbeddings;
  const architecture = describeArchitecture(readModelConfig(config));
  const stored = expectedTensors(architecture).map(({ name, shape }) => {
    const old = name
      .slice('bert.'.length)
      .replace(/LayerNorm\.weight$/, 'LayerNorm.gamma')
      .replace(/LayerNorm\.bias$/, 'LayerNorm.beta');
    return [old, renamedWeight(filledWeight(name, shape), old)] as const;
  });
  return createModel({
    config,
    weights: modelWeights(architecture, new Map(stored)),
    tokenizer: createTokenizer(tokenizer),
  });
}
