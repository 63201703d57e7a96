// `mx.quantize(w, bits, group_size)` of MLX 0.32 on the CPU, mode affine: the end of a group with the larger magnitude is
// hit exactly, so that the scale is negative where that is the upper one.
import {
  fromF32,
  roundHalfToEven,
  toF32,
  type AffineScheme,
  type DenseWeight,
  type QuantizedWeight,
} from '@pith/tensor-core';
import type { QuantizableDType } from '../scheme/resolve-scheme.ts';
import { eachGroup, roundedWeight, type RoundRows } from './lazy-rounding.ts';

/** Smallest scale. */
const LEAST_SCALE = Math.fround(1e-7);

/** A dense weight as MLX rounds it; scales and biases have its dtype. Lazy. */
export function roundMlx(weight: DenseWeight, bits: number, groupSize: number): QuantizedWeight {
  const scaleDType = weight.dtype as QuantizableDType;
  const scheme: AffineScheme = { kind: 'affine', bits, granularity: { kind: 'group', size: groupSize }, scaleDType };
  const most = 2 ** bits - 1;
  const round: RoundRows = (values) => {
    const codes = new Uint8Array(values.length);
    const scales = new Float32Array(values.length / groupSize);
    const biases = new Float32Array(scales.length);
    eachGroup(values, groupSize, (group, start, lowest, highest) => {
      const lower = Math.abs(lowest) > Math.abs(highest);
      let scale = Math.max(Math.fround(Math.fround(highest - lowest) / most), LEAST_SCALE);
      if (!lower) scale = -scale;
      const edge = lower ? lowest : highest;
      const at = roundHalfToEven(Math.fround(edge / scale));
      let bias = 0;
      if (at !== 0) {
        scale = Math.fround(edge / at);
        bias = edge;
      }
      for (let i = start; i < start + groupSize; i += 1) {
        const code = roundHalfToEven(Math.fround(Math.fround(values[i]! - bias) / scale));
        codes[i] = Math.min(Math.max(code, 0), most);
      }
      scales[group] = scale;
      biases[group] = bias;
    });
    const stored = (list: Float32Array) => (scaleDType === 'f32' ? list : toF32(scaleDType, fromF32(scaleDType, list)));
    return { codes, scales: stored(scales), biases: stored(biases) };
  };
  return roundedWeight(weight, scheme, round);
}
