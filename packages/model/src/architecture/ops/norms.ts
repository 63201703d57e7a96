import * as tf from '@tensorflow/tfjs-core';
import type { GradSaveFunc, Tensor, Tensor2D } from '@tensorflow/tfjs-core';

/**
 * Root-mean-square normalization (Zhang and Sennrich 2019): `x / sqrt(mean(x^2) + epsilon) * weight`. Its gradient is
 * written out: half as many passes as that of its parts.
 *
 * @param x f32 [..., features].
 * @param weight f32 [features].
 * @returns f32, the shape of `x`.
 */
export function rmsNorm(x: Tensor, weight: Tensor, epsilon: number): Tensor {
  const features = weight.shape[0];
  const normed = tf.customGrad((input, scale, save) => {
    const rows = input as Tensor2D;
    const factor = tf.rsqrt(tf.add(tf.mean(tf.square(rows), -1, true), epsilon));
    const unit = tf.mul(rows, factor);
    (save as GradSaveFunc)([unit, factor, scale as Tensor]);
    const gradFunc = (dy: Tensor, [n, f, w]: Tensor[]) => {
      const along = tf.mul(dy, n);
      // mean(dy w n) of each row, as one product.
      const mean = tf.div(tf.matMul(along as Tensor2D, tf.reshape(w, [features, 1])), features);
      return [tf.mul(tf.sub(tf.mul(dy, w), tf.mul(n, mean)), f), tf.sum(along, 0)];
    };
    return { value: tf.mul(unit, scale as Tensor), gradFunc };
  });
  return tf.reshape(normed(tf.reshape(x, [-1, features]), weight), x.shape);
}

/**
 * Layer normalization (Ba et al. 2016): `(x - mean) / sqrt(variance + epsilon) * weight + bias`.
 *
 * @param x f32 [..., features].
 * @param weight f32 [features], or [heads, features] for x f32 [..., heads, features].
 * @param bias of the shape of the weight; none when left out.
 * @returns f32, the shape of `x`.
 */
export function layerNorm(x: Tensor, weight: Tensor, bias: Tensor | undefined, epsilon: number): Tensor {
  const centred = tf.sub(x, tf.mean(x, -1, true));
  const factor = tf.rsqrt(tf.add(tf.mean(tf.square(centred), -1, true), epsilon));
  const scaled = tf.mul(tf.mul(centred, factor), weight);
  return bias ? tf.add(scaled, bias) : scaled;
}
