// Scales of columns that lie transposed, as the column sweep has them: four rows (output channels) in the lanes of a vector.
// The specification is @pith/quant src/gptq/column-scales-reference.ts.
//
// A tile of sixteen rows is copied to scratch, each row times the power of two that brings its largest magnitude near 1, so
// that no error of a search overflows or vanishes.
import { decode, encode } from './float-codes';
import { epsilonOf, highestCode, lowestCode } from './quantize-scale';
import { power } from './quantize-search';
import { BF16, F16 } from './range-values';

/** Rows of a tile. */
const TILE: i32 = 16;
const TILE_BYTES: usize = 64;
/** Columns whose errors are added in f32; their sums in f64. */
const SEGMENT: i32 = 128;

/**
 * Chooses a scale and a zero point for each of the rows `rowBegin` to `rowEnd`, from the values of columns `first` to `last`.
 *
 * weights     f32 [last, stride]
 * importance  f32 [last - first]: what the error of a column is multiplied by; 0 for none
 * bits        2 to 8
 * absolute    not 0: asymmetric ranges are [-a, a] too
 * scaleDType  0 f32, 1 f16, 2 bf16: what scales are rounded to
 * factors     f32 [candidates], from 1 down: shrink factors of the range; the one with the least sum of
 *             importance * |error|^norm is taken, the first of equals
 * scales, zeros  f32 [rowEnd], written
 * scratch     f32 [last - first + 8, TILE]
 */
export function obsScales(
  weights: usize,
  stride: i32,
  rowBegin: i32,
  rowEnd: i32,
  first: i32,
  last: i32,
  importance: usize,
  bits: i32,
  asymmetric: i32,
  absolute: i32,
  scaleDType: i32,
  factors: usize,
  candidates: i32,
  norm: f32,
  scales: usize,
  zeros: usize,
  scratch: usize,
): void {
  const count = last - first;
  const best = scratch + <usize>count * TILE_BYTES;
  for (let row = rowBegin; row < rowEnd; row += TILE) {
    const rows = min(TILE, rowEnd - row);
    copyTile(weights + ((<usize>first * <usize>stride + <usize>row) << 2), <usize>stride << 2, count, rows, scratch);
    for (let lane: usize = 0; lane < TILE_BYTES; lane += 32) {
      if (<i32>(lane >> 2) >= rows) break;
      chooseEight(
        scratch + lane,
        count,
        importance,
        bits,
        asymmetric,
        absolute,
        scaleDType,
        factors,
        candidates,
        norm,
        best,
      );
      const from = <usize>row + (lane >> 2);
      const width = <usize>min(8, rows - <i32>(lane >> 2)) << 2;
      memory.copy(scales + (from << 2), best, width);
      memory.copy(zeros + (from << 2), best + 32, width);
    }
  }
}

