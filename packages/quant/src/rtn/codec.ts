// One value to a code and back, exactly as compressed-tensors 0.19 does it: quotient in the dtype of the arithmetic,
// zero point added, clamped, rounded half to even.
import {
  E2M1_MAX,
  roundHalfToEven,
  type FloatScheme,
  type QuantizationScheme,
  type ScaleDType,
} from '@pith/tensor-core';
import { bitsOf, quotientDType, roundTo } from './arithmetic.ts';

/** The codes of a scheme as numbers. */
export interface CodeRange {
  /** Smallest and largest value of a code: -8 and 7, -448 and 448. */
  readonly lowest: number;
  readonly highest: number;
  /** What the range `[-a, a]` is divided by: `(highest - lowest) / 2`, 7.5 for 4 bits. */
  readonly half: number;
  /** The step at the ends of the range: a value further outside than this counts as clipped. */
  readonly reach: number;
}

/** The codes of a scheme. */
export function codeRange(scheme: QuantizationScheme): CodeRange {
  if (scheme.kind === 'int') {
    const half = (2 ** scheme.bits - 1) / 2;
    return { lowest: -(2 ** (scheme.bits - 1)), highest: 2 ** (scheme.bits - 1) - 1, half, reach: 1 };
  }
  return FLOAT_RANGES[scheme.dtype];
}

/** The last step of e4m3 is 32 wide, that of e5m2 8192, that of e2m1 2. */
const FLOAT_RANGES: Readonly<Record<FloatScheme['dtype'], CodeRange>> = {
  f8_e4m3: { lowest: -448, highest: 448, half: 448, reach: 32 },
  f8_e5m2: { lowest: -57344, highest: 57344, half: 57344, reach: 8192 },
  f4_e2m1: { lowest: -E2M1_MAX, highest: E2M1_MAX, half: E2M1_MAX, reach: 2 },
};

/** A scale and a zero point (0 in symmetric schemes). */
export interface ScaleAndZero {
  /** As it is stored: rounded to the scale dtype, and divided by the global scale where there is one. */
  readonly scale: number;
  readonly zeroPoint: number;
  /** True where the scale came out as 0 and was replaced by the epsilon of its dtype. */
  readonly zeroScale: boolean;
}

/** Where a value falls among the codes, before clamping and rounding. */
export function position(
  value: number,
  { scale, zeroPoint }: ScaleAndZero,
  scheme: QuantizationScheme,
  arithmetic: ScaleDType,
): number {
  const quotient = roundTo(quotientDType(scheme, arithmetic), Math.fround(value) / scale);
  if (scheme.kind === 'float') return quotient + 0; // -0 becomes +0, as adding a zero point of 0.0 does
  return scheme.symmetric ? quotient : roundTo(arithmetic, quotient + zeroPoint);
}

/** The value that a position is rounded to: an integer, or a value of the float dtype. */
export function roundToCode(at: number, scheme: QuantizationScheme, { lowest, highest }: CodeRange): number {
  const clamped = Math.min(Math.max(at, lowest), highest);
  if (scheme.kind === 'int') return roundHalfToEven(clamped);
  const { mantissa, smallestExponent } = FLOAT_LAYOUTS[scheme.dtype];
  const exponent = Math.max(((bitsOf(clamped) >>> 23) & 0xff) - 127, smallestExponent);
  const unit = 2 ** (exponent - mantissa);
  const rounded = roundHalfToEven(clamped / unit) * unit;
  return rounded === 0 && (clamped < 0 || Object.is(clamped, -0)) ? -0 : rounded;
}

/** The stored byte of a code value: two's complement, or the bits of the float. */
export function codeByte(code: number, scheme: QuantizationScheme): number {
  if (scheme.kind === 'int') return code & 0xff;
  const { mantissa, smallestExponent, signBit } = FLOAT_LAYOUTS[scheme.dtype];
  const sign = code < 0 || Object.is(code, -0) ? signBit : 0;
  const magnitude = Math.abs(code);
  if (magnitude < 2 ** smallestExponent) return sign | (magnitude / 2 ** (smallestExponent - mantissa));
  return sign | ((bitsOf(magnitude) - ((126 + smallestExponent) << 23)) >>> (23 - mantissa));
}

/** The f32 that a code stands for: `(code - zeroPoint) * scale`, not yet rounded to the dtype of the scales. */
export function restore(code: number, { scale, zeroPoint }: ScaleAndZero): number {
  return Math.fround((code - zeroPoint) * scale);
}

/** Bits of mantissa, the exponent of the smallest normal value, and the bit of the sign. */
const FLOAT_LAYOUTS = {
  f8_e4m3: { mantissa: 3, smallestExponent: -6, signBit: 0x80 },
  f8_e5m2: { mantissa: 2, smallestExponent: -14, signBit: 0x80 },
  f4_e2m1: { mantissa: 1, smallestExponent: 0, signBit: 0x8 },
} as const satisfies Record<FloatScheme['dtype'], object>;
