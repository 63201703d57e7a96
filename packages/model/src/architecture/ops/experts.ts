// Mixture of experts (Shazeer et al. 2017): a router scores the experts, the best few get the token, their outputs are added by
// the softmax of the scores.
//
// Every expert runs on all tokens, those that were not sent to it set to zero: shapes stay fixed, so that one graph is compiled,
// differentiated and exported like any other. It costs `count / perToken` times the products of a runtime that gathers tokens.
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { ExpertConfig } from '../../config/model-config.ts';

/** What {@link routeTokens} decides. */
export interface Routing {
  /** Per expert f32 [rows, 1]: 1 where the token goes through it, 0 where not. */
  readonly routed: readonly Tensor[];
  /** Per expert f32 [rows, 1]: what its output is multiplied with; 0 where the token does not go through it. */
  readonly shares: readonly Tensor[];
}

/** 1 for the `count` largest values of each row, 0 for the others; among equal ones the first. A choice has no gradient. */
function largest(scores: Tensor, count: number): Tensor {
  const experts = scores.shape[1]!;
  return tf.customGrad((given) => {
    const { indices } = tf.topk(given as Tensor, count, true);
    const value = tf.sum(tf.oneHot(tf.cast(indices, 'int32'), experts), 1);
    return { value: tf.cast(value, 'float32'), gradFunc: (dy: Tensor) => tf.zerosLike(dy) };
  })(scores);
}

/**
 * Chooses experts.
 *
 * @param scores f32 [rows, experts] of the router.
 */
export function routeTokens(
  scores: Tensor,
  { count, perToken, normalizeWeights }: Pick<ExpertConfig, 'count' | 'perToken' | 'normalizeWeights'>,
): Routing {
  const probabilities = tf.softmax(scores);
  const chosen = largest(probabilities, perToken);
  const kept = tf.mul(probabilities, chosen);
  const shares = normalizeWeights ? tf.div(kept, tf.sum(kept, -1, true)) : kept;
  return { routed: tf.split(chosen, count, 1), shares: tf.split(shares, count, 1) };
}
