// Where the values of a group lie: extremes, sums, percentiles. The specification is @pith/quant src/range/measure.ts.
import { bf16ToF32, f16ToF32 } from './convert-float';

/** Dtypes of stored weights, as arguments. */
export const F32: i32 = 0;
export const F16: i32 = 1;
export const BF16: i32 = 2;

const INFINITY_BITS: i32 = 0x7f800000;

/** `columns` stored values at `source` to f32 at `target`. */
// @ts-ignore: decorator
@inline
export function expandRow(source: usize, dtype: i32, columns: i32, target: usize): void {
  if (dtype == BF16) bf16ToF32(source, target, columns);
  else if (dtype == F16) f16ToF32(source, target, columns);
  else memory.copy(target, source, (<usize>columns) << 2);
}

// @ts-ignore: decorator
@inline
export function bytesPerValue(dtype: i32): usize {
  return dtype == F32 ? 4 : 2;
}

/** Bits of the largest magnitude of f32 values: 0x7f800000 and up when one is not finite. */
export function magnitudeBits(x: usize, count: i32): i32 {
  const mask = i32x4.splat(0x7fffffff);
  let even = i32x4.splat(0);
  let odd = i32x4.splat(0);
  let i = 0;
  for (; i <= count - 8; i += 8) {
    const at = x + ((<usize>i) << 2);
    even = i32x4.max_s(even, v128.and(v128.load(at), mask));
    odd = i32x4.max_s(odd, v128.and(v128.load(at, 16), mask));
  }
  const lanes = i32x4.max_s(even, odd);
  let largest = max(
    max(i32x4.extract_lane(lanes, 0), i32x4.extract_lane(lanes, 1)),
    max(i32x4.extract_lane(lanes, 2), i32x4.extract_lane(lanes, 3)),
  );
  for (; i < count; i++) largest = max(largest, load<i32>(x + ((<usize>i) << 2)) & 0x7fffffff);
  return largest;
}

/** {@link magnitudeBits} of stored bf16 values, which order as their bits do: eight at a time instead of four. */
export function magnitudeBitsOfBf16(source: usize, count: i32): i32 {
  const mask = i16x8.splat(0x7fff);
  let even = i16x8.splat(0);
  let odd = i16x8.splat(0);
  let i = 0;
  for (; i <= count - 16; i += 16) {
    const at = source + ((<usize>i) << 1);
    even = i16x8.max_s(even, v128.and(v128.load(at), mask));
    odd = i16x8.max_s(odd, v128.and(v128.load(at, 16), mask));
  }
  let lanes = i16x8.max_s(even, odd);
  lanes = i16x8.max_s(lanes, v128.shuffle<i64>(lanes, lanes, 1, 0));
  lanes = i16x8.max_s(lanes, v128.shuffle<i32>(lanes, lanes, 1, 0, 3, 2));
  let found = max<i32>(i16x8.extract_lane_u(lanes, 0), i16x8.extract_lane_u(lanes, 1));
  for (; i < count; i++) found = max<i32>(found, load<u16>(source + ((<usize>i) << 1)) & 0x7fff);
  return found << 16;
}

/** True when the bits of a magnitude are those of an infinity or NaN. */
// @ts-ignore: decorator
@inline
export function isNotFinite(bits: i32): bool {
  return bits >= INFINITY_BITS;
}

/** Smallest of finite f32 values, `count` at least 1. */
export function smallest(x: usize, count: i32): f32 {
  // Four accumulators, because each step waits for the one before.
  let a = v128.load32_splat(x);
  let b = a;
  let c = a;
  let d = a;
  let i = 0;
  for (; i <= count - 16; i += 16) {
    const at = x + ((<usize>i) << 2);
    a = f32x4.pmin(a, v128.load(at));
    b = f32x4.pmin(b, v128.load(at, 16));
    c = f32x4.pmin(c, v128.load(at, 32));
    d = f32x4.pmin(d, v128.load(at, 48));
  }
  a = f32x4.pmin(f32x4.pmin(a, b), f32x4.pmin(c, d));
  let found = min(
    min(f32x4.extract_lane(a, 0), f32x4.extract_lane(a, 1)),
    min(f32x4.extract_lane(a, 2), f32x4.extract_lane(a, 3)),
  );
  for (; i < count; i++) found = min(found, load<f32>(x + ((<usize>i) << 2)));
  return found;
}

