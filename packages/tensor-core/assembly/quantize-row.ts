// The values of one row to codes, with the error sums of the pass. The specification is @pith/quant
// src/rtn/quantize.ts and src/rtn/error-sum.ts.
//
// Sixteen values at a time: a last short block is copied between zeros, which become code zeros without error and are
// written over by what comes next. The loop is compiled once for each way of computing; `full` adds what only unusual
// ranges need: counting of clipped values, and units for sums that would overflow.
import { floatCodes, floatError, integerError, integerSum, largestLane, lowBytes, sumBoth } from './quantize-lanes';
import { BF16, F16 } from './range-values';

/** Bytes of one row's sums: f64 squared error, f64 squares, f32 largest error, i32 clipped, i32 zero scales. */
export const ROW_ERROR_BYTES: usize = 32;

/** Bytes of what one group is coded with: f32 scale, f32 zero point, f32 unit of its squares. */
export const GROUP_BYTES: usize = 16;

// Squares of this many columns are added in f32.
const SEGMENT: i32 = 128;

/**
 * Writes the codes of a row, a byte each, and its sums. The last group may be short. With `full` 0 every unit must be 1 and no value more than a step
 * outside the codes. Up to 15 bytes after the codes are overwritten.
 */
export function quantizeRow(
  x: usize,
  columns: i32,
  groupSize: i32,
  groups: usize,
  codes: usize,
  coding: i32,
  asymmetric: i32,
  arithmetic: i32,
  full: i32,
  lowest: f32,
  highest: f32,
  step: f32,
  pad: usize,
  errors: usize,
): void {
  if (arithmetic == BF16) {
    chooseLoop<i16>(x, columns, groupSize, groups, codes, coding, asymmetric, full, lowest, highest, step, pad, errors);
  } else if (arithmetic == F16) {
    chooseLoop<u16>(x, columns, groupSize, groups, codes, coding, asymmetric, full, lowest, highest, step, pad, errors);
  } else {
    chooseLoop<f32>(x, columns, groupSize, groups, codes, coding, asymmetric, full, lowest, highest, step, pad, errors);
  }
}

// @ts-ignore: decorator
@inline
function chooseLoop<A>(
  x: usize,
  columns: i32,
  groupSize: i32,
  groups: usize,
  codes: usize,
  coding: i32,
  asymmetric: i32,
  full: i32,
  lowest: f32,
  highest: f32,
  step: f32,
  pad: usize,
  errors: usize,
): void {
  if (coding > 8) floatLoop<A>(x, columns, groupSize, groups, codes, coding, lowest, highest, step, pad, errors);
  else if (asymmetric) {
    if (full) integerLoop<A, i32, i32>(x, columns, groupSize, groups, codes, lowest, highest, step, pad, errors);
    else integerLoop<A, i32, u32>(x, columns, groupSize, groups, codes, lowest, highest, step, pad, errors);
  } else {
    if (full) integerLoop<A, u32, i32>(x, columns, groupSize, groups, codes, lowest, highest, step, pad, errors);
    else integerLoop<A, u32, u32>(x, columns, groupSize, groups, codes, lowest, highest, step, pad, errors);
  }
}

/** A and Z as in quantize-lanes.ts; F: `i32` is full, `u32` is not. */
function integerLoop<A, Z, F>(
  x: usize,
  columns: i32,
  groupSize: i32,
  groups: usize,
  codes: usize,
  lowest: f32,
  highest: f32,
  step: f32,
  pad: usize,
  errors: usize,
): void {
  const low = f32x4.splat(lowest);
  const high = f32x4.splat(highest);
  let sums = f64x2.splat(0);
  let largest = f32x4.splat(0);
  let largestError: f32 = 0;
  let clipped = i32x4.splat(0);
  for (let first = 0; first < columns; first += groupSize, groups += GROUP_BYTES) {
    const s = v128.load32_splat(groups);
    const z = v128.load32_splat(groups, 4);
    const unit = load<f32>(groups, 8);
    const u = f32x4.splat(unit);
    const last = min(first + groupSize, columns);
    for (let start = first; start < last; start += SEGMENT) {
      const end = min(start + SEGMENT, last);
      let error0 = f32x4.splat(0);
      let error1 = f32x4.splat(0);
      let square0 = f32x4.splat(0);
      let square1 = f32x4.splat(0);
      for (let i = start; i < end; i += 16) {
        let at = x + ((<usize>i) << 2);
        if (end - i < 16) at = padded(at, end - i, pad);
        const a = v128.load(at);
        const b = v128.load(at, 16);
        const c = v128.load(at, 32);
        const d = v128.load(at, 48);
        // Without clipping only the upper end needs a clamp in symmetric codes: the lower has one more.
        const m = isSigned<Z>() ? integerSum<A, Z, i32>(a, s, z, low, high) : integerSum<A, Z, F>(a, s, z, low, high);
        const n = isSigned<Z>() ? integerSum<A, Z, i32>(b, s, z, low, high) : integerSum<A, Z, F>(b, s, z, low, high);
        const o = isSigned<Z>() ? integerSum<A, Z, i32>(c, s, z, low, high) : integerSum<A, Z, F>(c, s, z, low, high);
        const p = isSigned<Z>() ? integerSum<A, Z, i32>(d, s, z, low, high) : integerSum<A, Z, F>(d, s, z, low, high);
        v128.store(codes + <usize>i, lowBytes(m, n, o, p));
        const e = square<F>(integerError<Z>(m, a, s, z), u);
        const f = square<F>(integerError<Z>(n, b, s, z), u);
        const g = square<F>(integerError<Z>(o, c, s, z), u);
        const h = square<F>(integerError<Z>(p, d, s, z), u);
        error0 = f32x4.add(f32x4.add(error0, e), g);
        error1 = f32x4.add(f32x4.add(error1, f), h);
        largest = f32x4.pmax(f32x4.pmax(f32x4.pmax(largest, e), f), f32x4.pmax(g, h));
        square0 = f32x4.add(f32x4.add(square0, square<F>(a, u)), square<F>(c, u));
        square1 = f32x4.add(f32x4.add(square1, square<F>(b, u)), square<F>(d, u));
        if (isSigned<F>()) {
          clipped = countOutside(clipped, f32x4.add(f32x4.div(a, s), z), lowest, highest, step);
          clipped = countOutside(clipped, f32x4.add(f32x4.div(b, s), z), lowest, highest, step);
          clipped = countOutside(clipped, f32x4.add(f32x4.div(c, s), z), lowest, highest, step);
          clipped = countOutside(clipped, f32x4.add(f32x4.div(d, s), z), lowest, highest, step);
        }
      }
      let segment = sumBoth(error0, error1, square0, square1);
      if (isSigned<F>()) segment = inUnits(segment, unit);
      sums = f64x2.add(sums, segment);
    }
    if (isSigned<F>()) {
      largestError = max(largestError, sqrt(largestLane(largest)) / unit);
      largest = f32x4.splat(0);
    }
  }
  if (!isSigned<F>()) largestError = sqrt(largestLane(largest));
  storeSums(errors, sums, largestError, clipped);
}

