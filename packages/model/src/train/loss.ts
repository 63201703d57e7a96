// Losses: functions from weights and a batch to one number, which the trainer differentiates.
import * as tf from '@tensorflow/tfjs-core';
import type { GradSaveFunc, Scalar, Tensor, Tensor1D, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
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
 * arrays of the logits' size. With m the largest logit and p its probability the log-sum is `m - log p`, so that one
 * softmax serves value and gradient; p is never below 1 / vocabulary.
 *
 * @param logits f32 [batch, tokens, vocabulary].
 * @param targets int32 [batch, tokens], each in [0, vocabulary).
 */
export function crossEntropy(logits: Tensor3D, targets: Tensor2D): Scalar {
  const [batch, tokens, vocabulary] = logits.shape;
  const positions = batch * tokens;
  const starts = tf.tensor1d(
    Int32Array.from({ length: positions }, (_, i) => i * vocabulary),
    'int32',
  );
  const wanted = tf.reshape(targets, [positions]) as Tensor1D;
  const places = tf.add(wanted, starts);
  const flat = (x: Tensor) => tf.reshape(x, [positions * vocabulary]) as Tensor1D;
  const loss = tf.customGrad((input, save) => {
    const x = input as Tensor2D;
    const shares = tf.softmax(x);
    const logSums = tf.sub(tf.max(x, 1), tf.log(tf.max(shares, 1)));
    const chosen = tf.gather(flat(x), places as Tensor1D);
    // The slope differs from the shares at one place in a row only: it is written there, not subtracted everywhere.
    const least = tf.sub(tf.gather(flat(shares), places as Tensor1D), 1);
    const slope = tf.tensorScatterUpdate(flat(shares), tf.reshape(places, [positions, 1]), least);
    (save as GradSaveFunc)([tf.reshape(slope, [positions, vocabulary])]);
    const gradFunc = (dy: Tensor, [saved]: Tensor[]) => tf.mul(saved, tf.div(dy, positions));
    return { value: tf.mean(tf.sub(logSums, chosen)), gradFunc };
  });
  return loss(tf.reshape(logits, [positions, vocabulary])) as Scalar;
}

/** The cross-entropy of the next token. Batch: `ids` and `targets`, int32 [batch, tokens]. */
export function nextTokenLoss(architecture: Architecture): Loss {
  return (weights, batch) =>
    crossEntropy(causalLogits(architecture, weights, batch['ids'] as Tensor2D), batch['targets'] as Tensor2D);
}
