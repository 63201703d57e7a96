// Self-attention with grouped queries (Ainslie et al. 2023). Query heads that share a key head become rows of one product, so
// that keys and values are never repeated in memory.
import * as tf from '@tensorflow/tfjs-core';
import type { GradSaveFunc, Tensor } from '@tensorflow/tfjs-core';
import type { ModelConfig } from '../../config/model-config.ts';
import type { AttentionInputs } from '../architecture.ts';

/** The facts that attention is made of. */
export type AttentionFacts = Pick<
  ModelConfig,
  'kind' | 'heads' | 'keyValueHeads' | 'headDim' | 'attentionScale' | 'attentionSoftCap'
>;

/** Queries, keys and values of some tokens by head, normalized and rotated. Values may have another length than keys. */
export interface HeadStates {
  /** f32 [batch, heads, tokens, headDim]. */
  readonly queries: Tensor;
  /** f32 [batch, keyValueHeads, tokens, headDim]. */
  readonly keys: Tensor;
  /** f32 [batch, keyValueHeads, tokens, valueDim]. */
  readonly values: Tensor;
}

/** [batch, tokens, heads * headDim] to [batch, heads, tokens, headDim]. */
export function splitHeads(x: Tensor, heads: number, headDim: number): Tensor {
  const [batch, tokens] = x.shape;
  return tf.transpose(tf.reshape(x, [batch, tokens, heads, headDim]), [0, 2, 1, 3]);
}

/** Most scores that are ever computed at once: what plans of memory count on. */
export const MOST_SCORES = 2 ** 22;

/**
 * Scores that are computed at once where that leaves a stretch its fewest queries. Memory stays bounded and in the cache,
 * and keys that come after all queries of a stretch are never multiplied: 64 queries of 256 at a time are 5/8 of the work.
 */
const STRETCH_SCORES = 2 ** 19;

/** Where attention is cut; tests lower it to reach the cut path. */
export interface StretchLimits {
  /** Most scores at once. */
  readonly mostScores: number;
  /** Fewest queries in a stretch. */
  readonly fewestQueries: number;
}

const LIMITS: StretchLimits = { mostScores: STRETCH_SCORES, fewestQueries: 64 };

/** Queries of a stretch, for so many scores per query. */
function stretchLength(tokens: number, scoresPerQuery: number, { mostScores, fewestQueries }: StretchLimits): number {
  const pieces = Math.ceil((tokens * scoresPerQuery) / mostScores);
  return Math.min(tokens, Math.max(fewestQueries, Math.ceil(tokens / pieces)));
}

/** `softmax(cap tanh(q k^T / cap) + mask) v`; derived by tfjs itself, as few models have it. */
function cappedShares(rows: Tensor, keys: Tensor, shape: readonly number[], mask: Tensor, cap: number): Tensor {
  const products = tf.matMul(rows, keys, false, true);
  const scores = tf.mul(tf.tanh(tf.div(tf.reshape(products, [...shape]), cap)), cap);
  return tf.reshape(tf.softmax(tf.add(scores, mask)), products.shape);
}

