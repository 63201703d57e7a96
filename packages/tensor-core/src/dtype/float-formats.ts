// The bit layout of every float format: sign, exponent, mantissa. All other facts of a format follow from these numbers.
import type { DType } from './dtype.ts';

/** A binary floating-point format with a sign bit and subnormals. */
export interface FloatFormat {
  /** Bits of the exponent field. */
  readonly exponentBits: number;
  /** Stored bits of the mantissa. */
  readonly mantissaBits: number;
  /** What is subtracted from the exponent field. */
  readonly bias: number;
  /**
   * Which codes are not finite: `ieee` gives the largest exponent to infinity and NaN, `fn` only the code of all ones
   * to NaN, without infinity (OCP 8-bit floating point specification 1.0, E4M3).
   */
  readonly special: 'ieee' | 'fn';
}

/** Names of the float dtypes. */
export type FloatDType = Extract<DType, 'f64' | 'f32' | 'f16' | 'bf16' | 'f8_e4m3' | 'f8_e5m2'>;

/** The float formats. */
export const FLOAT_FORMATS: Readonly<Record<FloatDType, FloatFormat>> = {
  f64: { exponentBits: 11, mantissaBits: 52, bias: 1023, special: 'ieee' },
  f32: { exponentBits: 8, mantissaBits: 23, bias: 127, special: 'ieee' },
  f16: { exponentBits: 5, mantissaBits: 10, bias: 15, special: 'ieee' },
  bf16: { exponentBits: 8, mantissaBits: 7, bias: 127, special: 'ieee' },
  f8_e4m3: { exponentBits: 4, mantissaBits: 3, bias: 7, special: 'fn' },
  f8_e5m2: { exponentBits: 5, mantissaBits: 2, bias: 15, special: 'ieee' },
};

/** True for a float dtype. */
export function isFloatDType(dtype: DType): dtype is FloatDType {
  return Object.hasOwn(FLOAT_FORMATS, dtype);
}
