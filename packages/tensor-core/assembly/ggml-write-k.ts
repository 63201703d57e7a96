// The k-quants Q2_K, Q3_K, Q4_K, Q5_K, Q6_K: blocks of 256 values in sub-blocks of 16 or 32 whose scales (and offsets) are coded
// themselves. The specification is @pith/quant src/ggml/write-k.ts; bytes are equal. `x` is 256 f32, `importance` as many or
// 0, `out` a block, `s` scratch as ggml-scratch.ts lays it out.
import {
  affineFitCodes,
  FIT_BASE,
  FIT_INVERSE,
  FIT_OFFSET,
  FIT_SCALE,
  FIT_SUM,
  fitAffine,
  fitAffineByMagnitude,
  fitPositive,
} from './ggml-fit-affine';
import {
  fitByCoordinates,
  fitSymmetric,
  SYMMETRIC_INVERSE,
  SYMMETRIC_SCALE,
  SYMMETRIC_ZERO,
  symmetricFitCodes,
} from './ggml-fit-symmetric';
import { codeLanes, gatherCodes, nearestInt, squaresInOrder, storeHalf, transposeLanes, weigh } from './ggml-lanes';
import {
  BASES,
  CODES,
  FIT,
  INVERSES,
  LANES_P,
  LANES_Q,
  LANES_W,
  LANES_X,
  OFFSET_CODES,
  OFFSETS,
  SCALE_CODES,
  SCALES,
  SUMS,
  WEIGHTS,
} from './ggml-scratch';

/** sqrt(sum of squares / size) + |x| for the values of four sub-blocks, transposed. */
function magnitudeWeights(x: usize, size: i32, target: usize): void {
  let sum = f32x4.splat(0);
  const bytes = (<usize>size) << 4;
  for (let at: usize = 0; at < bytes; at += 16) {
    const a = v128.load(x + at);
    sum = f32x4.add(sum, f32x4.mul(a, a));
  }
  const mean = f32x4.sqrt(f32x4.div(sum, f32x4.splat(<f32>size)));
  for (let at: usize = 0; at < bytes; at += 16) {
    v128.store(target + at, f32x4.add(mean, f32x4.abs(v128.load(x + at))));
  }
}

/** Codes `count` values from 0 to the largest in n steps; returns the step. */
function codeBySteps(n: f32, values: usize, count: i32, codes: usize): f32 {
  let most: f32 = 0;
  for (let i = 0; i < count; i++) most = max<f32>(most, load<f32>(values + ((<usize>i) << 2)));
  const inverse: f32 = most > 0 ? n / most : 0;
  for (let i = 0; i < count; i++) {
    const at = (<usize>i) << 2;
    // Below f32's smallest normal number the inverse is infinite, and ggml's integers are below 0: stored as 0.
    store<f32>(codes + at, max<f32>(0, min<f32>(n, nearestInt(inverse * load<f32>(values + at)))));
  }
  return most / n;
}

/** The value of largest magnitude of `count` f32, the first where there are several; 0 when all are. */
export function extremeOf(values: usize, count: i32): f32 {
  let largest: f32 = 0;
  for (let i = 0; i < count; i++) {
    const value = load<f32>(values + ((<usize>i) << 2));
    if (abs<f32>(value) > abs<f32>(largest)) largest = value;
  }
  return largest;
}

/** True where a scale of four lanes is zero. */
// @ts-ignore: decorator
@inline
function anyZero(scale: v128): bool {
  return v128.any_true(f32x4.eq(scale, f32x4.splat(0)));
}

/**
 * What Q2_K, Q4_K and Q5_K share: fits sub-blocks of `size`, codes their scales and offsets from 0 to `most` (left at
 * SCALE_CODES and OFFSET_CODES), stores d and dmin as f16 at `halves`, and leaves codes from 0 to n at CODES.
 */
