// Rotary position embedding (Su et al. 2021): value i of the first half of the rotated part of a head is rotated with value i
// of the second, or neighbours with one another. The angles are products in f32, as in the implementations the checkpoints were
// trained with, so that long contexts agree to the last bit of the angle.
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { RopeConfig, YarnRopeScaling } from '../../config/model-config.ts';

/**
 * Angle per position of each pair, after scaling.
 *
 * Llama 3.1 (`llama3`): wavelengths above `original / lowFrequencyFactor` are stretched by `factor`, those below
 * `original / highFrequencyFactor` kept, and those between interpolated. YaRN: a ramp between the frequencies that turn
 * `betaSlow` and `betaFast` times within the original positions.
 *
 * @param length Tokens of the text so far, on which `dynamic` and `longrope` depend.
 * @returns f32 values [dim / 2].
 */
export function rotaryFrequencies(rope: RopeConfig, length = 0): Float32Array {
  const { scaling, dim } = rope;
  const theta = scaling.kind === 'dynamic' ? dynamicBase(rope, length) : rope.theta;
  const powers = Float32Array.from({ length: dim / 2 }, (_, i) => theta ** Math.fround((2 * i) / dim));
  if (scaling.kind === 'longrope') {
    const factors = length > scaling.originalMaxPositions ? scaling.longFactors : scaling.shortFactors;
    return powers.map((power, i) => 1 / Math.fround(Math.fround(factors[i]) * power));
  }
  if (scaling.kind === 'yarn') return yarnFrequencies(rope.theta, scaling, dim, powers);
  return powers.map((power) => {
    const frequency = Math.fround(1 / power);
    if (scaling.kind === 'linear') return frequency / scaling.factor;
    if (scaling.kind !== 'llama3') return frequency;
    const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalMaxPositions: original } = scaling;
    const wavelength = (2 * Math.PI) / frequency;
    if (wavelength > original / low) return frequency / factor;
    if (wavelength < original / high) return frequency;
    const smooth = (original / wavelength - low) / (high - low);
    return (1 - smooth) * (frequency / factor) + smooth * frequency;
  });
}

function dynamicBase({ theta, scaling, dim }: RopeConfig, length: number): number {
  if (scaling.kind !== 'dynamic') return theta;
  const { factor, originalMaxPositions: original } = scaling;
  return theta * ((factor * Math.max(length, original)) / original - (factor - 1)) ** (dim / (dim - 2));
}

function yarnFrequencies(
  theta: number,
  { factor, betaFast, betaSlow, originalMaxPositions, truncate }: YarnRopeScaling,
  dim: number,
  powers: Float32Array,
): Float32Array {
  const pairOf = (turns: number) =>
    (dim * Math.log(originalMaxPositions / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const [first, last] = [pairOf(betaFast), pairOf(betaSlow)];
  const low = Math.max(0, truncate ? Math.floor(first) : first);
  const end = Math.min(dim - 1, truncate ? Math.ceil(last) : last);
  const high = low === end ? end + 0.001 : end;
  return powers.map((power, i) => {
    const ramp = Math.fround(Math.min(1, Math.max(0, (i - low) / (high - low))));
    const kept = Math.fround(1 - ramp);
    return Math.fround(1 / Math.fround(factor * power)) * Math.fround(1 - kept) + Math.fround(1 / power) * kept;
  });
}

/**
 * Cosines and sines of positions `start` to `end`, f32 [end - start, dim / 2] row-major each, times what the scaling
 * multiplies them with.
 *
 * @param length Tokens of the text so far, see {@link rotaryFrequencies}.
 */
export function rotaryTable(
  rope: RopeConfig,
  start: number,
  end: number,
  length = end,
): { cos: Float32Array; sin: Float32Array } {
  const frequencies = rotaryFrequencies(rope, length);
  const factor = 'attentionFactor' in rope.scaling ? rope.scaling.attentionFactor : 1;
  const half = frequencies.length;
  const cos = new Float32Array((end - start) * half);
  const sin = new Float32Array(cos.length);
  for (let position = start; position < end; position++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * frequencies[i]);
      cos[(position - start) * half + i] = Math.fround(Math.cos(angle)) * factor;
      sin[(position - start) * half + i] = Math.fround(Math.sin(angle)) * factor;
    }
  }
  return { cos, sin };
}

/**
 * Rotates each head by its position.
 *
 * @param x f32 [..., tokens, headDim].
 * @param cos f32 [tokens, dim / 2].
 * @param sin f32 [tokens, dim / 2].
 * @returns f32, the shape of `x`; values from `dim` on are those of `x`.
 */
export function rotate(
  x: Tensor,
  cos: Tensor,
  sin: Tensor,
  { dim, interleaved }: Pick<RopeConfig, 'dim' | 'interleaved'>,
): Tensor {
  const headDim = x.shape.at(-1)!;
  if (dim < headDim) {
    const [rotated, rest] = tf.split(x, [dim, headDim - dim], -1);
    return tf.concat([rotate(rotated, cos, sin, { dim, interleaved }), rest], -1);
  }
  if (interleaved) {
    const pairs = tf.reshape(x, [...x.shape.slice(0, -1), dim / 2, 2]);
    const [first, second] = tf.unstack(pairs, -1);
    return tf.reshape(tf.stack(turned(first, second, cos, sin), -1), x.shape);
  }
  const [first, second] = tf.split(x, 2, -1);
  return tf.concat(turned(first, second, cos, sin), -1);
}

function turned(first: Tensor, second: Tensor, cos: Tensor, sin: Tensor): [Tensor, Tensor] {
  return [tf.sub(tf.mul(first, cos), tf.mul(second, sin)), tf.add(tf.mul(second, cos), tf.mul(first, sin))];
}
