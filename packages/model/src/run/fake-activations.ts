// Inputs of linears rounded to 8-bit codes and restored, inside the block's program: what a runtime with W8A8 or FP8 kernels
// multiplies, without its kernels. One scale per token found while it runs, or one for all from calibration.
//
// As compressed-tensors 0.19 does it (`fake_quantize`, `calculate_qparams`), in f32: the range contains 0, quotient plus
// zero point, clamped, rounded half to even; a scale of 0 becomes the f32 epsilon.
import type { ActivationQuantization } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';

/** How the inputs of a linear are rounded; what calibration has found is an input of the program. */
export interface ActivationForm {
  /** One scale per token, or one for all. */
  readonly kind: ActivationQuantization['kind'];
  /** What they are rounded to. */
  readonly dtype: ActivationQuantization['dtype'];
  /** Without zero points. */
  readonly symmetric: boolean;
}

/** A static scale and its zero point, f32 [1] each. */
export interface StaticScale {
  readonly scale: Tensor;
  readonly zeroPoint: Tensor;
}

const EPSILON = 2 ** -23;
const LARGEST_E4M3 = 448;

/**
 * Rounds and restores activations f32 [..., features].
 *
 * @param fixed Needed for `tensor-static`.
 */
export function fakeQuantizeActivations(x: Tensor, form: ActivationForm, fixed?: StaticScale): Tensor {
  if (form.kind === 'tensor-static') {
    if (!fixed) throw new TypeError('a static scale is needed');
    return restore(x, fixed.scale, form.symmetric ? undefined : fixed.zeroPoint, form.dtype);
  }
  if (form.symmetric) {
    const half = form.dtype === 'i8' ? 127.5 : LARGEST_E4M3;
    const scale = positive(tf.div(tf.max(tf.abs(x), -1, true), half));
    return restore(x, scale, undefined, form.dtype);
  }
  const lowest = tf.minimum(tf.min(x, -1, true), 0);
  const highest = tf.maximum(tf.max(x, -1, true), 0);
  const scale = positive(tf.div(tf.sub(highest, lowest), 255));
  const zeroPoint = tf.round(clamp(tf.sub(-128, tf.div(lowest, scale)), -128, 127));
  return restore(x, scale, zeroPoint, form.dtype);
}

function restore(x: Tensor, scale: Tensor, zeroPoint: Tensor | undefined, dtype: ActivationForm['dtype']): Tensor {
  const quotient = tf.div(x, scale);
  if (dtype === 'f8_e4m3') return tf.mul(roundToE4m3(clamp(quotient, -LARGEST_E4M3, LARGEST_E4M3)), scale);
  if (zeroPoint === undefined) return tf.mul(tf.round(clamp(quotient, -128, 127)), scale);
  return tf.mul(tf.sub(tf.round(clamp(tf.add(quotient, zeroPoint), -128, 127)), zeroPoint), scale);
}

/**
 * Rounds f32 values in [-448, 448] to e4m3 (3 bits of mantissa, exponents from -6), half to even. Where the logarithm lands
 * on the wrong side of a power of two, the value is so near to it that both steps give the same.
 */
function roundToE4m3(x: Tensor): Tensor {
  const exponent = tf.floor(tf.div(tf.log(tf.maximum(tf.abs(x), 2 ** -6)), Math.LN2));
  const unit = tf.pow(tf.scalar(2), tf.sub(exponent, 3));
  return tf.mul(tf.round(tf.div(x, unit)), unit);
}

function positive(scale: Tensor): Tensor {
  return tf.where(tf.greater(scale, 0), scale, tf.scalar(EPSILON));
}

function clamp(x: Tensor, lowest: number, highest: number): Tensor {
  return tf.minimum(tf.maximum(x, lowest), highest);
}
