// The search for the shrink factor with the least error. The specification is @pith/quant src/range/search.ts and
// src/range/power.ts.
//
// Two shortcuts, neither of which can change the choice: errors only grow while they are added, so a candidate is left
// off at the end of a segment once it has reached the least error so far; and a candidate is passed over when the clipping
// of the outermost value alone reaches it. Without zero points every smaller factor clips harder: the search ends there.
import { padded } from './quantize-row';
import { floatCodes, floatError, integerError, integerSum, sumLanes } from './quantize-lanes';
import {
  epsilonOf,
  errorUnit,
  halfOf,
  highestCode,
  lowestCode,
  powerUnit,
  quotientDType,
  scaleOf,
  zeroPointOf,
} from './quantize-scale';
import { BF16, F16 } from './range-values';

const SEGMENT: i32 = 128;

/**
 * The index of the shrink factor (f32 at `factors`) with the least summed |error|^norm for one group; the first of
 * equals. `magnitude` is the largest of |low| and |high|.
 */
export function searchGroup(
  x: usize,
  count: i32,
  low: f32,
  high: f32,
  magnitude: f32,
  factors: usize,
  candidates: i32,
  norm: f32,
  coding: i32,
  asymmetric: i32,
  arithmetic: i32,
  scaleDType: i32,
  global: f32,
  pad: usize,
): i32 {
  let best = 0;
  let least: f64 = Infinity;
  const unit = norm == 2 ? errorUnit(magnitude) : powerUnit(magnitude);
  const lowest = lowestCode(coding);
  const highest = highestCode(coding);
  const half = halfOf(coding);
  const quotients = quotientDType(arithmetic, scaleDType);
  for (let k = 0; k < candidates && least > 0; k++) {
    const factor = load<f32>(factors + ((<usize>k) << 2));
    const a = min<f32>(low, 0) * factor;
    const b = max<f32>(high, 0) * factor;
    let scale = scaleOf(a, b, half, asymmetric, arithmetic, scaleDType, global);
    const zero = asymmetric ? zeroPointOf(a, scale, lowest, highest, arithmetic) : <f32>0;
    if (scale == 0) scale = epsilonOf(scaleDType, global);
    if (norm == 2) {
      const above = (high - (highest - zero) * scale) * unit;
      const below = ((lowest - zero) * scale - low) * unit;
      const clipped = max<f32>(0, asymmetric ? max(above, below) : below);
      if (<f64>(clipped * clipped) >= least) {
        if (asymmetric) continue;
        break;
      }
    }
    const error = candidateError(x, count, scale, zero, unit, norm, coding, asymmetric, quotients, least, pad);
    if (error < least) {
      best = k;
      least = error;
    }
  }
  return best;
}

/** Summed |error|^norm in units, or any number that is at least `limit` when the sum would be. */
export function candidateError(
  x: usize,
  count: i32,
  scale: f32,
  zero: f32,
  unit: f32,
  norm: f32,
  coding: i32,
  asymmetric: i32,
  arithmetic: i32,
  limit: f64,
  pad: usize,
): f64 {
  if (arithmetic == BF16) {
    return sumErrors<i16>(x, count, scale, zero, unit, norm, coding, asymmetric, limit, pad);
  }
  if (arithmetic == F16) {
    return sumErrors<u16>(x, count, scale, zero, unit, norm, coding, asymmetric, limit, pad);
  }
  return sumErrors<f32>(x, count, scale, zero, unit, norm, coding, asymmetric, limit, pad);
}

// @ts-ignore: decorator
@inline
function sumErrors<A>(
  x: usize,
  count: i32,
  scale: f32,
  zero: f32,
  unit: f32,
  norm: f32,
  coding: i32,
  asymmetric: i32,
  limit: f64,
  pad: usize,
): f64 {
  if (coding > 8 || norm != 2 || unit != 1) {
    return otherErrors<A>(x, count, scale, zero, unit, norm, coding, asymmetric, limit, pad);
  }
  const lowest = lowestCode(coding);
  const highest = highestCode(coding);
  return asymmetric
    ? squaredErrors<A, i32>(x, count, scale, zero, lowest, highest, limit, pad)
    : squaredErrors<A, u32>(x, count, scale, zero, lowest, highest, limit, pad);
}

/** The common case: integers, norm 2, unit 1. A and Z as in quantize-lanes.ts. */
function squaredErrors<A, Z>(
  x: usize,
  count: i32,
  scale: f32,
  zero: f32,
  lowest: f32,
  highest: f32,
  limit: f64,
  pad: usize,
): f64 {
  const s = f32x4.splat(scale);
  const z = f32x4.splat(zero);
  const low = f32x4.splat(lowest);
  const high = f32x4.splat(highest);
  let sum: f64 = 0;
  for (let start = 0; start < count; start += SEGMENT) {
    const end = min(start + SEGMENT, count);
    let error0 = f32x4.splat(0);
    let error1 = f32x4.splat(0);
    for (let i = start; i < end; i += 16) {
      let at = x + ((<usize>i) << 2);
      if (end - i < 16) at = padded(at, end - i, pad);
      const a = v128.load(at);
      const b = v128.load(at, 16);
      const c = v128.load(at, 32);
      const d = v128.load(at, 48);
      const e = integerError<Z>(integerSum<A, Z, i32>(a, s, z, low, high), a, s, z);
      const f = integerError<Z>(integerSum<A, Z, i32>(b, s, z, low, high), b, s, z);
      const g = integerError<Z>(integerSum<A, Z, i32>(c, s, z, low, high), c, s, z);
      const h = integerError<Z>(integerSum<A, Z, i32>(d, s, z, low, high), d, s, z);
      error0 = f32x4.add(f32x4.add(error0, f32x4.mul(e, e)), f32x4.mul(g, g));
      error1 = f32x4.add(f32x4.add(error1, f32x4.mul(f, f)), f32x4.mul(h, h));
    }
    sum += sumLanes(error0, error1);
    if (sum >= limit) return sum;
  }
  return sum;
}

