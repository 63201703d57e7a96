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

/** The activation functions, elementwise on f32. */
export const activations: Readonly<Record<Activation, (x: Tensor) => Tensor>> = Object.freeze({ silu });
