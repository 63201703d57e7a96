// Codes back to values: (code - zero point) * scale. The specification is src/weight/restore-reference.ts. A group is a
// run of `size` codes with one scale; groups follow one another without gaps.
//
// `rounding` says what the values are rounded to: 0 f32, 1 bf16, 2 f16. With scales of that dtype the product is exact
// in f32, so that there is one rounding in every case.
import { decode, encode } from './float-codes';

/** Restores `groups` groups of i8 codes. `zeroPoints` is the address of an i8 for each group, or 0 for none. */
export function restoreIntegers(
  codes: usize,
  scales: usize,
  zeroPoints: usize,
  target: usize,
  groups: i32,
  size: i32,
  rounding: i32,
): void {
  for (let group = 0; group < groups; group++) {
    const scale = f32x4.splat(load<f32>(scales + ((<usize>group) << 2)));
    const zeroPoint = i16x8.splat(zeroPoints == 0 ? 0 : <i16>load<i8>(zeroPoints + <usize>group));
    let i = 0;
    for (; i <= size - 8; i += 8) {
      const x = i16x8.sub(v128.load8x8_s(codes + <usize>i), zeroPoint);
      const low = f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(x)), scale);
      const high = f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(x)), scale);
      const at = target + ((<usize>i) << 2);
      v128.store(at, round(low, rounding));
      v128.store(at, round(high, rounding), 16);
    }
    for (; i < size; i++) {
      const x = i16x8.sub(i16x8.splat(<i16>load<i8>(codes + <usize>i)), zeroPoint);
      const value = f32x4.mul(f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(x)), scale);
      v128.store_lane<f32>(target + ((<usize>i) << 2), round(value, rounding), 0);
    }
    codes += size;
    target += (<usize>size) << 2;
  }
}

/** Restores `groups` groups of float codes, a byte each: e4m3 where `format` is 0, e5m2 where it is 1, e2m1 where it is 2. */
export function restoreFloats(
  codes: usize,
  scales: usize,
  target: usize,
  groups: i32,
  size: i32,
  rounding: i32,
  format: i32,
): void {
  for (let group = 0; group < groups; group++) {
    const scale = f32x4.splat(load<f32>(scales + ((<usize>group) << 2)));
    let i = 0;
    if (format == 2) {
      for (; i <= size - 16; i += 16) restoreE2m1(v128.load(codes + <usize>i), scale, target + ((<usize>i) << 2), rounding);
    }
    for (; i <= size - 4; i += 4) {
      const x = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(codes + <usize>i)));
      v128.store(target + ((<usize>i) << 2), round(f32x4.mul(decodeFloat(x, format), scale), rounding));
    }
    for (; i < size; i++) {
      const value = f32x4.mul(decodeFloat(i32x4.splat(load<u8>(codes + <usize>i)), format), scale);
      v128.store_lane<f32>(target + ((<usize>i) << 2), round(value, rounding), 0);
    }
    codes += size;
    target += (<usize>size) << 2;
  }
}

/**
 * Sixteen codes of e2m1 by two table look-ups: the upper half of the f32 of a code has its value, the lower half is 0. Of
 * that upper half one table has the upper byte, the other the lower one.
 */
// @ts-ignore: decorator
@inline
function restoreE2m1(codes: v128, scale: v128, target: usize, rounding: i32): void {
  const upper = i8x16(0, 0x3f, 0x3f, 0x3f, 0x40, 0x40, 0x40, 0x40, -128, -65, -65, -65, -64, -64, -64, -64);
  const lower = i8x16(0, 0, -128, -64, 0, 0x40, -128, -64, 0, 0, -128, -64, 0, 0x40, -128, -64);
  const high = i8x16.swizzle(upper, codes);
  const low = i8x16.swizzle(lower, codes);
  const first = v128.shuffle<u8>(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const second = v128.shuffle<u8>(low, high, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  v128.store(target, round(f32x4.mul(i32x4.shl(i32x4.extend_low_i16x8_u(first), 16), scale), rounding));
  v128.store(target, round(f32x4.mul(i32x4.shl(i32x4.extend_high_i16x8_u(first), 16), scale), rounding), 16);
  v128.store(target, round(f32x4.mul(i32x4.shl(i32x4.extend_low_i16x8_u(second), 16), scale), rounding), 32);
  v128.store(target, round(f32x4.mul(i32x4.shl(i32x4.extend_high_i16x8_u(second), 16), scale), rounding), 48);
}

// @ts-ignore: decorator
@inline
function decodeFloat(codes: v128, format: i32): v128 {
  if (format == 2) return decode(codes, 4, 1, 1, 7);
  return format == 0 ? decode(codes, 8, 3, 7, 0x7e) : decode(codes, 8, 2, 15, 0x7b);
}

// @ts-ignore: decorator
@inline
function round(values: v128, rounding: i32): v128 {
  if (rounding == 0) return values;
  if (rounding == 1) return i32x4.shl(encode(values, 16, 7, 127, 0x7fc0, i32x4.splat(0x7f80)), 16);
  return decode(encode(values, 16, 10, 15, 0x7e00, i32x4.splat(0x7c00)), 16, 10, 15, 0x7bff);
}