/** Attention of queries f32 [batch, keyValueHeads, repeat, tokens, headDim] over keys that they may see. */
function attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, cap: number | null): Tensor {
  const [batch, groups, repeat, tokens, headDim] = queries.shape as [number, number, number, number, number];
  const columns = keys.shape[2]!;
  const valueDim = values.shape[3]!;
  // The heads of one key head become rows of one product: keys and values are never repeated in memory.
  const rows = tf.reshape(queries, [batch, groups, repeat * tokens, headDim]);
  if (cap !== null) {
    const shares = cappedShares(rows, keys, [batch, groups, repeat, tokens, columns], mask, cap);
    return tf.reshape(tf.matMul(shares, values), [batch, groups, repeat, tokens, valueDim]);
  }
  const mix = tf.customGrad((q, k, v, save) => {
    const products = tf.matMul(q as Tensor, k as Tensor, false, true);
    const scores = tf.reshape(products, [batch, groups, repeat, tokens, columns]);
    const shares = tf.reshape(tf.softmax(tf.add(scores, mask)), products.shape);
    const mixed = tf.matMul(shares, v as Tensor);
    (save as GradSaveFunc)([q as Tensor, k as Tensor, v as Tensor, shares, mixed]);
    const gradFunc = (dy: Tensor, [ofQ, ofK, ofV, p, out]: Tensor[]) => {
      // The sum of p dp over a row is that of dy out (Dao et al. 2022, appendix B.2), which is valueDim long, not columns.
      const drop = tf.sum(tf.mul(dy, out), -1, true);
      const slope = tf.mul(p, tf.sub(tf.matMul(dy, ofV, false, true), drop));
      return [tf.matMul(slope, ofK), tf.matMul(slope, ofQ, true, false), tf.matMul(p, dy, true, false)];
    };
    return { value: mixed, gradFunc };
  });
  return tf.reshape(mix(rows, keys, values), [batch, groups, repeat, tokens, valueDim]);
}

/** The mask with the biases of heads: f32 [tokens, columns], or [keyValueHeads, repeat, tokens, columns]. */
function maskOfHeads(mask: Tensor, bias: Tensor | undefined, keyValueHeads: number, repeat: number): Tensor {
  if (bias === undefined) return mask;
  return tf.add(mask, tf.reshape(bias, [keyValueHeads, repeat, 1, bias.shape[1]!]));
}

/**
 * `softmax(q k^T scale + bias + mask) v` per head; with a soft cap the scaled products are capped first. The mask of a decoder
 * must be causal: new token i sees no new token after it.
 *
 * @returns f32 [batch, tokens, heads * valueDim].
 */
export function headAttention(
  { kind, heads, keyValueHeads, headDim, attentionScale, attentionSoftCap: cap }: AttentionFacts,
  { queries, keys, values }: HeadStates,
  { mask, bias, past }: AttentionInputs,
  limits: StretchLimits = LIMITS,
): Tensor {
  const [batch, , tokens] = queries.shape as [number, number, number, number];
  const repeat = heads / keyValueHeads;
  // Head h reads key head floor(h / repeat): the heads of one key head lie behind one another already.
  const scaled = tf.reshape(tf.mul(queries, attentionScale), [batch, keyValueHeads, repeat, tokens, headDim]);
  const allKeys = past ? tf.concat([past.keys, keys], 2) : keys;
  const allValues = past ? tf.concat([past.values, values], 2) : values;
  const columns = allKeys.shape[2]!;
  const valueDim = values.shape[3]!;
  const earlier = columns - tokens;
  const stretch = stretchLength(tokens, batch * heads * columns, limits);
  const parts: Tensor[] = [];
  for (let start = 0; start < tokens; start += stretch) {
    const end = Math.min(tokens, start + stretch);
    if (end - start === tokens) {
      parts.push(attend(scaled, allKeys, allValues, maskOfHeads(mask, bias, keyValueHeads, repeat), cap));
      continue;
    }
    const seen = kind === 'decoder' ? earlier + end : columns;
    const part = tf.slice(mask, [start, 0], [end - start, seen]);
    const ofHeads = bias && tf.slice(bias, [0, 0], [heads, seen]);
    parts.push(
      attend(
        tf.slice(scaled, [0, 0, 0, start, 0], [batch, keyValueHeads, repeat, end - start, headDim]),
        tf.slice(allKeys, [0, 0, 0, 0], [batch, keyValueHeads, seen, headDim]),
        tf.slice(allValues, [0, 0, 0, 0], [batch, keyValueHeads, seen, valueDim]),
        maskOfHeads(part, ofHeads, keyValueHeads, repeat),
        cap,
      ),
    );
  }
  const joined = parts.length === 1 ? parts[0] : tf.concat(parts, 3);
  const byToken = tf.transpose(tf.reshape(joined, [batch, heads, tokens, valueDim]), [0, 2, 1, 3]);
  return tf.reshape(byToken, [batch, tokens, heads * valueDim]);
}
