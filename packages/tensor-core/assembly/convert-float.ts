// Conversions between the small float formats and f32. The specification is src/dtype/convert-reference.ts, which tests
// hold these to, pattern for pattern. `source` and `target` must not overlap; neither needs to be aligned.
import { decode, encode } from './float-codes';

/** bf16 to f32: exact. */
export function bf16ToF32(source: usize, target: usize, count: i32): void {
  const zero = i16x8.splat(0);
  let i = 0;
  for (; i <= count - 8; i += 8) {
    const x = v128.load(source + ((<usize>i) << 1));
    const at = target + ((<usize>i) << 2);
    v128.store(at, i8x16.shuffle(zero, x, 0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23));
    v128.store(at, i8x16.shuffle(zero, x, 8, 9, 24, 25, 10, 11, 26, 27, 12, 13, 28, 29, 14, 15, 30, 31), 16);
  }
  for (; i < count; i++) {
    store<u32>(target + ((<usize>i) << 2), (<u32>load<u16>(source + ((<usize>i) << 1))) << 16);
  }
}

/** f16 to f32: exact. */
export function f16ToF32(source: usize, target: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 8; i += 8) {
    const x = v128.load(source + ((<usize>i) << 1));
    const at = target + ((<usize>i) << 2);
    v128.store(at, decodeF16(i32x4.extend_low_i16x8_u(x)));
    v128.store(at, decodeF16(i32x4.extend_high_i16x8_u(x)), 16);
  }
  for (; i < count; i++) {
    const x = i32x4.splat(load<u16>(source + ((<usize>i) << 1)));
    v128.store_lane<f32>(target + ((<usize>i) << 2), decodeF16(x), 0);
  }
}

/** fp8 e4m3 (no infinity) to f32: exact. */
export function f8E4m3ToF32(source: usize, target: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 8; i += 8) {
    const x = i16x8.extend_low_i8x16_u(v128.load64_zero(source + <usize>i));
    const at = target + ((<usize>i) << 2);
    v128.store(at, decodeE4m3(i32x4.extend_low_i16x8_u(x)));
    v128.store(at, decodeE4m3(i32x4.extend_high_i16x8_u(x)), 16);
  }
  for (; i < count; i++) {
    const x = i32x4.splat(load<u8>(source + <usize>i));
    v128.store_lane<f32>(target + ((<usize>i) << 2), decodeE4m3(x), 0);
  }
}

/** fp8 e5m2 to f32: exact. */
export function f8E5m2ToF32(source: usize, target: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 8; i += 8) {
    const x = i16x8.extend_low_i8x16_u(v128.load64_zero(source + <usize>i));
    const at = target + ((<usize>i) << 2);
    v128.store(at, decodeE5m2(i32x4.extend_low_i16x8_u(x)));
    v128.store(at, decodeE5m2(i32x4.extend_high_i16x8_u(x)), 16);
  }
  for (; i < count; i++) {
    const x = i32x4.splat(load<u8>(source + <usize>i));
    v128.store_lane<f32>(target + ((<usize>i) << 2), decodeE5m2(x), 0);
  }
}

/** f32 to bf16, half to even. Beyond the range: the largest value where `saturate` is 1, infinity where it is 0. */
export function f32ToBf16(source: usize, target: usize, count: i32, saturate: i32): void {
  const overflow = i32x4.splat(0x7f80 - saturate);
  let i = 0;
  for (; i <= count - 8; i += 8) {
    const at = source + ((<usize>i) << 2);
    const low = encodeBf16(v128.load(at), overflow);
    const high = encodeBf16(v128.load(at, 16), overflow);
    v128.store(target + ((<usize>i) << 1), i16x8.narrow_i32x4_u(low, high));
  }
  for (; i < count; i++) {
    const x = v128.load32_zero(source + ((<usize>i) << 2));
    v128.store_lane<u16>(target + ((<usize>i) << 1), encodeBf16(x, overflow), 0);
  }
}

