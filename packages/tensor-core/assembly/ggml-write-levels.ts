// IQ4_NL and IQ4_XS: sixteen uneven levels; and the ternary TQ1_0 and TQ2_0. The specification is @pith/quant
// src/ggml/write-levels.ts; bytes are equal. Arguments as in ggml-write-k.ts.
import { extremes } from './ggml-fit-symmetric';
import { squaresInOrder, storeHalf, transposeLanes } from './ggml-lanes';
import { CODES, LANES_W, LANES_X, SCALE_CODES, SCALES } from './ggml-scratch';
import { extremeOf } from './ggml-write-k';
import { magnitudeOf32, roundedAway16 } from './ggml-write-simple';

/** Scales are tried for which the value of largest magnitude meets level -127 and up to 7 below and above. */
const TRIES: i32 = 7;

// @ts-ignore: decorator
@inline
function levels(): v128 {
  return i8x16(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
}

/** Twice a value, rounded down, as i32; beyond all levels it stays there. */
// @ts-ignore: decorator
@inline
function doubled(x: v128): v128 {
  const near = f32x4.pmax(f32x4.pmin(f32x4.add(x, x), f32x4.splat(300)), f32x4.splat(-300));
  return i32x4.sub(f32x4.add(f32x4.floor(near), f32x4.splat(12582912)), f32x4.splat(12582912));
}

/**
 * The nearest levels of 16 values, the upper ones at ties, by counting the middles between levels that are not above. Middles are
 * halves, so that twice a value rounded down tells; bytes are compared, of three ranges that hold all middles.
 */
// @ts-ignore: decorator
@inline
function nearestLevels(a: v128, b: v128, c: v128, d: v128): v128 {
  const left = i16x8.narrow_i32x4_s(doubled(a), doubled(b));
  const right = i16x8.narrow_i32x4_s(doubled(c), doubled(d));
  const middle = i8x16.narrow_i16x8_s(left, right);
  const up = i16x8.splat(110);
  const lower = i8x16.narrow_i16x8_s(i16x8.add(left, up), i16x8.add(right, up));
  const down = i16x8.splat(120);
  const upper = i8x16.narrow_i16x8_s(i16x8.sub(left, down), i16x8.sub(right, down));
  let x = i8x16.gt_s(lower, i8x16.splat(-122));
  let y = i8x16.gt_s(lower, i8x16.splat(-78));
  x = i8x16.add(x, i8x16.gt_s(lower, i8x16.splat(-39)));
  y = i8x16.add(y, i8x16.gt_s(middle, i8x16.splat(-115)));
  x = i8x16.add(x, i8x16.gt_s(middle, i8x16.splat(-85)));
  y = i8x16.add(y, i8x16.gt_s(middle, i8x16.splat(-58)));
  x = i8x16.add(x, i8x16.gt_s(middle, i8x16.splat(-33)));
  y = i8x16.add(y, i8x16.gt_s(middle, i8x16.splat(-10)));
  x = i8x16.add(x, i8x16.gt_s(middle, i8x16.splat(13)));
  y = i8x16.add(y, i8x16.gt_s(middle, i8x16.splat(37)));
  x = i8x16.add(x, i8x16.gt_s(middle, i8x16.splat(62)));
  y = i8x16.add(y, i8x16.gt_s(middle, i8x16.splat(90)));
  x = i8x16.add(x, i8x16.gt_s(middle, i8x16.splat(121)));
  y = i8x16.add(y, i8x16.gt_s(upper, i8x16.splat(37)));
  x = i8x16.add(x, i8x16.gt_s(upper, i8x16.splat(81)));
  return i8x16.neg(i8x16.add(x, y));
}


/** Scales of four sub-blocks of 32 values at `x` with weights at `w`, both transposed. */
function fitLevels(x: usize, w: usize): v128 {
  const zeros = f32x4.splat(0);
  const largest = extremes(x, 32);
  const zero = f32x4.lt(f32x4.abs(largest), f32x4.splat(1e-15));
  let scale = zeros;
  let best = zeros;
  for (let step = -TRIES - 1; step <= TRIES; step++) {
    const plain = step < -TRIES;
    const inverse = plain
      ? f32x4.div(f32x4.splat(1), f32x4.div(f32x4.neg(largest), f32x4.splat(-127)))
      : f32x4.div(f32x4.splat(<f32>(step - 127)), largest);
    let wqx = zeros;
    let wqq = zeros;
    for (let at: usize = 0; at < 512; at += 64) {
      const a = v128.load(x + at);
      const b = v128.load(x + at, 16);
      const c = v128.load(x + at, 32);
      const d = v128.load(x + at, 48);
      const codes = nearestLevels(
        f32x4.mul(inverse, a),
        f32x4.mul(inverse, b),
        f32x4.mul(inverse, c),
        f32x4.mul(inverse, d),
      );
      const found = i8x16.swizzle(levels(), codes);
      const low = i16x8.extend_low_i8x16_s(found);
      const high = i16x8.extend_high_i8x16_s(found);
      let q = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(low));
      let wq = f32x4.mul(v128.load(w + at), q);
      wqx = f32x4.add(wqx, f32x4.mul(wq, a));
      wqq = f32x4.add(wqq, f32x4.mul(wq, q));
      q = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(low));
      wq = f32x4.mul(v128.load(w + at, 16), q);
      wqx = f32x4.add(wqx, f32x4.mul(wq, b));
      wqq = f32x4.add(wqq, f32x4.mul(wq, q));
      q = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(high));
      wq = f32x4.mul(v128.load(w + at, 32), q);
      wqx = f32x4.add(wqx, f32x4.mul(wq, c));
      wqq = f32x4.add(wqq, f32x4.mul(wq, q));
      q = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(high));
      wq = f32x4.mul(v128.load(w + at, 48), q);
      wqx = f32x4.add(wqx, f32x4.mul(wq, d));
      wqq = f32x4.add(wqq, f32x4.mul(wq, q));
    }
    const positive = f32x4.gt(wqq, zeros);
    const better = plain ? positive : v128.and(positive, f32x4.gt(f32x4.mul(wqx, wqx), f32x4.mul(best, wqq)));
    const tried = f32x4.div(wqx, wqq);
    scale = v128.bitselect(tried, scale, better);
    best = v128.bitselect(f32x4.mul(tried, wqx), best, better);
  }
  return v128.andnot(scale, zero);
}

