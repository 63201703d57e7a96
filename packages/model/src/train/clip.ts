// Gradient clipping by the global norm: Pascanu, Mikolov & Bengio 2013, section 3.2, over all parameters at once.
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';

/**
 * The Euclidean norm of all gradients taken as one vector.
 *
 * @param gradients f32, of any shapes.
 * @returns f32 scalar; the squares are summed in f32.
 */
export function globalNorm(gradients: readonly Tensor[]): Scalar {
  return tf.sqrt(tf.addN(gradients.map((gradient) => tf.sum(tf.square(gradient)))));
}

/**
 * The factor that brings a gradient of this norm to at most `maxNorm`: `min(1, maxNorm / norm)`.
 *
 * @param norm f32 scalar.
 * @returns f32 scalar; 1 for a norm of zero.
 */
export function clipFactor(norm: Scalar, maxNorm: number): Scalar {
  return tf.div(maxNorm, tf.maximum(norm, maxNorm));
}