function writeAffine(
  x: usize,
  importance: usize,
  variance: f32,
  size: i32,
  n: f32,
  most: f32,
  first: f32,
  delta: f32,
  steps: i32,
  halves: usize,
  s: usize,
): void {
  const count = 256 / size;
  const groupBytes = (<usize>size) << 4;
  if (importance) weigh(x, importance, 256, variance, s + WEIGHTS);
  for (let g = 0; g < count >> 2; g++) {
    const lanes = s + LANES_X + <usize>g * groupBytes;
    const weights = s + LANES_W + <usize>g * groupBytes;
    transposeLanes(x + <usize>g * groupBytes, size, lanes);
    if (importance) {
      transposeLanes(s + WEIGHTS + <usize>g * groupBytes, size, weights);
      fitAffine(lanes, size, n, -0.9, 0.05, 36, s + FIT);
    } else if (size == 16) {
      for (let at: usize = 0; at < groupBytes; at += 16) {
        v128.store(weights + at, f32x4.abs(v128.load(lanes + at)));
      }
      fitAffineByMagnitude(lanes, size, n, first, delta, steps, s + FIT);
    } else {
      magnitudeWeights(lanes, size, weights);
      fitAffine(lanes, size, n, first, delta, steps, s + FIT);
    }
    const at = s + ((<usize>g) << 4);
    v128.store(at, v128.load(s + FIT, FIT_SCALE), SCALES);
    v128.store(at, v128.load(s + FIT, FIT_OFFSET), OFFSETS);
    v128.store(at, v128.load(s + FIT, FIT_SUM), SUMS);
    v128.store(at, v128.load(s + FIT, FIT_INVERSE), INVERSES);
    v128.store(at, v128.load(s + FIT, FIT_BASE), BASES);
  }
  let d: f32;
  let least: f32;
  if (importance) {
    d = fitPositive(most, s + SCALES, s + SUMS, count, s + SCALE_CODES);
    least = fitPositive(most, s + OFFSETS, s + SUMS, count, s + OFFSET_CODES);
  } else {
    d = codeBySteps(most, s + SCALES, count, s + SCALE_CODES);
    least = codeBySteps(most, s + OFFSETS, count, s + OFFSET_CODES);
  }
  d = storeHalf(halves, d);
  least = storeHalf(halves + 2, least);
  if (size == 16) shareBytes(s);
  for (let g = 0; g < count >> 2; g++) {
    const lanes = s + LANES_X + <usize>g * groupBytes;
    const at = s + ((<usize>g) << 4);
    const scale = f32x4.mul(f32x4.splat(d), v128.load(at, SCALE_CODES));
    const offset = f32x4.mul(f32x4.splat(least), v128.load(at, OFFSET_CODES));
    codeLanes(lanes, size, offset, scale, 0, n, 0, s + LANES_Q);
    if (anyZero(scale)) {
      affineFitCodes(lanes, size, n, v128.load(at, INVERSES), v128.load(at, BASES), s + LANES_P);
      keepWhereZero(scale, size, s);
    }
    gatherCodes(s + LANES_Q, size, s + CODES + <usize>(g * size * 4));
  }
}

/** Q2_K keeps the codes of a scale and of an offset in one byte: what of a degenerate one does not fit there is lost or runs over. */
function shareBytes(s: usize): void {
  for (let j = 0; j < 16; j++) {
    const at = (<usize>j) << 2;
    const byte = codeAt(s + SCALE_CODES, j) | (codeAt(s + OFFSET_CODES, j) << 4);
    store<f32>(s + SCALE_CODES + at, <f32>(byte & 15));
    store<f32>(s + OFFSET_CODES + at, <f32>((byte >> 4) & 15));
  }
}

/** Sub-blocks without a scale keep the codes of their fit: those at LANES_P instead of LANES_Q. */
function keepWhereZero(scale: v128, size: i32, s: usize): void {
  const kept = f32x4.eq(scale, f32x4.splat(0));
  for (let i = 0; i < size; i++) {
    const at = s + ((<usize>i) << 4);
    v128.store(at, v128.bitselect(v128.load(at, LANES_P), v128.load(at, LANES_Q), kept), LANES_Q);
  }
}

/** Two-bit codes: bytes hold codes 32 apart. */
function writePairs(codes: usize, out: usize): void {
  const three = i8x16.splat(3);
  for (let at: usize = 0; at < 64; at += 16) {
    // Bytes 0 to 31 belong to the first 128 codes.
    const from = codes + (at >= 32 ? 96 + at : at);
    const a = v128.and(v128.load(from), three);
    const b = i16x8.shl(v128.and(v128.load(from, 32), three), 2);
    const c = i16x8.shl(v128.and(v128.load(from, 64), three), 4);
    const d = i16x8.shl(v128.and(v128.load(from, 96), three), 6);
    v128.store(out + at, v128.or(v128.or(a, b), v128.or(c, d)));
  }
}