/** Codes of four transposed sub-blocks: nearest levels of `inverse x`, 32 bytes for each. */
function levelCodes(x: usize, inverse: v128, target: usize): void {
  for (let at: usize = 0; at < 512; at += 64) {
    const mixed = nearestLevels(
      f32x4.mul(inverse, v128.load(x + at)),
      f32x4.mul(inverse, v128.load(x + at, 16)),
      f32x4.mul(inverse, v128.load(x + at, 32)),
      f32x4.mul(inverse, v128.load(x + at, 48)),
    );
    const codes = i8x16.shuffle(mixed, mixed, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const to = target + (at >> 4);
    v128.store_lane<i32>(to, codes, 0);
    v128.store_lane<i32>(to, codes, 1, 32);
    v128.store_lane<i32>(to, codes, 2, 64);
    v128.store_lane<i32>(to, codes, 3, 96);
  }
}

/** Weights of four transposed sub-blocks: squares, or importance sqrt(variance + square). */
function levelWeights(x: usize, importance: usize, variance: v128, target: usize): void {
  if (importance) transposeLanes(importance, 32, target);
  for (let at: usize = 0; at < 512; at += 16) {
    const a = v128.load(x + at);
    let weight = f32x4.mul(a, a);
    if (importance) weight = f32x4.mul(v128.load(target + at), f32x4.sqrt(f32x4.add(variance, weight)));
    v128.store(target + at, weight);
  }
}

// @ts-ignore: decorator
@inline
function storeNibbles(codes: usize, out: usize): void {
  v128.store(out, v128.or(v128.load(codes), i16x8.shl(v128.load(codes, 16), 4)));
}

/** 1 / x, and 0 where x is 0. */
// @ts-ignore: decorator
@inline
function inverseOf(x: v128): v128 {
  return v128.andnot(f32x4.div(f32x4.splat(1), x), f32x4.eq(x, f32x4.splat(0)));
}

/** IQ4_NL: up to eight blocks. */
export function writeIQ4NL(x: usize, importance: usize, blocks: i32, out: usize, s: usize): void {
  for (let g: usize = 0; g < 2 && <i32>g * 4 < blocks; g++) {
    const lanes = s + LANES_X;
    transposeLanes(x + g * 512, 32, lanes);
    let sum = f32x4.splat(0);
    for (let at: usize = 0; at < 512; at += 16) {
      const a = v128.load(lanes + at);
      sum = f32x4.add(sum, f32x4.mul(a, a));
    }
    const variance = f32x4.mul(sum, f32x4.splat(2.0 / 32.0));
    levelWeights(lanes, importance ? importance + g * 512 : 0, variance, s + LANES_W);
    const d = fitLevels(lanes, s + LANES_W);
    v128.store(s + g * 16, d, SCALES);
    levelCodes(lanes, inverseOf(d), s + CODES + g * 128);
  }
  for (let block: usize = 0; block < <usize>blocks; block++) {
    storeHalf(out, load<f32>(s + block * 4, SCALES));
    storeNibbles(s + CODES + block * 32, out + 2);
    out += 18;
  }
}

/** IQ4_XS. */
export function writeIQ4XS(x: usize, importance: usize, out: usize, s: usize): void {
  const variance: f32 = importance ? squaresInOrder(x, 256) * <f32>(2.0 / 256.0) : 0;
  for (let g: usize = 0; g < 2; g++) {
    const lanes = s + LANES_X + g * 512;
    transposeLanes(x + g * 512, 32, lanes);
    levelWeights(lanes, importance ? importance + g * 512 : 0, f32x4.splat(variance), s + LANES_W);
    v128.store(s + g * 16, fitLevels(lanes, s + LANES_W), SCALES);
  }
  const d: f32 = -extremeOf(s + SCALES, 8) / 32;
  storeHalf(out, d);
  const inverse = f32x4.splat(d != 0 ? 1 / d : 0);
  let upper = 0;
  store<i32>(out, 0, 4);
  for (let g: usize = 0; g < 2; g++) {
    const product = f32x4.nearest(f32x4.mul(inverse, v128.load(s + g * 16, SCALES)));
    const code = f32x4.pmax(f32x4.pmin(product, f32x4.splat(31)), f32x4.splat(-32));
    levelCodes(s + LANES_X + g * 512, inverseOf(f32x4.mul(f32x4.splat(d), code)), s + CODES);
    v128.store(s, f32x4.add(code, f32x4.splat(32)), SCALE_CODES);
    for (let k: usize = 0; k < 4; k++) {
      const j = g * 4 + k;
      const scale = <i32>load<f32>(s + k * 4, SCALE_CODES);
      storeNibbles(s + CODES + k * 32, out + 8 + j * 16);
      const at = out + 4 + (j >> 1);
      store<u8>(at, load<u8>(at) | ((scale & 15) << (4 * (<i32>j & 1))));
      upper |= (scale >> 4) << (2 * <i32>j);
    }
  }
  store<u16>(out, upper, 2);
}

/** Codes -1, 0, 1 of 256 values plus 1, a byte each, at CODES; returns the scale. */
function ternary(x: usize, s: usize): f32 {
  let d: f32 = 0;
  for (let at: usize = 0; at < 1024; at += 128) d = max<f32>(d, magnitudeOf32(x + at));
  const inverse = f32x4.splat(d != 0 ? 1 / d : 0);
  for (let at: usize = 0; at < 256; at += 16) {
    v128.store(s + CODES + at, i8x16.add(roundedAway16(x + at * 4, inverse), i8x16.splat(1)));
  }
  return d;
}

/** Digits `step` bytes apart as the fraction that they make, rounded up. */
// @ts-ignore: decorator
@inline
function ternaryByte(codes: usize, step: usize, digits: i32): i32 {
  let number: i32 = 0;
  for (let n = 0; n < 5; n++) number = 3 * number + (n < digits ? <i32>load<u8>(codes + <usize>n * step) : 0);
  return (number * 256 + 242) / 243;
}

/** TQ1_0: five ternary digits in a byte. */
export function writeTQ1_0(x: usize, out: usize, s: usize): void {
  storeHalf(out + 52, ternary(x, s));
  const codes = s + CODES;
  for (let j: usize = 0; j < 32; j++) store<u8>(out + j, ternaryByte(codes + j, 32, 5));
  for (let j: usize = 0; j < 16; j++) store<u8>(out + j, ternaryByte(codes + 160 + j, 16, 5), 32);
  for (let j: usize = 0; j < 4; j++) store<u8>(out + j, ternaryByte(codes + 240 + j, 4, 4), 48);
}

/** TQ2_0: four codes of two bits in a byte. */
export function writeTQ2_0(x: usize, out: usize, s: usize): void {
  storeHalf(out + 64, ternary(x, s));
  for (let at: usize = 0; at < 64; at += 16) {
    const from = s + CODES + (at >= 32 ? 96 + at : at);
    const a = v128.or(v128.load(from), i16x8.shl(v128.load(from, 32), 2));
    const b = v128.or(i16x8.shl(v128.load(from, 64), 4), i16x8.shl(v128.load(from, 96), 6));
    v128.store(out + at, v128.or(a, b));
  }
}
