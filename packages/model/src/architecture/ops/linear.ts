import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';

/**
 * `x W^T + b` over the last axis.
 *
 * @param x f32 [..., in].
 * @param weight f32 [out, in].
 * @param bias f32 [out].
 * @returns f32 [..., out].
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const [outFeatures, inFeatures] = weight.shape;
  const rows = tf.reshape(x, [-1, inFeatures]);
  const product = tf.matMul(rows, weight as tf.Tensor2D, false, true);
  return tf.reshape(bias ? tf.add(product, bias) : product, [...x.shape.slice(0, -1), outFeatures]);
}
