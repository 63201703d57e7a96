// Losses: functions from weights and a batch to one number, which the trainer differentiates.
import * as tf from '@tensorflow/tfjs-core';
import type { GradSaveFunc, Scalar, Tensor, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import type { Architecture } from '../architecture/architecture.ts';
import { causalLogits, type NamedTensors } from '../architecture/causal-logits.ts';

/** The loss of a batch. A plain tfjs function with a gradient in every weight that is trained. */
export type Loss = (weights: NamedTensors, batch: NamedTensors) => Scalar;

/** A loss and what it is made of. */
export interface LossTerms {
  /** What is differentiated. */
  readonly loss: Scalar;
  /** Numbers that are reported beside it, by name: f32 scalars. */
  readonly terms: Readonly<Record<string, Scalar>>;
}

/** A loss that also tells its parts. */
export type DetailedLoss = (weights: NamedTensors, batch: NamedTensors) => LossTerms;

/**
 * The mean over all positions of `-log softmax(logits)[target]`, in nats, computed and summed in f32.
 *
 * The gradient is written out, `(softmax - one-hot) / positions`: the automatic one would keep and pass over four more
 * arrays of the logits' size.
 *
 * @param logits f32 [batch, tokens, vocabulary].
 * @param targets int32 [batch, tokens], each in [0, vocabulary).
 */
export function crossEntropy(logits: Tensor3D, targets: Tensor2D): Scalar {
  const [batch, tokens, vocabulary] = logits.shape;
  const positions = batch * tokens;
  const loss = tf.customGrad((flat, save) => {
    const x = flat as Tensor2D;
    const wanted = tf.oneHot(tf.reshape(targets, [positions]), vocabulary) as Tensor2D;
    const shifted = tf.sub(x, tf.max(x, 1, true));
    const exponentials = tf.exp(shifted);
    const sums = tf.sum(exponentials, 1, true);
    const chosen = tf.sum(tf.mul(shifted, wanted), 1, true);
    (save as GradSaveFunc)([exponentials, sums, wanted]);
    const gradFunc = (dy: Tensor, saved: Tensor[]) => {
      const [weights, total, target] = saved as [Tensor, Tensor, Tensor];
      return tf.mul(tf.sub(tf.div(weights, total), target), tf.div(dy, positions));
    };
    return { value: tf.mean(tf.sub(tf.log(sums), chosen)), gradFunc };
  });
  return loss(tf.reshape(logits, [positions, vocabulary])) as Scalar;
}

/** The cross-entropy of the next token. Batch: `ids` and `targets`, int32 [batch, tokens]. */
export function nextTokenLoss(architecture: Architecture): Loss {
  return (weights, batch) =>
    crossEntropy(causalLogits(architecture, weights, batch['ids'] as Tensor2D), batch['targets'] as Tensor2D);
}
