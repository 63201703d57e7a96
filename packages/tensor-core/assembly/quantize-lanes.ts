// One value to a code and back on four lanes. The specification is @pith/quant src/rtn/codec.ts.
//
// What a loop is compiled for is said by type parameters, because only those are certain to be resolved before the
// optimizer sees the loop (it merges copies that differ in a constant, and tests the constant in every turn):
// - A, the dtype of the arithmetic: `f32` is f32, `u16` is f16, `i16` is bf16;
// - Z, zero points: `i32` with (asymmetric), `u32` without.
import { decode, encode } from './float-codes';
import { E2M1, E4M3 } from './quantize-scale';

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

/**
 * Where integers-to-be fall among the codes, clamped from above, and from below where `L` is `i32` and not `u32`.
 */
// @ts-ignore: decorator
@inline
function place<A, Z, L>(x: v128, scale: v128, zero: v128, lowest: v128, highest: v128): v128 {
  let at = f32x4.div(x, scale);
  if (isSigned<Z>()) {
    if (!isFloat<A>()) {
      const shift = isSigned<A>() ? 16 : 13;
      at = roundAt(f32x4.add(roundQuotientAt(at, shift), zero), shift);
    } else at = f32x4.add(at, zero);
  }
  // The ends of the range are values of every dtype, so clamping before rounding changes nothing and bounds what is
  // rounded.
  at = f32x4.pmin(at, highest);
  if (isSigned<L>()) at = f32x4.pmax(at, lowest);
  if (!isSigned<Z>() && !isFloat<A>()) at = roundQuotientAt(at, isSigned<A>() ? 16 : 13);
  return at;
}

/** Integer codes plus {@link NO_FRACTION}, as f32. */
// @ts-ignore: decorator
@inline
export function integerSum<A, Z, L>(x: v128, scale: v128, zero: v128, lowest: v128, highest: v128): v128 {
  return f32x4.add(place<A, Z, L>(x, scale, zero, lowest, highest), f32x4.splat(NO_FRACTION));
}

/** Restored minus given value, from {@link integerSum}. */
// @ts-ignore: decorator
@inline
export function integerError<Z>(sum: v128, x: v128, scale: v128, zero: v128): v128 {
  let code = f32x4.sub(sum, f32x4.splat(NO_FRACTION));
  if (isSigned<Z>()) code = f32x4.sub(code, zero);
  return f32x4.sub(f32x4.mul(code, scale), x);
}

/** Codes of fp8 or fp4 in the low byte of each lane. */
// @ts-ignore: decorator
@inline
export function floatCodes<A>(x: v128, scale: v128, lowest: v128, highest: v128, coding: i32): v128 {
  let at = f32x4.pmax(f32x4.pmin(f32x4.div(x, scale), highest), lowest);
  if (sizeof<A>() == 2 && isSigned<A>()) at = roundQuotientAt(at, 16);
  if (sizeof<A>() == 2 && !isSigned<A>()) at = decode(encode(at, 16, 10, 15, 0x7e00, i32x4.splat(0x7c00)), 16, 10, 15, 0x7bff);
  // Adding +0 turns a quotient of -0 into +0, as the zero point of compressed-tensors does.
  at = f32x4.add(at, f32x4.splat(0));
  if (coding == E4M3) return encode(at, 8, 3, 7, 0x7f, i32x4.splat(0x7e));
  if (coding == E2M1) return encode(at, 4, 1, 1, 7, i32x4.splat(7));
  return encode(at, 8, 2, 15, 0x7e, i32x4.splat(0x7b));
}

/** Restored minus given value, from {@link floatCodes}. */
// @ts-ignore: decorator
@inline
export function floatError(codes: v128, x: v128, scale: v128, coding: i32): v128 {
  const value =
    coding == E4M3
      ? decode(codes, 8, 3, 7, 0x7e)
      : coding == E2M1
        ? decode(codes, 4, 1, 1, 7)
        : decode(codes, 8, 2, 15, 0x7b);
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

/** The sums of two accumulated quantities as f64x2, each as {@link sumLanes} adds it. */
// @ts-ignore: decorator
@inline
export function sumBoth(evenA: v128, oddA: v128, evenB: v128, oddB: v128): v128 {
  const a = f32x4.add(evenA, oddA);
  const b = f32x4.add(evenB, oddB);
  const low = v128.shuffle<i32>(a, b, 0, 4, 1, 5); // a0 b0 a1 b1
  const high = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
  const lows = f64x2.add(f64x2.promote_low_f32x4(low), f64x2.promote_low_f32x4(v128.shuffle<i64>(low, low, 1, 1)));
  const highs = f64x2.add(f64x2.promote_low_f32x4(high), f64x2.promote_low_f32x4(v128.shuffle<i64>(high, high, 1, 1)));
  return f64x2.add(lows, highs);
}

/** The largest lane. */
// @ts-ignore: decorator
@inline
export function largestLane(x: v128): f32 {
  return max(
    max(f32x4.extract_lane(x, 0), f32x4.extract_lane(x, 1)),
    max(f32x4.extract_lane(x, 2), f32x4.extract_lane(x, 3)),
  );
}
