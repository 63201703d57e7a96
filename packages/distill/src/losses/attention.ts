// Attention as a target: the maps of each head, and relations between tokens that do not depend on the number of heads.
import { softTargetLoss } from '@pith/model';
import type { AttentionStates } from '@pith/model';
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import type { RelationPair } from './loss-term.ts';

/** What takes the place of -Infinity, whose difference with itself is no number; its exponential is zero as well. */
const HIDDEN_SCORE = -1e9;

/** Keys or values of each query head: those of a key head are repeated. f32 [batch, heads, tokens, headDim]. */
function perQueryHead(x: Tensor4D, heads: number): Tensor4D {
  const [batch, groups, tokens, headDim] = x.shape;
  if (groups === heads) return x;
  const repeated = tf.tile(tf.expandDims(x, 2), [1, 1, heads / groups, 1, 1]);
  return tf.reshape(repeated, [batch, heads, tokens, headDim]);
}

const finite = (mask: Tensor): Tensor => tf.maximum(mask, HIDDEN_SCORE);

/**
 * Scores of attention before the softmax, masked: f32 [batch, heads, tokens, tokens]. Their softmax is the probabilities
 * that the program mixes values with.
 *
 * @param mask Added to the scores; that of the states when left out.
 */
export function attentionScores(states: AttentionStates, mask: Tensor = states.mask): Tensor4D {
  const { queries, scale, softCap, bias } = states;
  const [, heads, ,] = queries.shape;
  const keys = perQueryHead(states.keys, heads);
  const scaled: Tensor = tf.mul(tf.matMul(queries, keys, false, true), scale);
  const scores = softCap === null ? scaled : tf.mul(tf.tanh(tf.div(scaled, softCap)), softCap);
  const biased = bias ? tf.add(scores, tf.reshape(bias, [heads, 1, bias.shape[1]])) : scores;
  return tf.add(biased, finite(mask)) as Tensor4D;
}

/** Rows of scores as the soft targets want them: f32 [batch, heads * tokens, tokens]. */
function scoreRows(scores: Tensor4D): Tensor3D {
  const [batch, heads, tokens] = scores.shape;
  return tf.reshape(scores, [batch, heads * tokens, tokens]);
}

/** Tokens see what both models let them see. */
const bothMasks = (student: AttentionStates, teacher: AttentionStates): Tensor =>
  tf.minimum(student.mask, teacher.mask);

/**
 * Attention probabilities of the student against the teacher's, head by head: the mean over heads and tokens of
 * KL(teacher || student), or the mean squared difference of the probabilities. Both need the same number of heads.
 */
export function attentionMapLoss(student: AttentionStates, teacher: AttentionStates, measure: 'kl' | 'mse'): Scalar {
  const mask = bothMasks(student, teacher);
  const own = attentionScores(student, mask);
  const target = attentionScores(teacher, mask);
  if (measure === 'kl') return softTargetLoss(scoreRows(own), scoreRows(target));
  return tf.mean(tf.square(tf.sub(tf.softmax(own), tf.softmax(target))));
}

/** Queries, keys or values over relation heads: f32 [batch, relationHeads, tokens, width / relationHeads]. */
function relationHeads(x: Tensor4D, count: number): Tensor4D {
  const [batch, heads, tokens, headDim] = x.shape;
  const byToken: Tensor4D = tf.transpose(x, [0, 2, 1, 3]);
  const joined: Tensor4D = tf.reshape(byToken, [batch, tokens, count, (heads * headDim) / count]);
  return tf.transpose(joined, [0, 2, 1, 3]);
}

function relationScores(states: AttentionStates, pair: RelationPair, count: number, mask: Tensor): Tensor4D {
  const { queries, keys, values } = states;
  // Each query is related with the key that it meets in attention: keys of a group are repeated.
  const sides: Record<RelationPair, () => readonly [Tensor4D, Tensor4D]> = {
    qk: () => [queries, perQueryHead(keys, queries.shape[1])],
    qq: () => [queries, queries],
    kk: () => [keys, keys],
    vv: () => [values, values],
  };
  const [left, right] = sides[pair]().map((x) => relationHeads(x, count)) as [Tensor4D, Tensor4D];
  const scores = tf.div(tf.matMul(left, right, false, true), Math.sqrt(left.shape[3]));
  return tf.add(scores, finite(mask)) as Tensor4D;
}

/**
 * Relations between tokens against the teacher's: products of queries and keys, or of values with one another, over
 * `heads` relation heads of each model, scaled, masked as attention is, and turned into probabilities. The mean over pairs,
 * heads and tokens of KL(teacher || student). Queries and keys are those after rotation.
 */
export function relationLoss(
  student: AttentionStates,
  teacher: AttentionStates,
  pairs: readonly RelationPair[],
  heads: number,
): Scalar {
  const mask = bothMasks(student, teacher);
  const losses = pairs.map((pair) =>
    softTargetLoss(
      scoreRows(relationScores(student, pair, heads, mask)),
      scoreRows(relationScores(teacher, pair, heads, mask)),
    ),
  );
  return tf.div(tf.addN(losses), pairs.length) as Scalar;
}

/** Lengths that say which relation heads fit a model. */
export interface HeadCounts {
  /** Query heads. */
  readonly heads: number;
  /** Key and value heads. */
  readonly keyValueHeads: number;
  /** Length of a head. */
  readonly headDim: number;
}

/** Whether every side of these pairs can be cut into so many relation heads. */
export function relationHeadsFit(
  pairs: readonly RelationPair[],
  count: number,
  models: readonly HeadCounts[],
): boolean {
  return models.every(({ heads, keyValueHeads, headDim }) =>
    pairs.every((pair) => ((pair === 'qk' || pair === 'qq' ? heads : keyValueHeads) * headDim) % count === 0),
  );
}

/** The most relation heads, up to the most query heads of both, that fit; 1 always does. */
export function mostRelationHeads(pairs: readonly RelationPair[], models: readonly HeadCounts[]): number {
  for (let count = Math.max(...models.map(({ heads }) => heads)); count > 1; count--) {
    if (relationHeadsFit(pairs, count, models)) return count;
  }
  return 1;
}