/** Writes eight scales and eight zero points to `best`, which has room for four more vectors of sums. */
function chooseEight(
  tile: usize,
  count: i32,
  importance: usize,
  bits: i32,
  asymmetric: i32,
  absolute: i32,
  scaleDType: i32,
  factors: usize,
  candidates: i32,
  norm: f32,
  best: usize,
): void {
  let low0 = f32x4.splat(0);
  let low1 = low0;
  let high0 = low0;
  let high1 = low0;
  for (let j = 0; j < count; j++) {
    const at = tile + <usize>j * TILE_BYTES;
    const a = v128.load(at);
    const b = v128.load(at, 16);
    low0 = f32x4.pmin(low0, a);
    low1 = f32x4.pmin(low1, b);
    high0 = f32x4.pmax(high0, a);
    high1 = f32x4.pmax(high1, b);
  }
  const magnitude0 = f32x4.pmax(f32x4.neg(low0), high0);
  const magnitude1 = f32x4.pmax(f32x4.neg(low1), high1);
  if (!asymmetric || absolute) {
    high0 = magnitude0;
    high1 = magnitude1;
    low0 = f32x4.neg(high0);
    low1 = f32x4.neg(high1);
  }
  const unit0 = unitOf(magnitude0);
  const unit1 = unitOf(magnitude1);
  if (candidates > 1) {
    for (let j = 0; j < count; j++) {
      const at = tile + <usize>j * TILE_BYTES;
      v128.store(at, f32x4.mul(v128.load(at), unit0));
      v128.store(at, f32x4.mul(v128.load(at, 16), unit1), 16);
    }
  }
  const lowest = f32x4.splat(lowestCode(bits));
  const highest = f32x4.splat(highestCode(bits));
  const steps = <f32>((1 << bits) - 1);
  for (let i: usize = 64; i < 128; i += 16) v128.store(best + i, f64x2.splat(Infinity));
  for (let k = 0; k < candidates; k++) {
    const factor = v128.load32_splat(factors + (<usize>k << 2));
    let a = f32x4.mul(low0, factor);
    let b = f32x4.mul(low1, factor);
    let scale0 = scaleLanes(a, f32x4.mul(high0, factor), steps, asymmetric, scaleDType);
    let scale1 = scaleLanes(b, f32x4.mul(high1, factor), steps, asymmetric, scaleDType);
    a = asymmetric ? zeroLanes(a, scale0, lowest, highest) : f32x4.splat(0);
    b = asymmetric ? zeroLanes(b, scale1, lowest, highest) : f32x4.splat(0);
    scale0 = orEpsilon(scale0, scaleDType);
    scale1 = orEpsilon(scale1, scaleDType);
    if (k === 0) {
      v128.store(best, scale0);
      v128.store(best, scale1, 16);
      v128.store(best, a, 32);
      v128.store(best, b, 48);
      if (candidates === 1) return;
    }
    if (norm === 2) {
      if (importance === 0) sumErrors<u32, f32>(tile, count, 0, norm, scale0, scale1, a, b, unit0, unit1, lowest, highest, best);
      else sumErrors<i32, f32>(tile, count, importance, norm, scale0, scale1, a, b, unit0, unit1, lowest, highest, best);
    } else {
      if (importance === 0) sumErrors<u32, f64>(tile, count, 0, norm, scale0, scale1, a, b, unit0, unit1, lowest, highest, best);
      else sumErrors<i32, f64>(tile, count, importance, norm, scale0, scale1, a, b, unit0, unit1, lowest, highest, best);
    }
  }
}

/**
 * Adds up a candidate's errors and writes its scale, zero point and sum where the sum is less than what is there.
 * W: `i32` with importance, `u32` without. N: `f32` for norm 2, `f64` for any other.
 */
function sumErrors<W, N>(
  tile: usize,
  count: i32,
  importance: usize,
  norm: f32,
  scale0: v128,
  scale1: v128,
  zero0: v128,
  zero1: v128,
  unit0: v128,
  unit1: v128,
  lowest: v128,
  highest: v128,
  best: usize,
): void {
  const s0 = f32x4.mul(scale0, unit0);
  const s1 = f32x4.mul(scale1, unit1);
  const inverse0 = f32x4.div(f32x4.splat(1), s0);
  const inverse1 = f32x4.div(f32x4.splat(1), s1);
  const low0 = f32x4.sub(lowest, zero0);
  const low1 = f32x4.sub(lowest, zero1);
  const high0 = f32x4.sub(highest, zero0);
  const high1 = f32x4.sub(highest, zero1);
  let sum0 = f64x2.splat(0);
  let sum1 = sum0;
  let sum2 = sum0;
  let sum3 = sum0;
  for (let start = 0; start < count; start += SEGMENT) {
    const end = min(start + SEGMENT, count);
    let errors0 = f32x4.splat(0);
    let errors1 = errors0;
    for (let j = start; j < end; j++) {
      const at = tile + <usize>j * TILE_BYTES;
      const x = v128.load(at);
      const y = v128.load(at, 16);
      const p = f32x4.pmax(f32x4.pmin(f32x4.nearest(f32x4.mul(x, inverse0)), high0), low0);
      const q = f32x4.pmax(f32x4.pmin(f32x4.nearest(f32x4.mul(y, inverse1)), high1), low1);
      let e = f32x4.sub(f32x4.mul(p, s0), x);
      let f = f32x4.sub(f32x4.mul(q, s1), y);
      if (sizeof<N>() === 4) {
        e = f32x4.mul(e, e);
        f = f32x4.mul(f, f);
      } else {
        e = power(f32x4.abs(e), norm);
        f = power(f32x4.abs(f), norm);
      }
      if (isSigned<W>()) {
        const h = v128.load32_splat(importance + (<usize>j << 2));
        e = f32x4.mul(e, h);
        f = f32x4.mul(f, h);
      }
      errors0 = f32x4.add(errors0, e);
      errors1 = f32x4.add(errors1, f);
    }
    sum0 = f64x2.add(sum0, f64x2.promote_low_f32x4(errors0));
    sum1 = f64x2.add(sum1, f64x2.promote_low_f32x4(i8x16.shuffle(errors0, errors0, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)));
    sum2 = f64x2.add(sum2, f64x2.promote_low_f32x4(errors1));
    sum3 = f64x2.add(sum3, f64x2.promote_low_f32x4(i8x16.shuffle(errors1, errors1, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)));
  }
  keepLess(best, 0, sum0, sum1, scale0, zero0);
  keepLess(best, 16, sum2, sum3, scale1, zero1);
}

