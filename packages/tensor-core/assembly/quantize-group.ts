// The values of one group to codes, with the error sums of the pass. The specification is @pith/quant
// src/rtn/quantize.ts and src/rtn/error-sum.ts.
//
// Sixteen values at a time: a last short block is copied between zeros, which become code zeros without error and are
// written over by what comes next. The loop is compiled once for each way of computing; `full` adds what only unusual
// ranges need: counting of clipped values, and units for sums that would overflow.
import { floatCodes, floatError, integerError, integerSum, lowBytes, sumLanes } from './quantize-lanes';
import { BF16, F16 } from './range-values';

/** Bytes of one row's sums: f64 squared error, f64 squares, f32 largest error, i32 clipped, i32 zero scales. */
export const ROW_ERROR_BYTES: usize = 32;

// Squares of this many columns are added in f32.
const SEGMENT: i32 = 128;

/** What every block of a group needs. */
// @ts-ignore: decorator
@inline
export function quantizeGroup(
  x: usize,
  count: i32,
  codes: usize,
  scale: f32,
  zero: f32,
  lowest: f32,
  highest: f32,
  coding: i32,
  asymmetric: i32,
  arithmetic: i32,
  full: i32,
  step: f32,
  unit: f32,
  pad: usize,
  row: usize,
): void {
  if (coding > 8) {
    floatGroup(x, count, codes, scale, lowest, highest, coding, arithmetic, step, unit, pad, row);
  } else if (full) {
    if (asymmetric) fullAsymmetric(x, count, codes, scale, zero, lowest, highest, arithmetic, step, unit, pad, row);
    else fullSymmetric(x, count, codes, scale, lowest, highest, arithmetic, step, unit, pad, row);
  } else if (asymmetric) {
    if (arithmetic == BF16) integerLoop(x, count, codes, scale, zero, lowest, highest, BF16, 1, 0, step, unit, pad, row);
    else if (arithmetic == F16) integerLoop(x, count, codes, scale, zero, lowest, highest, F16, 1, 0, step, unit, pad, row);
    else integerLoop(x, count, codes, scale, zero, lowest, highest, 0, 1, 0, step, unit, pad, row);
  } else {
    if (arithmetic == BF16) integerLoop(x, count, codes, scale, 0, lowest, highest, BF16, 0, 0, step, unit, pad, row);
    else if (arithmetic == F16) integerLoop(x, count, codes, scale, 0, lowest, highest, F16, 0, 0, step, unit, pad, row);
    else integerLoop(x, count, codes, scale, 0, lowest, highest, 0, 0, 0, step, unit, pad, row);
  }
}

function fullSymmetric(
  x: usize,
  count: i32,
  codes: usize,
  scale: f32,
  lowest: f32,
  highest: f32,
  arithmetic: i32,
  step: f32,
  unit: f32,
  pad: usize,
  row: usize,
): void {
  integerLoop(x, count, codes, scale, 0, lowest, highest, arithmetic, 0, 1, step, unit, pad, row);
}

function fullAsymmetric(
  x: usize,
  count: i32,
  codes: usize,
  scale: f32,
  zero: f32,
  lowest: f32,
  highest: f32,
  arithmetic: i32,
  step: f32,
  unit: f32,
  pad: usize,
  row: usize,
): void {
  integerLoop(x, count, codes, scale, zero, lowest, highest, arithmetic, 1, 1, step, unit, pad, row);
}

