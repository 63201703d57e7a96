// Arithmetic in the dtype of the weights, one value at a time: the specification that the kernels are held to.
//
// compressed-tensors computes scales and quotients with torch, where an operation on two bf16 tensors is done in f32 and
// rounded to bf16, and an operation on tensors of different float dtypes is done in f32. Under scales of 8 bits quotients
// are f32; scales that a global scale multiplies are computed in the dtype of the weight before.
import { roundHalfToEven, type MicroScaleDType, type QuantizationScheme, type ScaleDType } from '@pith/tensor-core';
import type { QuantizableDType } from '../scheme/resolve-scheme.ts';

/** The dtype that scales are computed in: the weight's where the scales have it too, or are e4m3; f32 otherwise. */
export function arithmeticDType(weight: QuantizableDType, scale: ScaleDType | MicroScaleDType): ScaleDType {
  return weight === scale || scale === 'f8_e4m3' ? weight : 'f32';
}

/** The dtype that quotients are rounded to, where scales are computed in `arithmetic`. */
export function quotientDType({ scaleDType }: QuantizationScheme, arithmetic: ScaleDType): ScaleDType {
  return scaleDType === 'f8_e4m3' || scaleDType === 'f8_e8m0' ? 'f32' : arithmetic;
}

const word = new DataView(new ArrayBuffer(4));

/** The bits of an f32 as an unsigned integer. */
export function bitsOf(value: number): number {
  word.setFloat32(0, value);
  return word.getUint32(0);
}

/** The f32 with these bits. */
export function f32OfBits(bits: number): number {
  word.setUint32(0, bits);
  return word.getFloat32(0);
}

/** An f64 rounded to f32 and then to `dtype`, both half to even; infinity beyond the range. */
export function roundTo(dtype: ScaleDType, value: number): number {
  const single = Math.fround(value);
  if (dtype === 'f32' || !Number.isFinite(single) || single === 0) return single;
  const exponent = Math.max(((bitsOf(single) >>> 23) & 0xff) - 127, dtype === 'bf16' ? -126 : -14);
  const unit = 2 ** (exponent - (dtype === 'bf16' ? 7 : 10));
  const rounded = roundHalfToEven(single / unit) * unit;
  const limit = dtype === 'bf16' ? 2 ** 128 : 65520;
  if (Math.abs(rounded) >= limit) return rounded > 0 ? Infinity : -Infinity;
  return rounded === 0 && single < 0 ? -0 : rounded;
}

/** Distance from 1 to the next larger value: what a scale of 0 is replaced by. */
export function epsilonOf(dtype: ScaleDType): number {
  return dtype === 'f32' ? 2 ** -23 : dtype === 'bf16' ? 2 ** -7 : 2 ** -10;
}