/** Nibbles: those of 32 codes and of the 32 after them share bytes. */
function writeNibbles(codes: usize, out: usize): void {
  const nibble = i8x16.splat(15);
  for (let pair: usize = 0; pair < 4; pair++) {
    const from = codes + pair * 64;
    const to = out + pair * 32;
    const low = v128.and(v128.load(from), nibble);
    const high = i16x8.shl(v128.and(v128.load(from, 32), nibble), 4);
    v128.store(to, v128.or(low, high));
    const low1 = v128.and(v128.load(from, 16), nibble);
    const high1 = i16x8.shl(v128.and(v128.load(from, 48), nibble), 4);
    v128.store(to, v128.or(low1, high1), 16);
  }
}

/** Bit `bit` of the codes: bit k of byte l is that of code 32 k + l. */
function writeBits(codes: usize, bit: i32, out: usize): void {
  const one = i8x16.splat(1);
  for (let at: usize = 0; at < 32; at += 16) {
    let bits = i8x16.splat(0);
    for (let k = 7; k >= 0; k--) {
      const code = i16x8.shr_u(v128.load(codes + at + ((<usize>k) << 5)), bit);
      bits = v128.or(i8x16.add(bits, bits), v128.and(code, one));
    }
    v128.store(out + at, bits);
  }
}

// @ts-ignore: decorator
@inline
function codeAt(values: usize, index: i32): i32 {
  return <i32>load<f32>(values + ((<usize>index) << 2));
}

/** Q2_K. */
export function writeQ2K(x: usize, importance: usize, out: usize, s: usize): void {
  const variance: f32 = importance ? squaresInOrder(x, 256) / 256 : 0;
  writeAffine(x, importance, variance, 16, 3, 15, -0.5, 0.1, 15, out + 80, s);
  for (let j = 0; j < 16; j++) {
    store<u8>(out + <usize>j, codeAt(s + SCALE_CODES, j) | (codeAt(s + OFFSET_CODES, j) << 4));
  }
  writePairs(s + CODES, out + 16);
}

/** d, dmin and 12 bytes of six-bit scales and offsets, as Q4_K and Q5_K start. */
function writeAffine32(
  x: usize,
  importance: usize,
  n: f32,
  first: f32,
  steps: i32,
  out: usize,
  s: usize,
): void {
  const variance: f32 = importance ? (2 * squaresInOrder(x, 256)) / 256 : 0;
  writeAffine(x, importance, variance, 32, n, 63, first, 0.1, steps, out, s);
  for (let j = 0; j < 4; j++) {
    const scale = codeAt(s + SCALE_CODES, j);
    const scale4 = codeAt(s + SCALE_CODES, j + 4);
    const offset = codeAt(s + OFFSET_CODES, j);
    const offset4 = codeAt(s + OFFSET_CODES, j + 4);
    store<u8>(out + <usize>j, scale | ((scale4 >> 4) << 6), 4);
    store<u8>(out + <usize>j, offset | ((offset4 >> 4) << 6), 8);
    store<u8>(out + <usize>j, (scale4 & 15) | ((offset4 & 15) << 4), 12);
  }
}

/** Q4_K. */
export function writeQ4K(x: usize, importance: usize, out: usize, s: usize): void {
  writeAffine32(x, importance, 15, -1, 20, out, s);
  writeNibbles(s + CODES, out + 16);
}

/** Q5_K. */
export function writeQ5K(x: usize, importance: usize, out: usize, s: usize): void {
  writeAffine32(x, importance, 31, -0.5, 15, out, s);
  writeBits(s + CODES, 4, out + 16);
  writeNibbles(s + CODES, out + 48);
}

/** Codes 16 values from -32 to 31, the one of largest magnitude at -32, plus 32, as f32; returns the step. */
function codeFromExtreme(values: usize, codes: usize): f32 {
  const largest = extremeOf(values, 16);
  // ggml leaves the bits at zero then, which stands for -32.
  if (largest == 0) {
    memory.fill(codes, 0, 64);
    return 0;
  }
  const inverse: f32 = -32 / largest;
  for (let j = 0; j < 16; j++) {
    const at = (<usize>j) << 2;
    const code = max<f32>(-32, min<f32>(31, nearestInt(inverse * load<f32>(values + at))));
    store<f32>(codes + at, code + 32);
  }
  return 1 / inverse;
}

