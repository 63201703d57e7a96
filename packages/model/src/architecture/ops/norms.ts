import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';

/**
 * Root-mean-square normalization (Zhang and Sennrich 2019): `x / sqrt(mean(x^2) + epsilon) * weight`.
 *
 * @param x f32 [..., features].
 * @param weight f32 [features].
 * @returns f32, the shape of `x`.
 */
export function rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor {
  const meanSquare = tf.mean(tf.mul(x, x), -1, true);
  return tf.mul(tf.mul(x, tf.rsqrt(tf.add(meanSquare, epsilon))), weight);
}
