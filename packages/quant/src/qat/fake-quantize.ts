// Rounding with a gradient: learned step size quantization (Esser et al. 2020, "LSQ"), sections 2.1 and 2.2.
import * as tf from '@tensorflow/tfjs-core';
import type { GradSaveFunc, Tensor, Tensor2D } from '@tensorflow/tfjs-core';

/** What a weight is rounded to. */
export interface FakeQuantization {
  /** Smallest code: -2^(bits - 1). */
  readonly lowest: number;
  /** Largest code: 2^(bits - 1) - 1. */
  readonly highest: number;
  /** Scales of a row. */
  readonly groups: number;
}

/** Least factor that a step size may come down to: it stays positive. */
export const LEAST_STEP = 2 ** -10;

/**
 * What a weight is after rounding to codes and back: `(clamp(round(w / s + z)) - z) s`, with the step size `s = start step`,
 * half to even.
 *
 * The gradient goes straight through the rounding to the weights within the codes and is zero outside. That of a step size
 * is the sum over its weights of `round(w / s) - w / s` within, the outermost code outside, times `1 / sqrt(n highest)`
 * with n the weights that share it; here it is that of the factor `step`, which is relative to the start.
 *
 * @param weight f32 [rows, columns].
 * @param step f32 [rows, groups]: factors of the start, 1 at first; trained.
 * @param start f32 [rows, groups]: step sizes to start from.
 * @param zero f32 [rows, groups]: zero points in code units.
 */
export function fakeQuantize(
  weight: Tensor2D,
  step: Tensor2D,
  start: Tensor2D,
  zero: Tensor2D,
  { lowest, highest, groups }: FakeQuantization,
): Tensor2D {
  const [rows, columns] = weight.shape;
  const size = columns / groups;
  const column = (x: Tensor): Tensor2D => tf.reshape(x, [rows * groups, 1]);
  const scale = 1 / Math.sqrt(size * highest);
  const round = tf.customGrad((w, factor, save) => {
    const values = w as Tensor;
    const first = column(start);
    const steps = tf.mul(first, tf.maximum(factor as Tensor, LEAST_STEP));
    const zeros = column(zero);
    const at = tf.add(tf.div(values, steps), zeros);
    const codes = tf.round(tf.clipByValue(at, lowest, highest));
    const inside = tf.cast(tf.logicalAnd(tf.greaterEqual(at, lowest), tf.lessEqual(at, highest)), 'float32');
    // Within: code - position; outside: code - zero point.
    const slope = tf.sub(codes, tf.add(zeros, tf.mul(inside, tf.sub(at, zeros))));
    (save as GradSaveFunc)([inside, slope, first]);
    const gradFunc = (dy: Tensor, [within, ofStep, starts]: Tensor[]) => [
      tf.mul(dy, within!),
      tf.mul(tf.sum(tf.mul(dy, ofStep!), 1, true), tf.mul(starts!, scale)),
    ];
    return { value: tf.mul(tf.sub(codes, zeros), steps), gradFunc };
  });
  const grouped = tf.reshape(weight, [rows * groups, size]);
  return tf.reshape(round(grouped, column(step)), [rows, columns]);
}

/** Codes of a weight, as {@link fakeQuantize} rounds it, in f32 arithmetic. */
export function quantizeWithSteps(
  values: Float32Array,
  steps: Float32Array,
  zeros: Float32Array,
  { lowest, highest }: FakeQuantization,
  round: (value: number) => number,
): Int8Array {
  const size = values.length / steps.length;
  return Int8Array.from(values, (value, i) => {
    const group = Math.floor(i / size);
    const at = Math.fround(Math.fround(value / steps[group]!) + zeros[group]!);
    return round(Math.min(highest, Math.max(lowest, at)));
  });
}
