// Rotary position embedding (Su et al. 2021) in the half-split order of the Llama checkpoints: value i of the first half
// of a head is rotated with value i of the second. The angles are products in f32, as in the implementations the
// checkpoints were trained with, so that long contexts agree to the last bit of the angle.
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { ModelConfig, RopeConfig } from '../../config/model-config.ts';

/**
 * Angle per position of each pair, after scaling.
 *
 * Llama 3.1 (`llama3`): wavelengths above `original / lowFrequencyFactor` are stretched by `factor`, those below
 * `original / highFrequencyFactor` kept, and those between interpolated.
 *
 * @returns f32 values [headDim / 2].
 */
export function rotaryFrequencies(rope: RopeConfig, headDim: number): Float32Array {
  const { scaling } = rope;
  return Float32Array.from({ length: headDim / 2 }, (_, i) => {
    const frequency = Math.fround(1 / Math.fround(rope.theta ** Math.fround((2 * i) / headDim)));
    if (scaling.kind === 'none') return frequency;
    if (scaling.kind === 'linear') return frequency / scaling.factor;
    const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalMaxPositions: original } = scaling;
    const wavelength = (2 * Math.PI) / frequency;
    if (wavelength > original / low) return frequency / factor;
    if (wavelength < original / high) return frequency;
    const smooth = (original / wavelength - low) / (high - low);
    return (1 - smooth) * (frequency / factor) + smooth * frequency;
  });
}

/** Cosines and sines of positions `start` to `end`, f32 [end - start, headDim / 2] row-major each. */
export function rotaryTable(
  config: Pick<ModelConfig, 'rope' | 'headDim'>,
  start: number,
  end: number,
): { cos: Float32Array; sin: Float32Array } {
  const frequencies = rotaryFrequencies(config.rope, config.headDim);
  const half = frequencies.length;
  const cos = new Float32Array((end - start) * half);
  const sin = new Float32Array(cos.length);
  for (let position = start; position < end; position++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(position * frequencies[i]);
      cos[(position - start) * half + i] = Math.cos(angle);
      sin[(position - start) * half + i] = Math.sin(angle);
    }
  }
  return { cos, sin };
}

/**
 * Rotates each head by its position.
 *
 * @param x f32 [..., tokens, headDim].
 * @param cos f32 [tokens, headDim / 2].
 * @param sin f32 [tokens, headDim / 2].
 * @returns f32, the shape of `x`.
 */
export function rotate(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
  const [first, second] = tf.split(x, 2, -1);
  return tf.concat(
    [tf.sub(tf.mul(first, cos), tf.mul(second, sin)), tf.add(tf.mul(second, cos), tf.mul(first, sin))],
    -1,
  );
}
