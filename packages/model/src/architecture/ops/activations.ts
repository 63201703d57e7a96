import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { Activation } from '../../config/model-config.ts';

/** The activation functions, elementwise on f32. */
export const activations: Readonly<Record<Activation, (x: Tensor) => Tensor>> = Object.freeze({
  silu: (x: Tensor) => tf.mul(x, tf.sigmoid(x)),
});