/** {@link fitSymmetric} of 16 scales of sub-blocks: codes from 0 to 2 n - 1 as f32; returns the scale. */
function fitScales(n: f32, values: usize, weights: usize, codes: usize): f32 {
  const largest = extremeOf(values, 16);
  if (abs<f32>(largest) < 1e-15) {
    memory.fill(codes, 0, 64);
    return 0;
  }
  let scale: f32 = 0;
  let best: f32 = 0;
  let inverse: f32 = 0;
  for (let step = -10; step <= 9; step++) {
    if (step == 0) continue;
    const plain = step == -10;
    const numerator: f32 = plain ? -n : -(n + <f32>0.1 * <f32>step);
    const tried: f32 = numerator / largest;
    let wxq: f32 = 0;
    let wqq: f32 = 0;
    for (let i = 0; i < 16; i++) {
      const value = load<f32>(values + ((<usize>i) << 2));
      const weight = load<f32>(weights + ((<usize>i) << 2));
      const q = max<f32>(-n, min<f32>(n - 1, nearest<f32>(tried * value)));
      wxq += weight * value * q;
      wqq += weight * q * q;
    }
    if (plain || (wqq > 0 && wxq * wxq > best * wqq)) {
      scale = wqq != 0 ? wxq / wqq : 0;
      best = scale * wxq;
      inverse = tried;
    }
  }
  for (let i = 0; i < 16; i++) {
    const at = (<usize>i) << 2;
    const q = max<f32>(-n, min<f32>(n - 1, nearest<f32>(inverse * load<f32>(values + at))));
    store<f32>(codes + at, q + n);
  }
  return scale;
}

/** Q3_K. */
export function writeQ3K(x: usize, importance: usize, out: usize, s: usize): void {
  if (importance) {
    const variance: f32 = (2 * squaresInOrder(x, 256)) / 256;
    weigh(x, importance, 256, variance, s + WEIGHTS);
  }
  for (let g: usize = 0; g < 4; g++) {
    const lanes = s + LANES_X + g * 256;
    const at = s + g * 16;
    transposeLanes(x + g * 256, 16, lanes);
    // Where the scale of a sub-block is coded as zero, the codes of the fit stay: kept in LANES_P, which the search has left by then.
    if (importance) {
      const weights = s + LANES_W + g * 256;
      transposeLanes(s + WEIGHTS + g * 256, 16, weights);
      fitSymmetric(4, lanes, 16, s + FIT);
      symmetricFitCodes(
        4,
        lanes,
        16,
        v128.load(s + FIT, SYMMETRIC_INVERSE),
        v128.load(s + FIT, SYMMETRIC_ZERO),
        s + LANES_P + g * 256,
      );
      let sum = f32x4.splat(0);
      for (let i: usize = 0; i < 256; i += 16) sum = f32x4.add(sum, v128.load(weights + i));
      v128.store(at, sum, SUMS);
    } else fitByCoordinates(4, lanes, 16, s + LANES_P + g * 256, s + FIT);
    v128.store(at, v128.load(s + FIT, SYMMETRIC_SCALE), SCALES);
  }
  const stored = storeHalf(
    out + 108,
    importance
      ? fitScales(32, s + SCALES, s + SUMS, s + SCALE_CODES)
      : codeFromExtreme(s + SCALES, s + SCALE_CODES),
  );
  memory.fill(out + 96, 0, 12);
  for (let j = 0; j < 16; j++) {
    const code = codeAt(s + SCALE_CODES, j);
    const low = out + 96 + <usize>(j & 7);
    store<u8>(low, load<u8>(low) | ((code & 15) << (j < 8 ? 0 : 4)));
    const high = out + 104 + <usize>(j & 3);
    store<u8>(high, load<u8>(high) | ((code >> 4) << (2 * (j >> 2))));
  }
  for (let g: usize = 0; g < 4; g++) {
    const lanes = s + LANES_X + g * 256;
    const codes = f32x4.sub(v128.load(s + g * 16, SCALE_CODES), f32x4.splat(32));
    const scale = f32x4.mul(f32x4.splat(stored), codes);
    codeLanes(lanes, 16, f32x4.splat(0), scale, -4, 3, 4, s + LANES_Q);
    const kept = f32x4.eq(scale, f32x4.splat(0));
    if (v128.any_true(kept)) {
      for (let i: usize = 0; i < 256; i += 16) {
        const at = s + i;
        const fit = v128.load(at + g * 256, LANES_P);
        v128.store(at, v128.bitselect(fit, v128.load(at, LANES_Q), kept), LANES_Q);
      }
    }
    gatherCodes(s + LANES_Q, 16, s + CODES + g * 64);
  }
  writeBits(s + CODES, 2, out);
  writePairs(s + CODES, out + 32);
}

