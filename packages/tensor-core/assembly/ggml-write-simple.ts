// Blocks of 32: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, MXFP4. Where importance is given, a scale is searched for, four blocks at a time;
// without it the value of largest magnitude (or the range) decides. The specification is @pith/quant src/ggml/write-simple.ts;
// bytes are equal. `x` is f32 values, a batch of up to eight blocks, which zeros follow; `s` scratch.
import { affineFitCodes, FIT_BASE, FIT_INVERSE, FIT_OFFSET, FIT_SCALE, fitAffine } from './ggml-fit-affine';
import { fitSymmetric, SYMMETRIC_INVERSE, SYMMETRIC_SCALE, SYMMETRIC_ZERO, symmetricFitCodes } from './ggml-fit-symmetric';
import { gatherCodes, storeHalf, transposeLanes, weigh } from './ggml-lanes';
import { CODES, FIT, LANES_P, LANES_Q, LANES_W, LANES_X, OFFSETS, SCALES, WEIGHTS } from './ggml-scratch';

// @ts-ignore: decorator
@inline
function lowestOf(v: v128): f32 {
  const a = f32x4.pmin(v, v128.shuffle<i64>(v, v, 1, 0));
  return min<f32>(f32x4.extract_lane(a, 0), f32x4.extract_lane(a, 1));
}

// @ts-ignore: decorator
@inline
function highestOf(v: v128): f32 {
  const a = f32x4.pmax(v, v128.shuffle<i64>(v, v, 1, 0));
  return max<f32>(f32x4.extract_lane(a, 0), f32x4.extract_lane(a, 1));
}

/** Smallest of 32 values, the first where several are equal, which tells zeros apart. */
function lowestOf32(x: usize): f32 {
  let v = v128.load(x);
  for (let at: usize = 16; at < 128; at += 16) v = f32x4.pmin(v, v128.load(x + at));
  const lowest = lowestOf(v);
  if (lowest != 0) return lowest;
  for (let at: usize = 0; at < 128; at += 4) if (load<f32>(x + at) == 0) return load<f32>(x + at);
  return lowest;
}

function highestOf32(x: usize): f32 {
  let v = v128.load(x);
  for (let at: usize = 16; at < 128; at += 16) v = f32x4.pmax(v, v128.load(x + at));
  return highestOf(v);
}

/** Largest magnitude of 32 values. */
export function magnitudeOf32(x: usize): f32 {
  let v = f32x4.abs(v128.load(x));
  for (let at: usize = 16; at < 128; at += 16) v = f32x4.pmax(v, f32x4.abs(v128.load(x + at)));
  return highestOf(v);
}

/** The value of largest magnitude of 32, the first where there are several. */
function extremeOf32(x: usize): f32 {
  let low = v128.load(x);
  let high = low;
  for (let at: usize = 16; at < 128; at += 16) {
    const a = v128.load(x + at);
    low = f32x4.pmin(low, a);
    high = f32x4.pmax(high, a);
  }
  const lowest = lowestOf(low);
  const highest = highestOf(high);
  if (highest > -lowest) return highest;
  if (highest < -lowest) return lowest;
  if (highest == 0) return 0;
  for (let at: usize = 0; at < 128; at += 4) {
    const value = load<f32>(x + at);
    if (value == highest || value == lowest) return value;
  }
  return highest;
}

/** The integer part of 16 values (x - subtracted) factor + added, at most `highest`, as bytes. */
// @ts-ignore: decorator
@inline
function truncated16(x: usize, subtracted: v128, factor: v128, added: v128, highest: v128): v128 {
  const a = truncated(v128.load(x), subtracted, factor, added, highest);
  const b = truncated(v128.load(x, 16), subtracted, factor, added, highest);
  const c = truncated(v128.load(x, 32), subtracted, factor, added, highest);
  const d = truncated(v128.load(x, 48), subtracted, factor, added, highest);
  return i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_u(a, b), i16x8.narrow_i32x4_u(c, d));
}

// @ts-ignore: decorator
@inline
function truncated(x: v128, subtracted: v128, factor: v128, added: v128, highest: v128): v128 {
  const v = f32x4.pmin(f32x4.add(f32x4.mul(f32x4.sub(x, subtracted), factor), added), highest);
  return v128.and(f32x4.add(f32x4.trunc(v), f32x4.splat(8388608)), i32x4.splat(255));
}

/** Nibbles of 32 codes: those of the first half are the low ones. */
// @ts-ignore: decorator
@inline
function storeNibbles(low: v128, high: v128, out: usize): void {
  const nibble = i8x16.splat(15);
  v128.store(out, v128.or(v128.and(low, nibble), i16x8.shl(v128.and(high, nibble), 4)));
}

/** The fifth bits of 32 codes. */
// @ts-ignore: decorator
@inline
function fifthBits(low: v128, high: v128): i32 {
  return i8x16.bitmask(i16x8.shl(low, 3)) | (i8x16.bitmask(i16x8.shl(high, 3)) << 16);
}

