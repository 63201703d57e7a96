// How ggml's quantizers are run four at a time: each lane of a vector works on one sub-block, so that every sum keeps the
// order, and with it the bits, that ggml's plain loops give it. Values of four sub-blocks of `size` values lie transposed:
// vector i holds the i-th value of each.
import { decode, encode } from './float-codes';

/** Bits of a number as f16, half to even, infinity beyond its range. */
export function halfBits(value: f32): i32 {
  return i32x4.extract_lane(encode(f32x4.splat(value), 16, 10, 15, 0x7e00, i32x4.splat(0x7c00)), 0);
}

/** The number behind the bits of an f16. */
export function halfValue(bits: i32): f32 {
  return f32x4.extract_lane(decode(i32x4.splat(bits), 16, 10, 15, 0x7bff), 0);
}

/** Stores a number as f16; returns it as it was stored. */
export function storeHalf(at: usize, value: f32): f32 {
  const bits = halfBits(value);
  store<u16>(at, <u16>bits);
  return halfValue(bits);
}

/**
 * Half to even as ggml does it: 1.5 * 2^23 is added and the last 23 bits are the integer. Beyond 2^22, where degenerate blocks lead, that
 * is another number than the nearest one, and ggml's bytes follow from it.
 */
export function nearestInt(value: f32): f32 {
  return <f32>((reinterpret<i32>(value + 12582912) & 0x7fffff) - 0x400000);
}

/** {@link nearestInt} between two bounds, on four lanes. */
// @ts-ignore: decorator
@inline
export function exactCodesOf(x: v128, lowest: i32, highest: i32): v128 {
  const bits = v128.and(f32x4.add(x, f32x4.splat(12582912)), i32x4.splat(0x7fffff));
  const code = i32x4.sub(bits, i32x4.splat(0x400000));
  return f32x4.convert_i32x4_s(i32x4.max_s(i32x4.min_s(code, i32x4.splat(highest)), i32x4.splat(lowest)));
}

/** Transposes four sub-blocks of `size` f32 (a multiple of 4) that lie one after the other. */
export function transposeLanes(source: usize, size: i32, target: usize): void {
  const step = (<usize>size) << 2;
  for (let i = 0; i < size; i += 4) {
    const a = v128.load(source);
    const b = v128.load(source + step);
    const c = v128.load(source + 2 * step);
    const d = v128.load(source + 3 * step);
    const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
    const cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
    const abHigh = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
    const cdHigh = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
    v128.store(target, v128.shuffle<i64>(ab, cd, 0, 2));
    v128.store(target, v128.shuffle<i64>(ab, cd, 1, 3), 16);
    v128.store(target, v128.shuffle<i64>(abHigh, cdHigh, 0, 2), 32);
    v128.store(target, v128.shuffle<i64>(abHigh, cdHigh, 1, 3), 48);
    source += 16;
    target += 64;
  }
}

/** Integers of f32 lanes, from 0 to 255, to i32. */
// @ts-ignore: decorator
@inline
function integers(x: v128): v128 {
  return v128.and(f32x4.add(x, f32x4.splat(8388608)), i32x4.splat(255));
}

/** The opposite of {@link transposeLanes} for codes: f32 lanes that hold integers from 0 to 255, to a byte each. */
export function gatherCodes(source: usize, size: i32, target: usize): void {
  const step = <usize>size;
  for (let i = 0; i < size; i += 4) {
    const ab = i16x8.narrow_i32x4_u(integers(v128.load(source)), integers(v128.load(source, 16)));
    const cd = i16x8.narrow_i32x4_u(integers(v128.load(source, 32)), integers(v128.load(source, 48)));
    const mixed = i8x16.narrow_i16x8_u(ab, cd);
    const codes = i8x16.shuffle(mixed, mixed, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    v128.store_lane<i32>(target, codes, 0);
    v128.store_lane<i32>(target + step, codes, 1);
    v128.store_lane<i32>(target + 2 * step, codes, 2);
    v128.store_lane<i32>(target + 3 * step, codes, 3);
    source += 64;
    target += 4;
  }
}

/** Rounds half to even and keeps between two bounds: {@link exactCodesOf} for magnitudes below 2^22, at half its price. */
// @ts-ignore: decorator
@inline
export function codesOf(x: v128, lowest: v128, highest: v128): v128 {
  return f32x4.nearest(f32x4.pmax(f32x4.pmin(x, highest), lowest));
}

/** {@link exactCodesOf} of `(value + offset) / scale` for `count` vectors, one scale a lane, plus `base`. */
export function codeLanes(
  source: usize,
  count: i32,
  offset: v128,
  scale: v128,
  lowest: f32,
  highest: f32,
  base: f32,
  target: usize,
): void {
  const low = <i32>lowest;
  const high = <i32>highest;
  const added = f32x4.splat(base);
  for (let i = 0; i < count; i++) {
    const x = f32x4.div(f32x4.add(v128.load(source), offset), scale);
    v128.store(target, f32x4.add(exactCodesOf(x, low, high), added));
    source += 16;
    target += 16;
  }
}

/** importance sqrt(variance + x²) of `count` values, a multiple of 4. */
export function weigh(x: usize, importance: usize, count: i32, variance: f32, target: usize): void {
  const v = f32x4.splat(variance);
  for (let i = 0; i < count; i += 4) {
    const a = v128.load(x);
    const root = f32x4.sqrt(f32x4.add(v, f32x4.mul(a, a)));
    v128.store(target, f32x4.mul(v128.load(importance), root));
    x += 16;
    importance += 16;
    target += 16;
  }
}

/** Sum of squares in f32, from the first to the last of `count` values, a multiple of 4. */
export function squaresInOrder(x: usize, count: i32): f32 {
  let sum: f32 = 0;
  for (let i = 0; i < count; i += 4) {
    const a = v128.load(x + ((<usize>i) << 2));
    const s = f32x4.mul(a, a);
    sum += f32x4.extract_lane(s, 0);
    sum += f32x4.extract_lane(s, 1);
    sum += f32x4.extract_lane(s, 2);
    sum += f32x4.extract_lane(s, 3);
  }
  return sum;
}