/** f32 to f16, half to even. Beyond the range: the largest value where `saturate` is 1, infinity where it is 0. */
export function f32ToF16(source: usize, target: usize, count: i32, saturate: i32): void {
  const overflow = i32x4.splat(0x7c00 - saturate);
  let i = 0;
  for (; i <= count - 8; i += 8) {
    const at = source + ((<usize>i) << 2);
    const low = encodeF16(v128.load(at), overflow);
    const high = encodeF16(v128.load(at, 16), overflow);
    v128.store(target + ((<usize>i) << 1), i16x8.narrow_i32x4_u(low, high));
  }
  for (; i < count; i++) {
    const x = v128.load32_zero(source + ((<usize>i) << 2));
    v128.store_lane<u16>(target + ((<usize>i) << 1), encodeF16(x, overflow), 0);
  }
}

/** f32 to fp8 e4m3, half to even. Beyond the range: 448 where `saturate` is 1, NaN where it is 0. */
export function f32ToF8E4m3(source: usize, target: usize, count: i32, saturate: i32): void {
  const overflow = i32x4.splat(0x7f - saturate);
  let i = 0;
  for (; i <= count - 16; i += 16) {
    const at = source + ((<usize>i) << 2);
    const low = i16x8.narrow_i32x4_u(encodeE4m3(v128.load(at), overflow), encodeE4m3(v128.load(at, 16), overflow));
    const high = i16x8.narrow_i32x4_u(
      encodeE4m3(v128.load(at, 32), overflow),
      encodeE4m3(v128.load(at, 48), overflow),
    );
    v128.store(target + <usize>i, i8x16.narrow_i16x8_u(low, high));
  }
  for (; i < count; i++) {
    const x = v128.load32_zero(source + ((<usize>i) << 2));
    v128.store_lane<u8>(target + <usize>i, encodeE4m3(x, overflow), 0);
  }
}

/** f32 to fp8 e5m2, half to even. Beyond the range: the largest value where `saturate` is 1, infinity where it is 0. */
export function f32ToF8E5m2(source: usize, target: usize, count: i32, saturate: i32): void {
  const overflow = i32x4.splat(0x7c - saturate);
  let i = 0;
  for (; i <= count - 16; i += 16) {
    const at = source + ((<usize>i) << 2);
    const low = i16x8.narrow_i32x4_u(encodeE5m2(v128.load(at), overflow), encodeE5m2(v128.load(at, 16), overflow));
    const high = i16x8.narrow_i32x4_u(
      encodeE5m2(v128.load(at, 32), overflow),
      encodeE5m2(v128.load(at, 48), overflow),
    );
    v128.store(target + <usize>i, i8x16.narrow_i16x8_u(low, high));
  }
  for (; i < count; i++) {
    const x = v128.load32_zero(source + ((<usize>i) << 2));
    v128.store_lane<u8>(target + <usize>i, encodeE5m2(x, overflow), 0);
  }
}

// @ts-ignore: decorator
@inline
function decodeF16(codes: v128): v128 {
  return decode(codes, 16, 10, 15, 0x7bff);
}

// @ts-ignore: decorator
@inline
function decodeE4m3(codes: v128): v128 {
  return decode(codes, 8, 3, 7, 0x7e);
}

// @ts-ignore: decorator
@inline
function decodeE5m2(codes: v128): v128 {
  return decode(codes, 8, 2, 15, 0x7b);
}

// @ts-ignore: decorator
@inline
function encodeBf16(values: v128, overflow: v128): v128 {
  return encode(values, 16, 7, 127, 0x7fc0, overflow);
}

// @ts-ignore: decorator
@inline
function encodeF16(values: v128, overflow: v128): v128 {
  return encode(values, 16, 10, 15, 0x7e00, overflow);
}

// @ts-ignore: decorator
@inline
function encodeE4m3(values: v128, overflow: v128): v128 {
  return encode(values, 8, 3, 7, 0x7f, overflow);
}

// @ts-ignore: decorator
@inline
function encodeE5m2(values: v128, overflow: v128): v128 {
  return encode(values, 8, 2, 15, 0x7f, overflow);
}