/** Codes of a block behind its scale (and offset): fifth bits where n is past a nibble, then nibbles. */
// @ts-ignore: decorator
@inline
function storeCodes(low: v128, high: v128, five: bool, out: usize): void {
  if (five) {
    store<i32>(out, fifthBits(low, high));
    storeNibbles(low, high, out + 4);
  } else storeNibbles(low, high, out);
}

/** Q4_0 (`n` 8, not `five`) and Q5_0 (`n` 16, `five`): value = (code - n) d. */
export function writeSymmetric32(
  x: usize,
  importance: usize,
  meanSquare: f32,
  n: f32,
  five: bool,
  blocks: i32,
  out: usize,
  s: usize,
): void {
  const bytes: usize = five ? 22 : 18;
  if (!importance) {
    const highest = f32x4.splat(2 * n - 1);
    const added = f32x4.splat(n + 0.5);
    const none = f32x4.splat(0);
    for (let block = 0; block < blocks; block++) {
      const d: f32 = extremeOf32(x) / -n;
      const inverse = f32x4.splat(d != 0 ? 1 / d : 0);
      storeHalf(out, d);
      const low = truncated16(x, none, inverse, added, highest);
      const high = truncated16(x + 64, none, inverse, added, highest);
      storeCodes(low, high, five, out + 2);
      x += 128;
      out += bytes;
    }
    return;
  }
  weigh(x, importance, 256, meanSquare, s + WEIGHTS);
  for (let g: usize = 0; g < 2 && <i32>g * 4 < blocks; g++) {
    transposeLanes(x + g * 512, 32, s + LANES_X);
    transposeLanes(s + WEIGHTS + g * 512, 32, s + LANES_W);
    fitSymmetric(n, s + LANES_X, 32, s + FIT);
    v128.store(s + g * 16, v128.load(s + FIT, SYMMETRIC_SCALE), SCALES);
    const inverse = v128.load(s + FIT, SYMMETRIC_INVERSE);
    symmetricFitCodes(n, s + LANES_X, 32, inverse, v128.load(s + FIT, SYMMETRIC_ZERO), s + LANES_Q);
    gatherCodes(s + LANES_Q, 32, s + CODES + g * 128);
  }
  for (let block: usize = 0; block < <usize>blocks; block++) {
    storeHalf(out, load<f32>(s + block * 4, SCALES));
    const codes = s + CODES + block * 32;
    storeCodes(v128.load(codes), v128.load(codes, 16), five, out + 2);
    out += bytes;
  }
}

/** Q4_1 (`n` 15, not `five`) and Q5_1 (`n` 31, `five`): value = code d + m. */
export function writeAffine32Blocks(
  x: usize,
  importance: usize,
  meanSquare: f32,
  n: f32,
  five: bool,
  blocks: i32,
  out: usize,
  s: usize,
): void {
  const bytes: usize = five ? 24 : 20;
  if (!importance) {
    const highest = f32x4.splat(n);
    const half = f32x4.splat(0.5);
    for (let block = 0; block < blocks; block++) {
      const m = lowestOf32(x);
      const d: f32 = (highestOf32(x) - m) / n;
      const inverse = f32x4.splat(d != 0 ? 1 / d : 0);
      storeHalf(out, d);
      storeHalf(out + 2, m);
      const low = truncated16(x, f32x4.splat(m), inverse, half, highest);
      const high = truncated16(x + 64, f32x4.splat(m), inverse, half, highest);
      storeCodes(low, high, five, out + 4);
      x += 128;
      out += bytes;
    }
    return;
  }
  weigh(x, importance, 256, meanSquare, s + WEIGHTS);
  for (let g: usize = 0; g < 2 && <i32>g * 4 < blocks; g++) {
    transposeLanes(x + g * 512, 32, s + LANES_X);
    transposeLanes(s + WEIGHTS + g * 512, 32, s + LANES_W);
    fitAffine(s + LANES_X, 32, n, -0.9, 0.05, 36, s + FIT);
    v128.store(s + g * 16, v128.load(s + FIT, FIT_SCALE), SCALES);
    v128.store(s + g * 16, f32x4.neg(v128.load(s + FIT, FIT_OFFSET)), OFFSETS);
    affineFitCodes(s + LANES_X, 32, n, v128.load(s + FIT, FIT_INVERSE), v128.load(s + FIT, FIT_BASE), s + LANES_Q);
    gatherCodes(s + LANES_Q, 32, s + CODES + g * 128);
  }
  for (let block: usize = 0; block < <usize>blocks; block++) {
    storeHalf(out, load<f32>(s + block * 4, SCALES));
    storeHalf(out + 2, load<f32>(s + block * 4, OFFSETS));
    const codes = s + CODES + block * 32;
    storeCodes(v128.load(codes), v128.load(codes, 16), five, out + 4);
    out += bytes;
  }
}

