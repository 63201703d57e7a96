// Conversions between integers, f64, bool and f32. The specification is src/dtype/convert-reference.ts. To f32 every
// value is rounded half to even; to an integer it is rounded half to even, clamped to the range, and NaN becomes 0.
// `source` and `target` must not overlap; neither needs to be aligned.

/** i8 to f32: exact. */
export function i8ToF32(source: usize, target: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 8; i += 8) {
    const x = v128.load8x8_s(source + <usize>i);
    const at = target + ((<usize>i) << 2);
    v128.store(at, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(x)));
    v128.store(at, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(x)), 16);
  }
  for (; i < count; i++) store<f32>(target + ((<usize>i) << 2), <f32>load<i8>(source + <usize>i));
}

/** u8 to f32: exact. */
export function u8ToF32(source: usize, target: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 8; i += 8) {
    const x = v128.load8x8_u(source + <usize>i);
    const at = target + ((<usize>i) << 2);
    v128.store(at, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_u(x)));
    v128.store(at, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_u(x)), 16);
  }
  for (; i < count; i++) store<f32>(target + ((<usize>i) << 2), <f32>load<u8>(source + <usize>i));
}

/** bool (a byte, anything but 0 is true) to f32: 0 or 1. */
export function boolToF32(source: usize, target: usize, count: i32): void {
  for (let i = 0; i < count; i++) {
    store<f32>(target + ((<usize>i) << 2), load<u8>(source + <usize>i) != 0 ? 1 : 0);
  }
}

/** i16 to f32: exact. */
export function i16ToF32(source: usize, target: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 4; i += 4) {
    v128.store(target + ((<usize>i) << 2), f32x4.convert_i32x4_s(v128.load16x4_s(source + ((<usize>i) << 1))));
  }
  for (; i < count; i++) store<f32>(target + ((<usize>i) << 2), <f32>load<i16>(source + ((<usize>i) << 1)));
}

/** u16 to f32: exact. */
export function u16ToF32(source: usize, target: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 4; i += 4) {
    v128.store(target + ((<usize>i) << 2), f32x4.convert_i32x4_s(v128.load16x4_u(source + ((<usize>i) << 1))));
  }
  for (; i < count; i++) store<f32>(target + ((<usize>i) << 2), <f32>load<u16>(source + ((<usize>i) << 1)));
}

/** i32 to f32. */
export function i32ToF32(source: usize, target: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 4; i += 4) {
    v128.store(target + ((<usize>i) << 2), f32x4.convert_i32x4_s(v128.load(source + ((<usize>i) << 2))));
  }
  for (; i < count; i++) store<f32>(target + ((<usize>i) << 2), <f32>load<i32>(source + ((<usize>i) << 2)));
}

/** u32 to f32. */
export function u32ToF32(source: usize, target: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 4; i += 4) {
    v128.store(target + ((<usize>i) << 2), f32x4.convert_i32x4_u(v128.load(source + ((<usize>i) << 2))));
  }
  for (; i < count; i++) store<f32>(target + ((<usize>i) << 2), <f32>load<u32>(source + ((<usize>i) << 2)));
}

/** i64 to f32. */
export function i64ToF32(source: usize, target: usize, count: i32): void {
  for (let i = 0; i < count; i++) {
    store<f32>(target + ((<usize>i) << 2), <f32>load<i64>(source + ((<usize>i) << 3)));
  }
}

/** u64 to f32. */
export function u64ToF32(source: usize, target: usize, count: i32): void {
  for (let i = 0; i < count; i++) {
    store<f32>(target + ((<usize>i) << 2), <f32>load<u64>(source + ((<usize>i) << 3)));
  }
}

/** f64 to f32, half to even; beyond the range infinity; NaN keeps its sign only. */
export function f64ToF32(source: usize, target: usize, count: i32): void {
  for (let i = 0; i < count; i++) {
    const x = load<f64>(source + ((<usize>i) << 3));
    // What a demoted NaN looks like is up to the processor: it is spelt out here.
    const nan = (<u32>(reinterpret<u64>(x) >> 32) & 0x80000000) | 0x7fc00000;
    store<u32>(target + ((<usize>i) << 2), x != x ? nan : reinterpret<u32>(<f32>x));
  }
}

/** f32 to i8. */
export function f32ToI8(source: usize, target: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 8; i += 8) {
    const at = source + ((<usize>i) << 2);
    const words = i16x8.narrow_i32x4_s(toI32(v128.load(at)), toI32(v128.load(at, 16)));
    v128.store_lane<i64>(target + <usize>i, i8x16.narrow_i16x8_s(words, words), 0);
  }
  for (; i < count; i++) {
    const words = i16x8.narrow_i32x4_s(toI32(v128.load32_zero(source + ((<usize>i) << 2))), i32x4.splat(0));
    v128.store_lane<i8>(target + <usize>i, i8x16.narrow_i16x8_s(words, words), 0);
  }
}

