// Inputs of linears rounded to codes of 8 or 4 bits and restored, inside the block's program: what a runtime with W8A8, FP8
// or FP4 kernels multiplies, without its kernels. One scale per token or group of features found while it runs, or one for
// all from calibration.
//
// As compressed-tensors 0.19 does it (`fake_quantize`, `calculate_qparams`, `generate_mx_scales`), in f32: the range contains
// 0, quotient plus zero point, clamped, rounded half to even; a scale of 0 becomes the f32 epsilon, of e4m3 0.125.
import { PithError, type ActivationQuantization, type GroupActivations } from '@pith/tensor-core';
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
  /** Features of a group, with `group-dynamic`. */
  readonly size?: number;
  /** What scales of groups are rounded to. */
  readonly scaleDType?: GroupActivations['scaleDType'];
}

/** A static scale and its zero point, f32 [1] each; or a global scale, which has no zero point. */
export interface StaticScale {
  readonly scale: Tensor;
  readonly zeroPoint: Tensor;
}

/** True where calibration found a scale that the program is given. */
export function hasStaticScale({ kind, scaleDType }: ActivationForm): boolean {
  return kind === 'tensor-static' || (kind === 'group-dynamic' && scaleDType === 'f8_e4m3');
}

const EPSILON = 2 ** -23;
const LARGEST_E4M3 = 448;
const LARGEST_E2M1 = 6;
/** What a scale in e4m3 that came out as 0 is replaced by. */
const SMALLEST_E4M3_SCALE = 0.125;

/**
 * Rounds and restores activations f32 [..., features].
 *
 * @param fixed Needed for `tensor-static`, and with a global scale.
 */
export function fakeQuantizeActivations(x: Tensor, form: ActivationForm, fixed?: StaticScale): Tensor {
  if (form.kind === 'tensor-static') {
    if (!fixed) throw new TypeError('a static scale is needed');
    return roundToCodes(x, fixed.scale, form.dtype, form.symmetric ? undefined : fixed.zeroPoint);
  }
  if (form.kind === 'group-dynamic') return roundGroups(x, form, fixed?.scale);
  if (form.symmetric) {
    const half = form.dtype === 'i8' ? 127.5 : LARGEST_E4M3;
    const scale = positive(tf.div(tf.max(tf.abs(x), -1, true), half));
    return roundToCodes(x, scale, form.dtype);
  }
  const lowest = tf.minimum(tf.min(x, -1, true), 0);
  const highest = tf.maximum(tf.max(x, -1, true), 0);
  const scale = positive(tf.div(tf.sub(highest, lowest), 255));
  const zeroPoint = tf.round(clamp(tf.sub(-128, tf.div(lowest, scale)), -128, 127));
  return roundToCodes(x, scale, form.dtype, zeroPoint);
}

/** Groups of neighbouring features with a scale each. */
function roundGroups(x: Tensor, { dtype, size, scaleDType }: ActivationForm, globalScale: Tensor | undefined): Tensor {
  const features = x.shape.at(-1)!;
  if (size === undefined || features % size !== 0) {
    throw new PithError(
      'ACTIVATION_GROUP_DOES_NOT_DIVIDE',
      `model: the checkpoint has inputs rounded in groups of ${String(size)}, which do not divide the ${features} columns of a layer; ` +
        'quantize it anew with a scheme that leaves these inputs alone',
      { details: { groupSize: size, features } },
    );
  }
  const groups = tf.reshape(x, [-1, size]);
  const magnitude = tf.max(tf.abs(groups), -1, true);
  const largest = dtype === 'f4_e2m1' ? LARGEST_E2M1 : LARGEST_E4M3;
  const scale = groupScale(magnitude, largest, scaleDType, globalScale);
  const at = clamp(tf.div(groups, scale), -largest, largest);
  const code = dtype === 'f4_e2m1' ? roundToFloat(at, 1, 0) : roundToFloat(at, 3, -6);
  return tf.reshape(tf.mul(code, scale), x.shape);
}

function groupScale(
  magnitude: Tensor,
  largest: number,
  scaleDType: ActivationForm['scaleDType'],
  globalScale: Tensor | undefined,
): Tensor {
  if (scaleDType === 'f8_e8m0') {
    // A mantissa of 1.75 and more counts as the next power of two; the largest code has its own exponent.
    const x = tf.maximum(magnitude, 2 ** -120);
    const power = exactPower(x);
    const next = tf.where(tf.greaterEqual(x, tf.mul(power, 1.75)), tf.mul(power, 2), power);
    return tf.div(next, 2 ** Math.floor(Math.log2(largest)));
  }
  const scale = tf.div(magnitude, largest);
  if (scaleDType !== 'f8_e4m3') return positive(scale);
  if (!globalScale) throw new TypeError('a global scale is needed');
  const stored = roundToFloat(clamp(tf.mul(scale, globalScale), 0, LARGEST_E4M3), 3, -6);
  return tf.div(tf.where(tf.greater(stored, 0), stored, tf.scalar(SMALLEST_E4M3_SCALE)), globalScale);
}

/** Rounds values to codes of 8 bits under scales that broadcast to them, and restores them. */
export function roundToCodes(x: Tensor, scale: Tensor, dtype: ActivationForm['dtype'], zeroPoint?: Tensor): Tensor {
  const quotient = tf.div(x, scale);
  if (dtype === 'f8_e4m3') return tf.mul(roundToFloat(clamp(quotient, -LARGEST_E4M3, LARGEST_E4M3), 3, -6), scale);
  if (zeroPoint === undefined) return tf.mul(tf.round(clamp(quotient, -128, 127)), scale);
  return tf.mul(tf.sub(tf.round(clamp(tf.add(quotient, zeroPoint), -128, 127)), zeroPoint), scale);
}

/**
 * Rounds f32 values within the range of a float format to it, half to even: e4m3 has 3 bits of mantissa and exponents from
 * -6, e2m1 one bit and exponents from 0. Where the logarithm lands on the wrong side of a power of two, the value is so near
 * to it that both steps give the same.
 */
function roundToFloat(x: Tensor, mantissa: number, smallestExponent: number): Tensor {
  const exponent = exponentOf(tf.maximum(tf.abs(x), 2 ** smallestExponent));
  const unit = tf.pow(tf.scalar(2), tf.sub(exponent, mantissa));
  return tf.mul(tf.round(tf.div(x, unit)), unit);
}

/** The largest power of two that is not above positive values, wherever the logarithm lands. */
function exactPower(x: Tensor): Tensor {
  const guess = tf.pow(tf.scalar(2), exponentOf(x));
  const double = tf.mul(guess, 2);
  return tf.where(tf.greaterEqual(x, double), double, tf.where(tf.less(x, guess), tf.div(guess, 2), guess));
}

function exponentOf(x: Tensor): Tensor {
  return tf.floor(tf.div(tf.log(x), Math.LN2));
}

function positive(scale: Tensor): Tensor {
  return tf.where(tf.greater(scale, 0), scale, tf.scalar(EPSILON));
}

function clamp(x: Tensor, lowest: number, highest: number): Tensor {
  return tf.minimum(tf.maximum(x, lowest), highest);
}
