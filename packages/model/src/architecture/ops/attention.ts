// Causal self-attention with grouped queries (Ainslie et al. 2023). Query heads that share a key head become rows of
// one product, so that keys and values are never repeated in memory.
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { AttentionInputs } from '../architecture.ts';
import { rotate } from './rotary.ts';

/** Lengths that attention is made of. */
export interface AttentionShape {
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
}

/** The outcome of {@link rotaryAttention}. */
export interface AttentionOutput {
  /** f32 [batch, tokens, heads * headDim]. */
  readonly mixed: Tensor;
  /** Rotated keys of these tokens, f32 [batch, keyValueHeads, tokens, headDim]. */
  readonly keys: Tensor;
  /** Values of these tokens, f32 [batch, keyValueHeads, tokens, headDim]. */
  readonly values: Tensor;
}

/** [batch, tokens, heads * headDim] to [batch, heads, tokens, headDim]. */
function splitHeads(x: Tensor, heads: number, headDim: number): Tensor {
  const [batch, tokens] = x.shape;
  return tf.transpose(tf.reshape(x, [batch, tokens, heads, headDim]), [0, 2, 1, 3]);
}

/**
 * `softmax(q k^T / sqrt(headDim) + mask) v` per head, queries and keys rotated by their positions first.
 *
 * @param query f32 [batch, tokens, heads * headDim].
 * @param key f32 [batch, tokens, keyValueHeads * headDim].
 * @param value f32 [batch, tokens, keyValueHeads * headDim].
 */
export function rotaryAttention(
  { heads, keyValueHeads, headDim }: AttentionShape,
  query: Tensor,
  key: Tensor,
  value: Tensor,
  { cos, sin, mask, past }: AttentionInputs,
): AttentionOutput {
  const [batch, tokens] = query.shape;
  const repeat = heads / keyValueHeads;
  const keys = rotate(splitHeads(key, keyValueHeads, headDim), cos, sin);
  const values = splitHeads(value, keyValueHeads, headDim);
  const rotated = rotate(splitHeads(query, heads, headDim), cos, sin);
  // Head h reads key head floor(h / repeat): the `repeat` heads of one key head lie behind one another already.
  const queries = tf.reshape(tf.mul(rotated, 1 / Math.sqrt(headDim)), [batch, keyValueHeads, repeat * tokens, headDim]);
  const allKeys = past ? tf.concat([past.keys, keys], 2) : keys;
  const allValues = past ? tf.concat([past.values, values], 2) : values;
  const columns = allKeys.shape[2]!;
  const scores = tf.reshape(tf.matMul(queries, allKeys, false, true), [batch, keyValueHeads, repeat, tokens, columns]);
  const shares = tf.reshape(tf.softmax(tf.add(scores, mask)), [batch, keyValueHeads, repeat * tokens, columns]);
  const heads4 = tf.reshape(tf.matMul(shares, allValues), [batch, heads, tokens, headDim]);
  const mixed = tf.reshape(tf.transpose(heads4, [0, 2, 1, 3]), [batch, tokens, heads * headDim]);
  return { mixed, keys, values };
}