/** f32 to u8. */
export function f32ToU8(source: usize, target: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 8; i += 8) {
    const at = source + ((<usize>i) << 2);
    const words = i16x8.narrow_i32x4_s(toI32(v128.load(at)), toI32(v128.load(at, 16)));
    v128.store_lane<i64>(target + <usize>i, i8x16.narrow_i16x8_u(words, words), 0);
  }
  for (; i < count; i++) {
    const words = i16x8.narrow_i32x4_s(toI32(v128.load32_zero(source + ((<usize>i) << 2))), i32x4.splat(0));
    v128.store_lane<u8>(target + <usize>i, i8x16.narrow_i16x8_u(words, words), 0);
  }
}

/** f32 to bool: 0 for both zeros, 1 for all else, NaN included. */
export function f32ToBool(source: usize, target: usize, count: i32): void {
  for (let i = 0; i < count; i++) {
    store<u8>(target + <usize>i, load<f32>(source + ((<usize>i) << 2)) != 0 ? 1 : 0);
  }
}

/** f32 to i16. */
export function f32ToI16(source: usize, target: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 8; i += 8) {
    const at = source + ((<usize>i) << 2);
    const words = i16x8.narrow_i32x4_s(toI32(v128.load(at)), toI32(v128.load(at, 16)));
    v128.store(target + ((<usize>i) << 1), words);
  }
  for (; i < count; i++) {
    const words = i16x8.narrow_i32x4_s(toI32(v128.load32_zero(source + ((<usize>i) << 2))), i32x4.splat(0));
    v128.store_lane<i16>(target + ((<usize>i) << 1), words, 0);
  }
}

/** f32 to u16. */
export function f32ToU16(source: usize, target: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 8; i += 8) {
    const at = source + ((<usize>i) << 2);
    const words = i16x8.narrow_i32x4_u(toI32(v128.load(at)), toI32(v128.load(at, 16)));
    v128.store(target + ((<usize>i) << 1), words);
  }
  for (; i < count; i++) {
    const words = i16x8.narrow_i32x4_u(toI32(v128.load32_zero(source + ((<usize>i) << 2))), i32x4.splat(0));
    v128.store_lane<u16>(target + ((<usize>i) << 1), words, 0);
  }
}

/** f32 to i32. */
export function f32ToI32(source: usize, target: usize, count: i32): void {
  let i = 0;
  for (; i <= count - 4; i += 4) v128.store(target + ((<usize>i) << 2), toI32(v128.load(source + ((<usize>i) << 2))));
  for (; i < count; i++) {
    v128.store_lane<i32>(target + ((<usize>i) << 2), toI32(v128.load32_zero(source + ((<usize>i) << 2))), 0);
  }
}

/** f32 to u32. */
export function f32ToU32(source: usize, target: usize, count: i32): void {
  for (let i = 0; i < count; i++) {
    const x = f32x4.nearest(v128.load32_zero(source + ((<usize>i) << 2)));
    v128.store_lane<u32>(target + ((<usize>i) << 2), i32x4.trunc_sat_f32x4_u(x), 0);
  }
}

/** f32 to i64. */
export function f32ToI64(source: usize, target: usize, count: i32): void {
  for (let i = 0; i < count; i++) {
    // 2^63 does not fit; every f32 below it does.
    const x = nearest<f32>(load<f32>(source + ((<usize>i) << 2)));
    let value: i64 = 0;
    if (x >= 9223372036854775808.0) value = i64.MAX_VALUE;
    else if (x < -9223372036854775808.0) value = i64.MIN_VALUE;
    else if (x == x) value = <i64>x;
    store<i64>(target + ((<usize>i) << 3), value);
  }
}

/** f32 to u64. */
export function f32ToU64(source: usize, target: usize, count: i32): void {
  for (let i = 0; i < count; i++) {
    const x = nearest<f32>(load<f32>(source + ((<usize>i) << 2)));
    let value: u64 = 0;
    if (x >= 18446744073709551616.0) value = u64.MAX_VALUE;
    else if (x > 0) value = <u64>x;
    store<u64>(target + ((<usize>i) << 3), value);
  }
}

/** f32 to f64: exact; NaN keeps its sign only. */
export function f32ToF64(source: usize, target: usize, count: i32): void {
  for (let i = 0; i < count; i++) {
    const x = load<f32>(source + ((<usize>i) << 2));
    const nan = ((<u64>(reinterpret<u32>(x) & 0x80000000)) << 32) | 0x7ff8000000000000;
    store<u64>(target + ((<usize>i) << 3), x != x ? nan : reinterpret<u64>(<f64>x));
  }
}

// @ts-ignore: decorator
@inline
function toI32(values: v128): v128 {
  return i32x4.trunc_sat_f32x4_s(f32x4.nearest(values));
}
