// One vector for each text, from the last hidden states of an encoder: what search and clustering work on (Reimers and Gurevych
// 2019).
import { PithError } from '@pith/tensor-core';
import type { Device, RunOptions } from '@pith/tensor-core';
import type { LanguageModel } from '../language-model.ts';
import { ForwardPass } from '../run/forward-pass.ts';
import { DEFAULT_MEMORY_BYTES, planMemory } from '../run/memory-plan.ts';
import { PhaseClock } from '../run/phase-clock.ts';
import { checkSegments } from './logits.ts';
import { checkIds } from './windows.ts';

/** Options of {@link embeddings}. */
export interface EmbeddingOptions extends RunOptions {
  /** Where the compiled programs run. */
  readonly device: Device;
  /** `mean`: the mean over all tokens, special ones included. `cls`: the state of the first token. `mean` when left out. */
  readonly pooling?: 'mean' | 'cls';
  /** Scales each vector to length 1; false when left out. */
  readonly normalize?: boolean;
  /** Bytes of memory that may be used; 3 GiB when left out. */
  readonly memoryLimitBytes?: number;
}

/** Tokens of a text, special ones included, as `Tokenizer.encodeWithSpecial` gives them. */
export interface EmbeddedTokens {
  /** Token ids. */
  readonly ids: ArrayLike<number>;
  /** Segment (token type) of each; the first for all when left out. */
  readonly segments?: ArrayLike<number>;
}

/**
 * Embeds texts.
 *
 * Texts of one length share a program; nothing is padded. States in f32, sums over tokens and lengths in f64.
 *
 * @param texts as texts, which the model's tokenizer encodes with its special tokens, or as tokens.
 * @returns one vector f32 [hidden] for each text.
 * @throws PithError `MODEL_NOT_ENCODER`, `TOKENIZER_MISSING`, `TOKEN_OUT_OF_RANGE`, `EVALUATION_OPTIONS` for a text of no tokens or
 * more than the model has positions, `MEMORY_LIMIT`, `STOPPED`.
 */
export async function embeddings(
  model: LanguageModel,
  texts: readonly (string | EmbeddedTokens)[],
  options: EmbeddingOptions,
): Promise<Float32Array[]> {
  const { config } = model;
  if (config.kind !== 'encoder') {
    throw new PithError(
      'MODEL_NOT_ENCODER',
      `embeddings: the model must be an encoder, got ${config.modelType}; its states know nothing of the tokens behind them`,
      { details: { modelType: config.modelType } },
    );
  }
  const inputs = texts.map((text) => tokensOf(model, text));
  const byLength = new Map<number, number[]>();
  for (const [i, { ids }] of inputs.entries()) byLength.set(ids.length, [...(byLength.get(ids.length) ?? []), i]);
  const result: Float32Array[] = [];
  const { device, signal, progress, pooling = 'mean', normalize = false } = options;
  let done = 0;
  for (const [tokens, members] of byLength) {
    const limitBytes = options.memoryLimitBytes ?? DEFAULT_MEMORY_BYTES;
    const plan = planMemory({ models: [model], context: tokens, windows: members.length, limitBytes });
    const { batch, prefetch } = plan;
    const clock = new PhaseClock();
    const operation = 'embeddings';
    const pass = await ForwardPass.create(model, {
      ...{ device, batch, tokens, prefetch, clock, operation },
      ...(signal && { signal }),
    });
    try {
      for (let from = 0; from < members.length; from += batch) {
        const group = members.slice(from, from + batch);
        // The last group is filled up with its first text: shapes are fixed.
        const filled = Array.from({ length: batch }, (_, i) => inputs[group[i] ?? group[0]]);
        const joined = (of: (text: CheckedTokens) => Int32Array) => {
          const all = new Int32Array(batch * tokens);
          filled.forEach((text, i) => all.set(of(text), i * tokens));
          return all;
        };
        const segments = [joined((text) => text.segments)];
        const [states] = await pass.run([joined(({ ids }) => ids)], undefined, segments);
        for (const [i, index] of group.entries()) {
          const size = tokens * config.hiddenSize;
          const own = states.data.subarray(i * size, (i + 1) * size);
          result[index] = pooled(own, config.hiddenSize, pooling, normalize);
          progress?.({ phase: 'embed', item: `text ${index}`, done: ++done, total: texts.length, unit: 'text' });
        }
      }
    } finally {
      await pass.dispose();
    }
  }
  return result;
}

interface CheckedTokens {
  readonly ids: Int32Array;
  readonly segments: Int32Array;
}

function tokensOf(model: LanguageModel, text: string | EmbeddedTokens): CheckedTokens {
  const { config, tokenizer } = model;
  if (typeof text === 'string' && tokenizer === null) {
    throw new PithError('TOKENIZER_MISSING', 'embeddings: texts need a tokenizer, the model has none; give token ids');
  }
  const given = typeof text === 'string' ? tokenizer!.encodeWithSpecial(text) : text;
  const ids = Int32Array.from(given.ids);
  if (ids.length === 0 || ids.length > config.maxPositions) {
    throw new PithError(
      'EVALUATION_OPTIONS',
      `embeddings: a text must have 1 to ${config.maxPositions} tokens, got ${ids.length}; cut it`,
      { details: { tokens: ids.length, maxPositions: config.maxPositions } },
    );
  }
  checkIds(ids, config.vocabularySize);
  const hasSegments = model.architecture.tokenTypes !== null && given.segments !== undefined;
  return { ids, segments: hasSegments ? checkSegments(model, given.segments, ids.length) : new Int32Array(ids.length) };
}

/** One vector out of states f32 [tokens, width]. */
function pooled(states: Float32Array, width: number, pooling: 'mean' | 'cls', normalize: boolean): Float32Array {
  const rows = pooling === 'cls' ? 1 : states.length / width;
  const sums = new Float64Array(width);
  for (let i = 0; i < rows * width; i++) sums[i % width] += states[i];
  const length = normalize ? Math.sqrt(sums.reduce((sum, value) => sum + (value / rows) ** 2, 0)) : 1;
  return Float32Array.from(sums, (value) => value / rows / (length || 1));
}