/** Half away from zero: just below 0.5 is added to magnitudes, so that no sum rounds up by itself. */
// @ts-ignore: decorator
@inline
function roundedAway(x: v128, factor: v128): v128 {
  const v = f32x4.mul(x, factor);
  const almostHalf = v128.or(v128.and(v, i32x4.splat(0x80000000)), f32x4.splat(0.49999997));
  const whole = f32x4.trunc(f32x4.add(v, almostHalf));
  return i32x4.sub(f32x4.add(whole, f32x4.splat(12582912)), f32x4.splat(12582912));
}

/** 16 values times a factor, rounded half away from zero, as signed bytes. */
// @ts-ignore: decorator
@inline
export function roundedAway16(x: usize, factor: v128): v128 {
  const a = i16x8.narrow_i32x4_s(roundedAway(v128.load(x), factor), roundedAway(v128.load(x, 16), factor));
  const b = i16x8.narrow_i32x4_s(roundedAway(v128.load(x, 32), factor), roundedAway(v128.load(x, 48), factor));
  return i8x16.narrow_i16x8_s(a, b);
}

/** Q8_0. */
export function writeQ8_0(x: usize, blocks: i32, out: usize): void {
  for (let block = 0; block < blocks; block++) {
    const d: f32 = magnitudeOf32(x) / 127;
    const inverse = f32x4.splat(d != 0 ? 1 / d : 0);
    storeHalf(out, d);
    v128.store(out, roundedAway16(x, inverse), 2);
    v128.store(out, roundedAway16(x + 64, inverse), 18);
    x += 128;
    out += 34;
  }
}

/** floor(log2(value)) with the logarithm rounded to f32 first, as C's log2f does: just below a power of two it gives that power. */
function exponentOf(value: f32): i32 {
  const bits = reinterpret<i32>(value);
  let exponent = (bits >> 23) - 127;
  let mantissa = bits & 0x7fffff;
  if (exponent == -127) {
    const shift = clz(mantissa) - 8;
    mantissa = (mantissa << shift) & 0x7fffff;
    exponent = -126 - shift;
  }
  const above = exponent + 1;
  const missing = 0x800000 - mantissa;
  if (above == 0 || missing > 128) return exponent;
  const size = <u32>abs<i32>(above);
  let place = 31 - <i32>clz(size);
  // Below a power of two, f32 lies twice as dense.
  if (above > 0 && popcnt(size) == 1) place--;
  return <f64>missing * 1.4426950408889634 <= <f64>(1 << (place + 1)) * 0.5 ? above : exponent;
}

/** Codes of e2m1 for 4 magnitudes: the lower one at a tie. `d` is half a unit. */
// @ts-ignore: decorator
@inline
function e2m1(x: v128, d: f32): v128 {
  const magnitude = f32x4.abs(x);
  let code = i32x4.splat(0);
  code = i32x4.sub(code, f32x4.gt(magnitude, f32x4.splat(0.5 * d)));
  code = i32x4.sub(code, f32x4.gt(magnitude, f32x4.splat(1.5 * d)));
  code = i32x4.sub(code, f32x4.gt(magnitude, f32x4.splat(2.5 * d)));
  code = i32x4.sub(code, f32x4.gt(magnitude, f32x4.splat(3.5 * d)));
  code = i32x4.sub(code, f32x4.gt(magnitude, f32x4.splat(5 * d)));
  code = i32x4.sub(code, f32x4.gt(magnitude, f32x4.splat(7 * d)));
  code = i32x4.sub(code, f32x4.gt(magnitude, f32x4.splat(10 * d)));
  // A value that rounds to zero has no sign.
  const sign = v128.and(i32x4.shr_u(v128.and(x, i32x4.splat(0x80000000)), 28), i32x4.gt_s(code, i32x4.splat(0)));
  return v128.or(code, sign);
}

/** MXFP4. */
export function writeMXFP4(x: usize, blocks: i32, out: usize): void {
  for (let block = 0; block < blocks; block++) {
    const largest = magnitudeOf32(x);
    const exponent = largest > 0 ? exponentOf(largest) + 125 : 0;
    store<u8>(out, exponent);
    const stored = exponent & 255;
    const d = reinterpret<f32>(stored > 1 ? (stored - 1) << 23 : 0x200000 << stored);
    const a = i16x8.narrow_i32x4_u(e2m1(v128.load(x), d), e2m1(v128.load(x, 16), d));
    const b = i16x8.narrow_i32x4_u(e2m1(v128.load(x, 32), d), e2m1(v128.load(x, 48), d));
    const c = i16x8.narrow_i32x4_u(e2m1(v128.load(x, 64), d), e2m1(v128.load(x, 80), d));
    const e = i16x8.narrow_i32x4_u(e2m1(v128.load(x, 96), d), e2m1(v128.load(x, 112), d));
    storeNibbles(i8x16.narrow_i16x8_u(a, b), i8x16.narrow_i16x8_u(c, e), out + 1);
    x += 128;
    out += 17;
  }
}
