import * as tf from '@tensorflow/tfjs-core';
import type { GradSaveFunc, Tensor } from '@tensorflow/tfjs-core';
import type { Activation } from '../../config/model-config.ts';

/** `x sigmoid(x)`. The gradient `sigmoid(x) + y - y sigmoid(x)` is written out: it takes two passes less than that of the product. */
function silu(x: Tensor): Tensor {
  return tf.customGrad((input, save) => {
    const share = tf.sigmoid(input as Tensor);
    const value = tf.mul(input as Tensor, share);
    (save as GradSaveFunc)([share, value]);
    const gradFunc = (dy: Tensor, [s, y]: Tensor[]) => tf.mul(dy, tf.add(s, tf.mul(y, tf.sub(1, s))));
    return { value, gradFunc };
  })(x);
}

/** `x / 2 (1 + erf(x / sqrt(2)))` (Hendrycks and Gimpel 2016). */
function gelu(x: Tensor): Tensor {
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
}

const TANH_SCALE = Math.sqrt(2 / Math.PI);

/** Its approximation `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`. */
function geluTanh(x: Tensor): Tensor {
  const inner = tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), 0.044715)), TANH_SCALE);
  return tf.mul(tf.mul(x, 0.5), tf.add(tf.tanh(inner), 1));
}

/** The activation functions, elementwise on f32. */
export const activations: Readonly<Record<Activation, (x: Tensor) => Tensor>> = Object.freeze({
  silu,
  gelu,
  'gelu-tanh': geluTanh,
  relu: (x: Tensor) => tf.relu(x),
});