/** All the rest. A as in quantize-lanes.ts. */
function otherErrors<A>(
  x: usize,
  count: i32,
  scale: f32,
  zero: f32,
  unit: f32,
  norm: f32,
  coding: i32,
  asymmetric: i32,
  limit: f64,
  pad: usize,
): f64 {
  const s = f32x4.splat(scale);
  const z = f32x4.splat(zero);
  const low = f32x4.splat(lowestCode(coding));
  const high = f32x4.splat(highestCode(coding));
  let sum: f64 = 0;
  for (let start = 0; start < count; start += SEGMENT) {
    const end = min(start + SEGMENT, count);
    let even = f32x4.splat(0);
    let odd = f32x4.splat(0);
    for (let i = start; i < end; i += 16) {
      let at = x + ((<usize>i) << 2);
      if (end - i < 16) at = padded(at, end - i, pad);
      for (let k: usize = 0; k < 64; k += 32) {
        const a = v128.load(at + k);
        const b = v128.load(at + k, 16);
        even = f32x4.add(even, term<A>(a, s, z, low, high, unit, norm, coding, asymmetric));
        odd = f32x4.add(odd, term<A>(b, s, z, low, high, unit, norm, coding, asymmetric));
      }
    }
    sum += sumLanes(even, odd);
    if (sum >= limit) return sum;
  }
  return sum;
}

// @ts-ignore: decorator
@inline
function term<A>(
  x: v128,
  scale: v128,
  zero: v128,
  low: v128,
  high: v128,
  unit: f32,
  norm: f32,
  coding: i32,
  asymmetric: i32,
): v128 {
  let error: v128;
  if (coding > 8) error = floatError(floatCodes<A>(x, scale, low, high, coding), x, scale, coding);
  else if (asymmetric) error = integerError<i32>(integerSum<A, i32, i32>(x, scale, zero, low, high), x, scale, zero);
  else error = integerError<u32>(integerSum<A, u32, i32>(x, scale, zero, low, high), x, scale, zero);
  error = f32x4.mul(error, f32x4.splat(unit));
  return norm == 2 ? f32x4.mul(error, error) : power(f32x4.abs(error), norm);
}

/** base^norm by log2 and exp2 polynomials; 0 for bases below 2^-60. */
// @ts-ignore: decorator
@inline
export function power(base: v128, norm: f32): v128 {
  const exponent = i32x4.shr_s(i32x4.sub(base, i32x4.splat(0x3f3504f3)), 23);
  const t = f32x4.sub(i32x4.sub(base, i32x4.shl(exponent, 23)), f32x4.splat(1));
  let log = f32x4.splat(-0.14275974035263062);
  log = f32x4.add(f32x4.mul(log, t), f32x4.splat(0.23265257477760315));
  log = f32x4.add(f32x4.mul(log, t), f32x4.splat(-0.24927182495594025));
  log = f32x4.add(f32x4.mul(log, t), f32x4.splat(0.2872888743877411));
  log = f32x4.add(f32x4.mul(log, t), f32x4.splat(-0.3602251708507538));
  log = f32x4.add(f32x4.mul(log, t), f32x4.splat(0.48091670870780945));
  log = f32x4.add(f32x4.mul(log, t), f32x4.splat(-0.7213529348373413));
  log = f32x4.add(f32x4.mul(log, t), f32x4.splat(1.4426950216293335));
  let y = f32x4.add(f32x4.mul(log, t), f32x4.convert_i32x4_s(exponent));
  y = f32x4.pmax(f32x4.mul(y, f32x4.splat(norm)), f32x4.splat(-126));
  const whole = f32x4.nearest(y);
  const rest = f32x4.sub(y, whole);
  let exp = f32x4.splat(0.0013390863314270973);
  exp = f32x4.add(f32x4.mul(exp, rest), f32x4.splat(0.009676031768321991));
  exp = f32x4.add(f32x4.mul(exp, rest), f32x4.splat(0.055503569543361664));
  exp = f32x4.add(f32x4.mul(exp, rest), f32x4.splat(0.2402210682630539));
  exp = f32x4.add(f32x4.mul(exp, rest), f32x4.splat(0.6931471824645996));
  exp = f32x4.add(f32x4.mul(exp, rest), f32x4.splat(1.0000001192092896));
  const result = i32x4.add(exp, i32x4.shl(i32x4.trunc_sat_f32x4_s(whole), 23));
  return v128.andnot(result, f32x4.lt(base, f32x4.splat(8.673617379884035e-19)));
}