/** Four lanes of {@link sumErrors}: their scales at `best + at`, zero points 32 further, f64 sums at 64 + 2 * at. */
function keepLess(best: usize, at: usize, sum0: v128, sum1: v128, scale: v128, zero: v128): void {
  const sums = best + 64 + 2 * at;
  const least0 = v128.load(sums);
  const least1 = v128.load(sums, 16);
  const less0 = f64x2.lt(sum0, least0);
  const less1 = f64x2.lt(sum1, least1);
  v128.store(sums, v128.bitselect(sum0, least0, less0));
  v128.store(sums, v128.bitselect(sum1, least1, less1), 16);
  // The low words of the four 64-bit masks.
  const less = i8x16.shuffle(less0, less1, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
  v128.store(best + at, v128.bitselect(scale, v128.load(best + at), less));
  v128.store(best + at, v128.bitselect(zero, v128.load(best + at, 32), less), 32);
}

/** The power of two that brings a magnitude into [1, 2): [2, 4) from 2^127 on, below 2 for subnormals and 0. */
// @ts-ignore: decorator
@inline
function unitOf(magnitude: v128): v128 {
  const exponent = i32x4.min_s(i32x4.shr_u(magnitude, 23), i32x4.splat(253));
  return i32x4.shl(i32x4.sub(i32x4.splat(254), exponent), 23);
}

/** Stored scales of ranges that contain 0; they may be 0 or infinite. */
// @ts-ignore: decorator
@inline
function scaleLanes(low: v128, high: v128, steps: f32, asymmetric: i32, scaleDType: i32): v128 {
  const scale = asymmetric
    ? f32x4.div(f32x4.sub(high, low), f32x4.splat(steps))
    : f32x4.div(high, f32x4.splat(steps * 0.5));
  if (scaleDType === F16) return decode(encode(scale, 16, 10, 15, 0x7e00, i32x4.splat(0x7c00)), 16, 10, 15, 0x7bff);
  if (scaleDType !== BF16) return scale;
  const odd = v128.and(i32x4.shr_u(scale, 16), i32x4.splat(1));
  return v128.and(i32x4.add(i32x4.add(scale, i32x4.splat(0x7fff)), odd), i32x4.splat(0xffff0000));
}

/** Zero points of ranges; 0 where the scale and the range are 0. */
// @ts-ignore: decorator
@inline
function zeroLanes(low: v128, scale: v128, lowest: v128, highest: v128): v128 {
  const at = f32x4.sub(lowest, f32x4.div(low, scale));
  const zero = f32x4.nearest(f32x4.pmin(f32x4.pmax(at, lowest), highest));
  // Adding 0 turns -0 into 0.
  return v128.and(f32x4.add(zero, f32x4.splat(0)), f32x4.eq(at, at));
}

// @ts-ignore: decorator
@inline
function orEpsilon(scale: v128, scaleDType: i32): v128 {
  return v128.bitselect(f32x4.splat(epsilonOf(scaleDType, 1)), scale, f32x4.eq(scale, f32x4.splat(0)));
}

function copyTile(from: usize, pitch: usize, count: i32, rows: i32, scratch: usize): void {
  for (let k = 0; k < count; k++) {
    const at = scratch + <usize>k * TILE_BYTES;
    const source = from + <usize>k * pitch;
    if (rows === TILE) {
      v128.store(at, v128.load(source));
      v128.store(at, v128.load(source, 16), 16);
      v128.store(at, v128.load(source, 32), 32);
      v128.store(at, v128.load(source, 48), 48);
    } else {
      memory.fill(at, 0, TILE_BYTES);
      memory.copy(at, source, <usize>rows << 2);
    }
  }
}
