// One value to a code and back on four lanes. The specification is @pith/quant src/rtn/codec.ts. `arithmetic`,
// `asymmetric` and `coding` are constants where these are called from a hot loop, so that the compiler folds them.
import { decode, encode } from './float-codes';
import { E4M3 } from './quantize-scale';
import { BF16, F16 } from './range-values';

// 1.5 * 2^23: adding it leaves no place for a fraction, so the adder rounds half to even, and the low byte of the sum
// is the integer in two's complement.
export const NO_FRACTION: f32 = 12582912;

/** Half to even at bit `shift`; lanes that the dtype would hold as subnormals keep more bits than they should. */
// @ts-ignore: decorator
@inline
function roundAt(x: v128, shift: i32): v128 {
  const odd = v128.and(i32x4.shr_u(x, shift), i32x4.splat(1));
  const rounded = i32x4.add(i32x4.add(x, i32x4.splat((1 << (shift - 1)) - 1)), odd);
  return v128.and(rounded, i32x4.splat(-1 << shift));
}

/**
 * Half away from zero at bit `shift`. A quotient of two numbers of p bits is never half way between two numbers of p
 * bits (its denominator is too small), so for quotients this is the same as half to even, at half the price.
 */
// @ts-ignore: decorator
@inline
function roundQuotientAt(x: v128, shift: i32): v128 {
  return v128.and(i32x4.add(x, i32x4.splat(1 << (shift - 1))), i32x4.splat(-1 << shift));
}

/** Where integers-to-be fall among the codes, clamped. */
// @ts-ignore: decorator
@inline
function place(x: v128, scale: v128, zero: v128, lowest: v128, highest: v128, arithmetic: i32, asymmetric: i32): v128 {
  let at = f32x4.div(x, scale);
  if (asymmetric) {
    if (arithmetic == BF16) at = roundAt(f32x4.add(roundQuotientAt(at, 16), zero), 16);
    else if (arithmetic == F16) at = roundAt(f32x4.add(roundQuotientAt(at, 13), zero), 13);
    else at = f32x4.add(at, zero);
    return f32x4.pmax(f32x4.pmin(at, highest), lowest);
  }
  // The ends of the range are values of every dtype, so clamping first changes nothing and bounds what is rounded.
  at = f32x4.pmax(f32x4.pmin(at, highest), lowest);
  if (arithmetic == BF16) return roundQuotientAt(at, 16);
  if (arithmetic == F16) return roundQuotientAt(at, 13);
  return at;
}

/** Integer codes plus {@link NO_FRACTION}, as f32. */
// @ts-ignore: decorator
@inline
export function integerSum(
  x: v128,
  scale: v128,
  zero: v128,
  lowest: v128,
  highest: v128,
  arithmetic: i32,
  asymmetric: i32,
): v128 {
  return f32x4.add(place(x, scale, zero, lowest, highest, arithmetic, asymmetric), f32x4.splat(NO_FRACTION));
}

/** Restored minus given value, from {@link integerSum}. */
// @ts-ignore: decorator
@inline
export function integerError(sum: v128, x: v128, scale: v128, zero: v128, asymmetric: i32): v128 {
  let code = f32x4.sub(sum, f32x4.splat(NO_FRACTION));
  if (asymmetric) code = f32x4.sub(code, zero);
  return f32x4.sub(f32x4.mul(code, scale), x);
}

/** Codes of fp8 in the low byte of each lane. */
// @ts-ignore: decorator
@inline
export function floatCodes(x: v128, scale: v128, lowest: v128, highest: v128, arithmetic: i32, coding: i32): v128 {
  // Adding +0 turns -0 into +0, as the zero point of compressed-tensors does.
  let at = f32x4.add(f32x4.div(x, scale), f32x4.splat(0));
  at = f32x4.pmax(f32x4.pmin(at, highest), lowest);
  if (arithmetic == BF16) at = roundQuotientAt(at, 16);
  if (arithmetic == F16) at = decode(encode(at, 16, 10, 15, 0x7e00, i32x4.splat(0x7c00)), 16, 10, 15, 0x7bff);
  if (coding == E4M3) return encode(at, 8, 3, 7, 0x7f, i32x4.splat(0x7e));
  return encode(at, 8, 2, 15, 0x7e, i32x4.splat(0x7b));
}

/** Restored minus given value, from {@link floatCodes}. */
// @ts-ignore: decorator
@inline
export function floatError(codes: v128, x: v128, scale: v128, coding: i32): v128 {
  const value = coding == E4M3 ? decode(codes, 8, 3, 7, 0x7e) : decode(codes, 8, 2, 15, 0x7b);
  return f32x4.sub(f32x4.mul(value, scale), x);
}

/** The low bytes of sixteen lanes. */
// @ts-ignore: decorator
@inline
export function lowBytes(a: v128, b: v128, c: v128, d: v128): v128 {
  const mask = i32x4.splat(0xff);
  return i8x16.narrow_i16x8_u(
    i16x8.narrow_i32x4_u(v128.and(a, mask), v128.and(b, mask)),
    i16x8.narrow_i32x4_u(v128.and(c, mask), v128.and(d, mask)),
  );
}

/** Sum of the lanes of two f32 accumulators: added pairwise in f32, then (0 + 1) + (2 + 3) in f64. */
// @ts-ignore: decorator
@inline
export function sumLanes(even: v128, odd: v128): f64 {
  const sum = f32x4.add(even, odd);
  return (
    <f64>f32x4.extract_lane(sum, 0) +
    <f64>f32x4.extract_lane(sum, 1) +
    (<f64>f32x4.extract_lane(sum, 2) + <f64>f32x4.extract_lane(sum, 3))
  );
}
