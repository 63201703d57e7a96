// Mixture of experts (Shazeer et al. 2017): a router scores the experts, the best few get the token, their outputs are added by
// their scores.
//
// Every expert runs on all tokens, those that were not sent to it set to zero: shapes stay fixed, so that one graph is compiled,
// differentiated and exported like any other. It costs `count / perToken` times the products of a runtime that gathers tokens.
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { ExpertConfig } from '../../config/model-config.ts';

/** Taken from scores that must not be chosen: more than a score and its bias are. Those that may be chosen stay as they are. */
const FAR_BELOW = 2 ** 20;
/** Added to the sum of sigmoids that is divided by, as DeepSeek-V3 has it. */
const SMALLEST_SUM = 1e-20;

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

/** What {@link routeTokens} goes by. */
export type RoutingFacts = Omit<ExpertConfig, 'intermediateSize' | 'layers' | 'shared'>;

/** What the experts of a token are chosen by, those of groups that were not chosen far below all others. */
function amongGroups(
  scores: Tensor,
  {
    count,
    groups,
    groupsPerToken,
    groupScore,
  }: Pick<RoutingFacts, 'count' | 'groups' | 'groupsPerToken' | 'groupScore'>,
): Tensor {
  if (groups === 1 || groupsPerToken === groups) return scores;
  const size = count / groups;
  const byGroup = tf.reshape(scores, [-1, groups, size]);
  const first = largest(tf.reshape(byGroup, [-1, size]), 1);
  const best = tf.max(byGroup, -1);
  // The second largest is the largest of what the first leaves.
  const others = tf.sub(byGroup, tf.mul(tf.reshape(first, [-1, groups, size]), FAR_BELOW));
  const groupScores = groupScore === 'largest' ? best : tf.add(best, tf.max(others, -1));
  const left = tf.sub(1, largest(groupScores, groupsPerToken));
  return tf.reshape(tf.sub(byGroup, tf.mul(tf.reshape(left, [-1, groups, 1]), FAR_BELOW)), [-1, count]);
}

/**
 * Chooses experts.
 *
 * Scores of one expert for itself (DeepSeek-V3) are sigmoids; a stored bias may be added to them for the choice, which the weights
 * of the chosen do not have. With groups, experts are chosen among those of the best groups alone (DeepSeek-V2, section 2.2).
 *
 * @param products f32 [rows, experts] of the router.
 * @param bias f32 [experts], where there is one.
 */
export function routeTokens(products: Tensor, facts: RoutingFacts, bias?: Tensor): Routing {
  const { count, perToken, normalizeWeights, scoring, weightScale } = facts;
  const scores = scoring === 'softmax' ? tf.softmax(products) : tf.sigmoid(products);
  const chosen = largest(amongGroups(bias ? tf.add(scores, bias) : scores, facts), perToken);
  const kept = tf.mul(scores, chosen);
  // Sigmoids of all the chosen may be 0 in f32; a softmax has no such sum.
  const sum = () => tf.sum(kept, -1, true);
  const total = () => (scoring === 'softmax' ? sum() : tf.add(sum(), SMALLEST_SUM));
  const weights = normalizeWeights ? tf.div(kept, total()) : kept;
  const shares = weightScale === 1 ? weights : tf.mul(weights, weightScale);
  return { routed: tf.split(chosen, count, 1), shares: tf.split(shares, count, 1) };
}
