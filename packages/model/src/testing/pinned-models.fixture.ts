// The tiny models of `pinned-logits.fixture.json`: made-up weights by `filledValues`, and what transformers computes with them (call
// and versions in `pinned-logits.test.ts`).
import { readFileSync } from 'node:fs';
import { expectedTensors } from '../architecture/expected-tensors.ts';
import { describeArchitecture } from '../architecture/registry.ts';
import { readModelConfig } from '../config/read-config.ts';
import { createModel } from '../language-model.ts';
import type { LanguageModel } from '../language-model.ts';
import { filledValues } from './filled-weights.fixture.ts';
import { memoryWeight } from './folder-model.fixture.ts';
import { transposeF32 } from './transpose.fixture.ts';

/** A config, and logits of position 5 and of the last one: the first six values each. */
export interface Pinned {
  readonly name: string;
  readonly config: { readonly model_type: string };
  readonly logits: readonly number[];
}

const FILE = new URL('../architecture/pinned-logits.fixture.json', import.meta.url);

/** One for each architecture without a reference checkpoint, and for what published sizes differ in. */
export const PINNED = JSON.parse(readFileSync(FILE, 'utf8')) as readonly Pinned[];

/** The text: token ids. */
export const PINNED_IDS = Int32Array.from({ length: 14 }, (_, i) => ((i * 37 + 11) % 62) + 1);

/** Values of all tensors by checkpoint name; matrices are [out, in]. */
export function pinnedValues({ config: json }: Pinned): Map<string, { shape: readonly number[]; data: Float32Array }> {
  const architecture = describeArchitecture(readModelConfig(json));
  const gemma = json.model_type.startsWith('gemma');
  const linears = architecture.blocks.flatMap((block) => block.linears);
  const turned = new Set(linears.flatMap(({ name, transposed }) => (transposed ? [name] : [])));
  return new Map(
    expectedTensors(architecture).map(({ name, shape }) => {
      if (!turned.has(name)) return [name, { shape, data: filledValues(name, shape, gemma) }];
      const [rows, columns] = shape as [number, number];
      return [name, { shape, data: transposeF32(filledValues(name, [columns, rows], gemma), columns, rows) }];
    }),
  );
}

/** The model, in memory. */
export function pinnedModel(pinned: Pinned): LanguageModel {
  const weights = [...pinnedValues(pinned)].map(
    ([name, { shape, data }]) => [name, memoryWeight(name, shape, data)] as const,
  );
  return createModel({ config: pinned.config, weights: new Map(weights) });
}