/** Largest of finite f32 values, `count` at least 1. */
export function largest(x: usize, count: i32): f32 {
  // Four accumulators, because each step waits for the one before.
  let a = v128.load32_splat(x);
  let b = a;
  let c = a;
  let d = a;
  let i = 0;
  for (; i <= count - 16; i += 16) {
    const at = x + ((<usize>i) << 2);
    a = f32x4.pmax(a, v128.load(at));
    b = f32x4.pmax(b, v128.load(at, 16));
    c = f32x4.pmax(c, v128.load(at, 32));
    d = f32x4.pmax(d, v128.load(at, 48));
  }
  a = f32x4.pmax(f32x4.pmax(a, b), f32x4.pmax(c, d));
  let found = max(
    max(f32x4.extract_lane(a, 0), f32x4.extract_lane(a, 1)),
    max(f32x4.extract_lane(a, 2), f32x4.extract_lane(a, 3)),
  );
  for (; i < count; i++) found = max(found, load<f32>(x + ((<usize>i) << 2)));
  return found;
}

/** Sum of squares in f64: value i goes to accumulator i mod 4. */
export function sumOfSquares(x: usize, count: i32): f64 {
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  let i = 0;
  for (; i <= count - 4; i += 4) {
    const values = v128.load(x + ((<usize>i) << 2));
    const a = f64x2.promote_low_f32x4(values);
    const b = f64x2.promote_low_f32x4(v128.shuffle<i64>(values, values, 1, 1));
    low = f64x2.add(low, f64x2.mul(a, a));
    high = f64x2.add(high, f64x2.mul(b, b));
  }
  let l0 = f64x2.extract_lane(low, 0);
  let l1 = f64x2.extract_lane(low, 1);
  let l2 = f64x2.extract_lane(high, 0);
  for (let lane = 0; i < count; i++, lane++) {
    const value = <f64>load<f32>(x + ((<usize>i) << 2));
    if (lane == 0) l0 += value * value;
    else if (lane == 1) l1 += value * value;
    else l2 += value * value;
  }
  return l0 + l1 + (l2 + f64x2.extract_lane(high, 1));
}

/** A number that orders as the value does (`signed`), or as its magnitude. */
// @ts-ignore: decorator
@inline
export function orderKey(bits: u32, signed: i32): u32 {
  if (!signed) return bits & 0x7fffffff;
  return bits ^ (<u32>((<i32>bits) >> 31) | 0x80000000);
}

/** The bits of the value with this key. */
// @ts-ignore: decorator
@inline
function keyBits(key: u32, signed: i32): u32 {
  if (!signed) return key;
  return key & 0x80000000 ? key ^ 0x80000000 : ~key;
}

/**
 * The value, or the magnitude, of rank `rank` (1 is the smallest) among f32 values: radix selection by bytes from the
 * top, linear in `count` whatever the values are. `counters` is 1 KiB of scratch.
 */
export function valueOfRank(x: usize, count: i32, rank: i32, signed: i32, counters: usize): f32 {
  let prefix: u32 = 0;
  let left = <u32>rank;
  for (let shift = 24; shift >= 0; shift -= 8) {
    memory.fill(counters, 0, 1024);
    for (let i = 0; i < count; i++) {
      const key = orderKey(load<u32>(x + ((<usize>i) << 2)), signed);
      if (shift == 24 || (key ^ prefix) >> (shift + 8) == 0) {
        const at = counters + (<usize>((key >> shift) & 255) << 2);
        store<u32>(at, load<u32>(at) + 1);
      }
    }
    let digit: u32 = 0;
    for (let n = load<u32>(counters); left > n; n = load<u32>(counters + (<usize>digit << 2))) {
      left -= n;
      digit++;
    }
    prefix |= digit << shift;
  }
  return reinterpret<f32>(keyBits(prefix, signed));
}