// @ts-ignore: decorator
@inline
function integerLoop(
  x: usize,
  count: i32,
  codes: usize,
  scale: f32,
  zero: f32,
  lowest: f32,
  highest: f32,
  arithmetic: i32,
  asymmetric: i32,
  full: i32,
  step: f32,
  unit: f32,
  pad: usize,
  row: usize,
): void {
  const s = f32x4.splat(scale);
  const z = f32x4.splat(zero);
  const low = f32x4.splat(lowest);
  const high = f32x4.splat(highest);
  const u = f32x4.splat(unit);
  let largest = f32x4.splat(0);
  let clipped = i32x4.splat(0);
  let squaredError: f64 = 0;
  let squares: f64 = 0;
  for (let start = 0; start < count; start += SEGMENT) {
    const end = min(start + SEGMENT, count);
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
      const m = integerSum(a, s, z, low, high, arithmetic, asymmetric);
      const n = integerSum(b, s, z, low, high, arithmetic, asymmetric);
      const o = integerSum(c, s, z, low, high, arithmetic, asymmetric);
      const p = integerSum(d, s, z, low, high, arithmetic, asymmetric);
      v128.store(codes + <usize>i, lowBytes(m, n, o, p));
      const e = integerError(m, a, s, z, asymmetric);
      const f = integerError(n, b, s, z, asymmetric);
      const g = integerError(o, c, s, z, asymmetric);
      const h = integerError(p, d, s, z, asymmetric);
      error0 = f32x4.add(f32x4.add(error0, square(e, u, full)), square(g, u, full));
      error1 = f32x4.add(f32x4.add(error1, square(f, u, full)), square(h, u, full));
      square0 = f32x4.add(f32x4.add(square0, square(a, u, full)), square(c, u, full));
      square1 = f32x4.add(f32x4.add(square1, square(b, u, full)), square(d, u, full));
      largest = f32x4.pmax(
        f32x4.pmax(f32x4.pmax(largest, f32x4.abs(e)), f32x4.abs(f)),
        f32x4.pmax(f32x4.abs(g), f32x4.abs(h)),
      );
      if (full) {
        clipped = countOutside(clipped, f32x4.add(f32x4.div(a, s), z), lowest, highest, step);
        clipped = countOutside(clipped, f32x4.add(f32x4.div(b, s), z), lowest, highest, step);
        clipped = countOutside(clipped, f32x4.add(f32x4.div(c, s), z), lowest, highest, step);
        clipped = countOutside(clipped, f32x4.add(f32x4.div(d, s), z), lowest, highest, step);
      }
    }
    squaredError += sumLanes(error0, error1);
    squares += sumLanes(square0, square1);
  }
  addToRow(row, squaredError, squares, largest, clipped, unit);
}

function floatGroup(
  x: usize,
  count: i32,
  codes: usize,
  scale: f32,
  lowest: f32,
  highest: f32,
  coding: i32,
  arithmetic: i32,
  step: f32,
  unit: f32,
  pad: usize,
  row: usize,
): void {
  const s = f32x4.splat(scale);
  const low = f32x4.splat(lowest);
  const high = f32x4.splat(highest);
  const u = f32x4.splat(unit);
  let largest = f32x4.splat(0);
  let clipped = i32x4.splat(0);
  let squaredError: f64 = 0;
  let squares: f64 = 0;
  for (let start = 0; start < count; start += SEGMENT) {
    const end = min(start + SEGMENT, count);
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
        const m = floatCodes(a, s, low, high, arithmetic, coding);
        const n = floatCodes(b, s, low, high, arithmetic, coding);
        const bytes = i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_u(m, n), i16x8.splat(0));
        v128.store64_lane(codes + <usize>i + k, bytes, 0);
        const e = floatError(m, a, s, coding);
        const f = floatError(n, b, s, coding);
        error0 = f32x4.add(error0, square(e, u, 1));
        error1 = f32x4.add(error1, square(f, u, 1));
        square0 = f32x4.add(square0, square(a, u, 1));
        square1 = f32x4.add(square1, square(b, u, 1));
        largest = f32x4.pmax(f32x4.pmax(largest, f32x4.abs(e)), f32x4.abs(f));
        clipped = countOutside(clipped, f32x4.div(a, s), lowest, highest, step);
        clipped = countOutside(clipped, f32x4.div(b, s), lowest, highest, step);
      }
    }
    squaredError += sumLanes(error0, error1);
    squares += sumLanes(square0, square1);
  }
  addToRow(row, squaredError, squares, largest, clipped, unit);
}

/** The square in units. */
// @ts-ignore: decorator
@inline
function square(x: v128, unit: v128, scaled: i32): v128 {
  const y = scaled ? f32x4.mul(x, unit) : x;
  return f32x4.mul(y, y);
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
function addToRow(row: usize, squaredError: f64, squares: f64, largest: v128, clipped: v128, unit: f32): void {
  const u = <f64>unit;
  store<f64>(row, load<f64>(row) + squaredError / u / u);
  store<f64>(row, load<f64>(row, 8) + squares / u / u, 8);
  const low = max(f32x4.extract_lane(largest, 0), f32x4.extract_lane(largest, 1));
  const high = max(f32x4.extract_lane(largest, 2), f32x4.extract_lane(largest, 3));
  store<f32>(row, max(load<f32>(row, 16), max(low, high)), 16);
  const outside =
    i32x4.extract_lane(clipped, 0) +
    i32x4.extract_lane(clipped, 1) +
    i32x4.extract_lane(clipped, 2) +
    i32x4.extract_lane(clipped, 3);
  store<i32>(row, load<i32>(row, 20) + outside, 20);
}
