// `mx.quantize(w, mode=...)` of MLX 0.32 on the CPU for its floating-point codes. It differs from compressed-tensors: the shared
// exponent is that of the largest magnitude over the largest code, rounded up, so that nothing is clipped; ties of e2m1 go
// toward zero and there is no minus zero; nvfp4 has no scale of the whole tensor. Quotients are rounded to the dtype of the weight:
// in f16 scales below its range count as 0.
import {
  dtypeInfo,
  E2M1_MAGNITUDES,
  E2M1_MAX,
  E8M0_BIAS,
  fromF32,
  toF32,
  type DenseWeight,
  type FloatScheme,
  type QuantizedWeight,
} from '@pith/tensor-core';
import type { QuantizableDType } from '../scheme/resolve-scheme.ts';
import { eachGroup, roundedWeight, type RoundRows } from './lazy-rounding.ts';

/** The floating-point modes of MLX. */
export type MlxMode = 'mxfp4' | 'mxfp8' | 'nvfp4';

/** Halves between neighbours of e2m1: a magnitude above the i-th has at least code i + 1. */
const E2M1_HALVES: readonly number[] = E2M1_MAGNITUDES.slice(1).map((value, i) => (value + E2M1_MAGNITUDES[i]!) / 2);

/** A dense weight as MLX rounds it in a mode of floating-point codes. Lazy. */
export function roundMlxMode(weight: DenseWeight, mode: MlxMode): QuantizedWeight {
  const size = mode === 'nvfp4' ? 16 : 32;
  const scheme: FloatScheme = {
    kind: 'float',
    dtype: mode === 'mxfp8' ? 'f8_e4m3' : 'f4_e2m1',
    granularity: { kind: 'group', size },
    scaleDType: mode === 'nvfp4' ? 'f8_e4m3' : 'f8_e8m0',
  };
  const most = mode === 'mxfp8' ? dtypeInfo('f8_e4m3').max : E2M1_MAX;
  const dtype = weight.dtype as QuantizableDType;
  const inDType = (list: Float32Array) => (dtype === 'f32' ? list : toF32(dtype, fromF32(dtype, list)));
  const round: RoundRows = (values) => {
    const scales = new Float32Array(values.length / size);
    eachGroup(values, size, (group, _start, lowest, highest) => {
      scales[group] = Math.max(Math.abs(lowest), Math.abs(highest)) / most;
    });
    const exact = inDType(scales);
    const stored = mode === 'nvfp4' ? intoE4m3(exact) : exact.map(powerAbove);
    const quotients = inDType(
      values.map((value, i) => {
        const scale = stored[Math.floor(i / size)]!;
        return scale === 0 ? 0 : value / scale;
      }),
    );
    const codes =
      mode === 'mxfp8' ? fromF32('f8_e4m3', quotients, { overflow: 'saturate' }) : Uint8Array.from(quotients, e2m1Code);
    return { codes, scales: stored };
  };
  return roundedWeight(weight, scheme, round, mode === 'nvfp4' ? { globalScale: 1 } : {});
}

function intoE4m3(scales: Float32Array): Float32Array {
  return toF32('f8_e4m3', fromF32('f8_e4m3', scales, { overflow: 'saturate' }));
}

/** The power of two at or above a scale, as e8m0 has it; 1 for 0. */
function powerAbove(scale: number): number {
  if (scale === 0) return 1;
  // The logarithm is one of f32 there.
  const exponent = Math.ceil(Math.fround(Math.log2(scale)));
  return 2 ** Math.min(Math.max(exponent, -E8M0_BIAS), E8M0_BIAS);
}

function e2m1Code(value: number): number {
  const magnitude = Math.abs(value);
  let code = 0;
  while (code < E2M1_HALVES.length && magnitude > E2M1_HALVES[code]!) code += 1;
  return value < 0 && code > 0 ? code + 8 : code;
}
