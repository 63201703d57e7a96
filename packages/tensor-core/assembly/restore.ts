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

/** Restores `groups` groups of fp8 codes: e4m3 where `format` is 0, e5m2 where it is 1. */
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

// @ts-ignore: decorator
@inline
function decodeFloat(codes: v128, format: i32): v128 {
  return format == 0 ? decode(codes, 8, 3, 7, 0x7e) : decode(codes, 8, 2, 15, 0x7b);
}

// @ts-ignore: decorator
@inline
function round(values: v128, rounding: i32): v128 {
  if (rounding == 0) return values;
  if (rounding == 1) return i32x4.shl(encode(values, 16, 7, 127, 0x7fc0, i32x4.splat(0x7f80)), 16);
  return decode(encode(values, 16, 10, 15, 0x7e00, i32x4.splat(0x7c00)), 16, 10, 15, 0x7bff);
}