/** Q6_K. */
export function writeQ6K(x: usize, importance: usize, out: usize, s: usize): void {
  for (let g: usize = 0; g < 4; g++) {
    const lanes = s + LANES_X + g * 256;
    const weights = s + LANES_W + g * 256;
    const at = s + g * 16;
    transposeLanes(x + g * 256, 16, lanes);
    if (importance) transposeLanes(importance + g * 256, 16, weights);
    else {
      for (let i: usize = 0; i < 256; i += 16) {
        const a = v128.load(lanes + i);
        v128.store(weights + i, f32x4.mul(a, a));
      }
    }
    fitSymmetric(32, lanes, 16, s + FIT);
    v128.store(at, v128.load(s + FIT, SYMMETRIC_SCALE), SCALES);
    v128.store(at, v128.load(s + FIT, SYMMETRIC_INVERSE), INVERSES);
    v128.store(at, v128.load(s + FIT, SYMMETRIC_ZERO), BASES);
  }
  const largest = extremeOf(s + SCALES, 16);
  if (abs<f32>(largest) < 1e-15) {
    memory.fill(out, 0, 210);
    return;
  }
  const inverse: f32 = -128 / largest;
  const d = storeHalf(out + 208, 1 / inverse);
  for (let g: usize = 0; g < 4; g++) {
    const lanes = s + LANES_X + g * 256;
    const at = s + g * 16;
    const product = f32x4.mul(f32x4.splat(inverse), v128.load(at, SCALES));
    const codes = f32x4.pmin(f32x4.nearest(product), f32x4.splat(127));
    const scale = f32x4.mul(f32x4.splat(d), codes);
    const integers = i32x4.sub(f32x4.add(codes, f32x4.splat(12582912)), f32x4.splat(12582912));
    const narrow = i16x8.narrow_i32x4_s(integers, integers);
    v128.store_lane<i32>(out + 192 + g * 4, i8x16.narrow_i16x8_s(narrow, narrow), 0);
    codeLanes(lanes, 16, f32x4.splat(0), scale, -32, 31, 32, s + LANES_Q);
    if (anyZero(scale)) {
      symmetricFitCodes(32, lanes, 16, v128.load(at, INVERSES), v128.load(at, BASES), s + LANES_P);
      keepWhereZero(scale, 16, s);
    }
    gatherCodes(s + LANES_Q, 16, s + CODES + g * 64);
  }
  const nibble = i8x16.splat(15);
  for (let half: usize = 0; half < 2; half++) {
    for (let l: usize = 0; l < 32; l += 16) {
      const from = s + CODES + half * 128 + l;
      const a = v128.load(from);
      const b = v128.load(from, 32);
      const c = v128.load(from, 64);
      const e = v128.load(from, 96);
      const to = out + half * 64 + l;
      v128.store(to, v128.or(v128.and(a, nibble), i16x8.shl(v128.and(c, nibble), 4)));
      v128.store(to, v128.or(v128.and(b, nibble), i16x8.shl(v128.and(e, nibble), 4)), 32);
      // Codes have six bits: what is left after the nibble has two, and stays within its byte.
      const upper = v128.or(
        v128.or(highPair(a), i16x8.shl(highPair(b), 2)),
        v128.or(i16x8.shl(highPair(c), 4), i16x8.shl(highPair(e), 6)),
      );
      v128.store(out + 128 + half * 32 + l, upper);
    }
  }
}

/** Bits 4 and 5 of each byte. */
// @ts-ignore: decorator
@inline
function highPair(codes: v128): v128 {
  return v128.and(i16x8.shr_u(codes, 4), i8x16.splat(3));
}