/** A as in quantize-lanes.ts; always full. */
function floatLoop<A>(
  x: usize,
  columns: i32,
  groupSize: i32,
  groups: usize,
  codes: usize,
  coding: i32,
  lowest: f32,
  highest: f32,
  step: f32,
  pad: usize,
  errors: usize,
): void {
  const low = f32x4.splat(lowest);
  const high = f32x4.splat(highest);
  let sums = f64x2.splat(0);
  let largestError: f32 = 0;
  let clipped = i32x4.splat(0);
  for (let first = 0; first < columns; first += groupSize, groups += GROUP_BYTES) {
    const s = v128.load32_splat(groups);
    const unit = load<f32>(groups, 8);
    const u = f32x4.splat(unit);
    const last = min(first + groupSize, columns);
    let largest = f32x4.splat(0);
    for (let start = first; start < last; start += SEGMENT) {
      const end = min(start + SEGMENT, last);
      let error0 = f32x4.splat(0);
      let error1 = f32x4.splat(0);
      let square0 = f32x4.splat(0);
      let square1 = f32x4.splat(0);
      for (let i = start; i < end; i += 16) {
        let at = x + ((<usize>i) << 2);
        if (end - i < 16) at = padded(at, end - i, pad);
        for (let k: usize = 0; k < 16; k += 8) {
          const a = v128.load(at + (k << 2));
          const b = v128.load(at + (k << 2), 16);
          const m = floatCodes<A>(a, s, low, high, coding);
          const n = floatCodes<A>(b, s, low, high, coding);
          const bytes = i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_u(m, n), i16x8.splat(0));
          v128.store64_lane(codes + <usize>i + k, bytes, 0);
          const e = square<i32>(floatError(m, a, s, coding), u);
          const f = square<i32>(floatError(n, b, s, coding), u);
          error0 = f32x4.add(error0, e);
          error1 = f32x4.add(error1, f);
          largest = f32x4.pmax(f32x4.pmax(largest, e), f);
          square0 = f32x4.add(square0, square<i32>(a, u));
          square1 = f32x4.add(square1, square<i32>(b, u));
          clipped = countOutside(clipped, f32x4.div(a, s), lowest, highest, step);
          clipped = countOutside(clipped, f32x4.div(b, s), lowest, highest, step);
        }
      }
      sums = f64x2.add(sums, inUnits(sumBoth(error0, error1, square0, square1), unit));
    }
    largestError = max(largestError, sqrt(largestLane(largest)) / unit);
  }
  storeSums(errors, sums, largestError, clipped);
}

/** The square, in units where F is `i32`. */
// @ts-ignore: decorator
@inline
function square<F>(x: v128, unit: v128): v128 {
  const y = isSigned<F>() ? f32x4.mul(x, unit) : x;
  return f32x4.mul(y, y);
}

/** Sums of squares of units as sums of squares. */
// @ts-ignore: decorator
@inline
function inUnits(sums: v128, unit: f32): v128 {
  const u = f64x2.splat(unit);
  return f64x2.div(f64x2.div(sums, u), u);
}

/** Adds 1 to the lanes that lie more than `step` outside. */
// @ts-ignore: decorator
@inline
function countOutside(counts: v128, at: v128, lowest: f32, highest: f32, step: f32): v128 {
  const above = f32x4.gt(at, f32x4.splat(highest + step));
  const below = f32x4.lt(at, f32x4.splat(lowest - step));
  return i32x4.sub(counts, v128.or(above, below));
}

/** Copies fewer than 16 values between zeros; returns their address. */
export function padded(at: usize, count: i32, pad: usize): usize {
  memory.fill(pad, 0, 64);
  memory.copy(pad, at, (<usize>count) << 2);
  return pad;
}

// @ts-ignore: decorator
@inline
function storeSums(errors: usize, sums: v128, largestError: f32, clipped: v128): void {
  v128.store(errors, sums);
  store<f32>(errors, largestError, 16);
  const count =
    i32x4.extract_lane(clipped, 0) +
    i32x4.extract_lane(clipped, 1) +
    i32x4.extract_lane(clipped, 2) +
    i32x4.extract_lane(clipped, 3);
  store<i32>(errors, count, 20);
}
