// From a range of values to a scale and a zero point, as compressed-tensors 0.19 (`calculate_qparams`, `generate_mx_scales`).
import { roundHalfToEven, type QuantizationScheme, type ScaleDType } from '@pith/tensor-core';
import { bitsOf, epsilonOf, f32OfBits, roundTo } from './arithmetic.ts';
import { codeRange, roundToCode, type CodeRange, type ScaleAndZero } from './codec.ts';

/** A range of values, lowest first. */
export interface ValueRange {
  readonly lowest: number;
  readonly highest: number;
}

/**
 * The scale and zero point that cover a range.
 *
 * Symmetric and float: `max(|lowest|, |highest|) / half`. Asymmetric: zero is made part of the range,
 * `scale = (highest - lowest) / (2^bits - 1)`, `zeroPoint = rint(clamp(qmin - lowest / scale))`, computed before a
 * scale of 0 is replaced; 0 where that is no number. Every operation is rounded to the arithmetic dtype, the scale
 * then to its own. Scales that are exponents (MX) are powers of two; scales in e4m3 (NVFP4) are rounded after they were
 * multiplied by the global scale, which divides them again.
 */
export function scaleOfRange(
  { lowest, highest }: ValueRange,
  scheme: QuantizationScheme,
  codes: CodeRange,
  arithmetic: ScaleDType,
  globalScale = 1,
): ScaleAndZero {
  if (scheme.scaleDType === 'f8_e8m0') return powerScale(Math.max(Math.abs(lowest), Math.abs(highest)), codes);
  if (scheme.scaleDType === 'f8_e4m3') {
    const local = roundTo(arithmetic, Math.max(Math.abs(lowest), Math.abs(highest)) / codes.half);
    const stored = roundToCode(Math.fround(local * globalScale), SCALE_CODES, codeRange(SCALE_CODES));
    const zeroScale = stored === 0;
    return { scale: Math.fround((zeroScale ? SMALLEST_E4M3_SCALE : stored) / globalScale), zeroPoint: 0, zeroScale };
  }
  const symmetric = scheme.kind === 'float' || scheme.symmetric;
  const low = Math.min(lowest, 0);
  const quotient = symmetric
    ? roundTo(arithmetic, Math.max(Math.abs(lowest), Math.abs(highest)) / codes.half)
    : roundTo(arithmetic, roundTo(arithmetic, Math.max(highest, 0) - low) / (2 * codes.half));
  const scale = roundTo(scheme.scaleDType, quotient);
  const zeroPoint = symmetric ? 0 : zeroPointOf(low, scale, codes, arithmetic);
  return scale === 0
    ? { scale: epsilonOf(scheme.scaleDType), zeroPoint, zeroScale: true }
    : { scale, zeroPoint, zeroScale: false };
}

/** How scales in e4m3 are rounded: as codes of fp8. */
const SCALE_CODES: QuantizationScheme = {
  kind: 'float',
  dtype: 'f8_e4m3',
  granularity: { kind: 'tensor' },
  scaleDType: 'f32',
};

/** What a scale in e4m3 that came out as 0 is replaced by. */
const SMALLEST_E4M3_SCALE = 0.125;

/**
 * The power of two of a magnitude, a mantissa of 1.75 and more counting as the next, less the exponent of the largest code:
 * 2 for e2m1, 8 for e4m3. At least 2^-127, the smallest exponent.
 */
function powerScale(magnitude: number, { half }: CodeRange): ScaleAndZero {
  const largest = (bitsOf(half) >>> 23) - 127;
  const exponent = Math.max(0, ((bitsOf(magnitude) + 2 ** 21) >>> 23) - largest);
  return { scale: exponent === 0 ? 2 ** -127 : f32OfBits(exponent << 23), zeroPoint: 0, zeroScale: magnitude === 0 };
}

/**
 * The global scale of a weight, or of weights that share one: `2688 / magnitude`, as the reciprocal first and each step
 * rounded to the dtype of the weights, so that the scale of the group with the largest magnitude is 448. Weights in f16, whose
 * range is too small for that, are computed in f32. 1 where the magnitude is too small.
 *
 * @param magnitude The largest of all weights that share it.
 */
export function globalScaleOf(magnitude: number, dtype: ScaleDType): number {
  const arithmetic = dtype === 'f16' ? 'f32' : dtype;
  const reciprocal = roundTo(arithmetic, 1 / Math.max(magnitude, 2 ** -126));
  const scale = roundTo(arithmetic, reciprocal * LARGEST_PRODUCT);
  return Number.isFinite(scale) ? scale : 1;
}

/** The largest code of e2m1 times the largest scale in e4m3. */
const LARGEST_PRODUCT = 6 * 448;

function zeroPointOf(low: number, scale: number, codes: CodeRange, arithmetic: ScaleDType): number {
  const at = roundTo(arithmetic, codes.lowest - roundTo(arithmetic, low / scale));
  if (Number.isNaN(at)) return 0; // 0 / 0: an all-zero group
  return roundHalfToEven(Math.min(Math.max(at, codes.lowest), codes.highest)) + 0;
}
