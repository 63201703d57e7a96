// Which weights go: the ones of least |w| * factor, compared within a row, within runs of m columns (n:m), or with
// everything else by a threshold. The specification is src/selection/select-reference.ts.
//
// A score is compared by its key, the bits of the f32 |w| * factor without their sign: floats that are not negative lie
// in the order of their bits. Of equal keys the one that comes first in memory goes first, so that counts are exact.
import { bf16ToF32, f16ToF32 } from './convert-float';

/** Keys from here on are infinity or NaN. */
const NOT_FINITE: u32 = 0x7f800000;
/** Bits of a key below the first histogram. */
const LOW_BITS: u32 = 20;
const BINS: usize = 2048;
/** Bins of `countKeys`: the upper 15 bits of a key, or the 16 below them. */
const COUNT_BINS: usize = 65536;
/** How far around the threshold of one row that of the next is looked for first: up to an eighth of its value. */
const WINDOW_BITS: u32 = 20;

/** For each set of the four lanes of a vector, the bytes that bring them to its beginning. */
const GATHER: usize = memory.data<u8>([

  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  4, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0, 0,
  8, 9, 10, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 1, 2, 3, 8, 9, 10, 11, 0, 0, 0, 0, 0, 0, 0, 0,
  4, 5, 6, 7, 8, 9, 10, 11, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 0, 0, 0,
  12, 13, 14, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 1, 2, 3, 12, 13, 14, 15, 0, 0, 0, 0, 0, 0, 0, 0,
  4, 5, 6, 7, 12, 13, 14, 15, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 0, 0, 0, 0,
  8, 9, 10, 11, 12, 13, 14, 15, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 0, 0, 0, 0,
  4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 0, 0, 0,
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
]);

/** Bytes of scratch that the kernels below need for rows of `columns` columns. */
export function selectScratchBytes(columns: i32): i32 {
  return <i32>(2 * keyBytes(columns) + 2 * BINS * 4);
}

// @ts-ignore: decorator
@inline
function keyBytes(columns: i32): usize {
  return ((<usize>columns * 4 + 63) & ~(<usize>63)) + 64;
}

/**
 * Takes the `pruned` weights of least score out of each run of `span` columns of each row.
 *
 * values        [rows, columns] of `dtype` (0 f32, 1 f16, 2 bf16); what goes is overwritten by +0, unless `mask` is given
 * factors       f32 [columns], or [rows, columns] with factorStride = columns; 0 for factors of 1
 * factorStride  values between the factors of one row and the next; 0: all rows share them
 * span          divides the columns
 * mask          0, or where u8 [rows, columns] is written, 1 for what stays; then `values` are not changed
 * sums          0, or where f64 [rows, 3] is written: the sum of squared scores before and after, how many weights of
 *               `values` are zero in the end
 * scratch       selectScratchBytes(columns) bytes
 *
 * Returns -1, or the first row with a score that is not finite; rows before it are done.
 */
export function pruneRows(
  values: usize,
  dtype: i32,
  rows: i32,
  columns: i32,
  factors: usize,
  factorStride: i32,
  pruned: i32,
  span: i32,
  mask: usize,
  sums: usize,
  scratch: usize,
): i32 {
  const keys = scratch;
  const candidates = scratch + keyBytes(columns);
  const histogram = candidates + keyBytes(columns);
  const rowBytes = <usize>columns << (dtype === 0 ? 2 : 1);
  let threshold: u32 = 0;
  for (let row = 0; row < rows; row++) {
    const at = values + <usize>row * rowBytes;
    const factorAt = factors === 0 ? 0 : factors + ((<usize>row * <usize>factorStride) << 2);
    if (!keysOf(at, dtype, columns, factorAt, 1, keys)) return row;
    const maskAt = mask === 0 ? 0 : mask + <usize>row * <usize>columns;
    const sumsAt = sums === 0 ? 0 : sums + <usize>row * 24;
    if (sumsAt !== 0) store<f64>(sumsAt, sumOfSquares(keys, columns));
    const scores = sumsAt === 0 ? 0 : keys;
    if (span === columns) {
      threshold = rankedKey(keys, columns, pruned, threshold, candidates, histogram);
      const ties = pruned - countBelow(keys, columns, threshold);
      takeBelow(at, dtype, columns, keys, threshold, ties, maskAt, scores);
    } else {
      // Ranks are 0 for what goes and 1 for what stays: a threshold of 1 takes them out.
      for (let from = 0; from < columns; from += span) {
        rankRun(keys + (<usize>from << 2), span, pruned, candidates + (<usize>from << 2));
      }
      takeBelow(at, dtype, columns, candidates, 1, 0, maskAt, scores);
    }
    if (sumsAt !== 0) finishSums(sumsAt, keys, at, dtype, columns);
  }
  return -1;
}

/** What is left of a row: the sum of its squared scores, and how many of its weights are zero. */
// @ts-ignore: decorator
@inline
function finishSums(sums: usize, keys: usize, values: usize, dtype: i32, columns: i32): void {
  store<f64>(sums, sumOfSquares(keys, columns), 8);
  store<f64>(sums, <f64>zerosOf(values, dtype, columns), 16);
}

/**
 * Counts keys by their upper bits, or those under one upper half by their lower bits.
 *
 * values, dtype, factors  as `pruneRows`; with `perColumn` 0 a row has one factor
 * factorStride            values between the factors of one row and the next
 * upper     -1: histogram[key >> 16] counts all keys; otherwise histogram[key & 65535] counts those with key >> 16 = upper
 * histogram u32 [65536], overwritten
 * scratch   selectScratchBytes(columns) bytes
 *
 * Returns -1, or the first row with a score that is not finite.
 */
export function countKeys(
  values: usize,
  dtype: i32,
  rows: i32,
  columns: i32,
  factors: usize,
  factorStride: i32,
  perColumn: i32,
  upper: i32,
  histogram: usize,
  scratch: usize,
): i32 {
  memory.fill(histogram, 0, COUNT_BINS << 2);
  const rowBytes = <usize>columns << (dtype === 0 ? 2 : 1);
  for (let row = 0; row < rows; row++) {
    const factorAt = factors === 0 ? 0 : factors + ((<usize>row * <usize>factorStride) << 2);
    if (!keysOf(values + <usize>row * rowBytes, dtype, columns, factorAt, perColumn, scratch)) return row;
    for (let i: usize = 0; i < <usize>columns; i++) {
      const key = load<u32>(scratch + (i << 2));
      if (upper < 0) increment(histogram, key >> 16);
      else if (key >> 16 === <u32>upper) increment(histogram, key & 0xffff);
    }
  }
  return -1;
}

/**
 * Takes out the weights with a key below `threshold`, and the first `ties` of those with exactly this key, in the order of
 * rows. Arguments as `pruneRows` and `countKeys`; `threshold` is a key below that of infinity.
 *
 * Returns how many went.
 */
export function pruneBelow(
  values: usize,
  dtype: i32,
  rows: i32,
  columns: i32,
  factors: usize,
  factorStride: i32,
  perColumn: i32,
  threshold: u32,
  ties: i32,
  mask: usize,
  sums: usize,
  scratch: usize,
): i32 {
  const rowBytes = <usize>columns << (dtype === 0 ? 2 : 1);
  let gone = 0;
  let left = ties;
  for (let row = 0; row < rows; row++) {
    const at = values + <usize>row * rowBytes;
    const factorAt = factors === 0 ? 0 : factors + ((<usize>row * <usize>factorStride) << 2);
    keysOf(at, dtype, columns, factorAt, perColumn, scratch);
    const before = left;
    gone += countBelow(scratch, columns, threshold);
    const maskAt = mask === 0 ? 0 : mask + <usize>row * <usize>columns;
    const sumsAt = sums === 0 ? 0 : sums + <usize>row * 24;
    if (sumsAt !== 0) store<f64>(sumsAt, sumOfSquares(scratch, columns));
    left = takeBelow(at, dtype, columns, scratch, threshold, left, maskAt, sumsAt === 0 ? 0 : scratch);
    gone += before - left;
    if (sumsAt !== 0) finishSums(sumsAt, scratch, at, dtype, columns);
  }
  return gone;
}

/** The sum of squared scores, in f64. */
function sumOfSquares(keys: usize, columns: i32): f64 {
  let low = f64x2.splat(0);
  let high = f64x2.splat(0);
  let i = 0;
  for (; i <= columns - 4; i += 4) {
    const key = v128.load(keys + (<usize>i << 2));
    const a = f64x2.promote_low_f32x4(key);
    const b = f64x2.promote_low_f32x4(i32x4.shuffle(key, key, 2, 3, 2, 3));
    low = f64x2.add(low, f64x2.mul(a, a));
    high = f64x2.add(high, f64x2.mul(b, b));
  }
  const both = f64x2.add(low, high);
  let sum = f64x2.extract_lane(both, 0) + f64x2.extract_lane(both, 1);
  for (; i < columns; i++) {
    const score = <f64>load<f32>(keys + (<usize>i << 2));
    sum += score * score;
  }
  return sum;
}

/** Weights that are zero. (A score can be zero where the weight is not.) */
function zerosOf(values: usize, dtype: i32, columns: i32): i32 {
  const none = i32x4.splat(0);
  let zeros = 0;
  let i = 0;
  if (dtype === 0) {
    const magnitude = i32x4.splat(0x7fffffff);
    for (; i <= columns - 4; i += 4) {
      const bits = v128.and(v128.load(values + (<usize>i << 2)), magnitude);
      zeros += popcnt(i32x4.bitmask(i32x4.eq(bits, none)));
    }
    for (; i < columns; i++) zeros += <i32>((load<u32>(values + (<usize>i << 2)) & 0x7fffffff) === 0);
    return zeros;
  }
  const magnitude = i16x8.splat(0x7fff);
  for (; i <= columns - 8; i += 8) {
    const bits = v128.and(v128.load(values + (<usize>i << 1)), magnitude);
    zeros += popcnt(i16x8.bitmask(i16x8.eq(bits, none)));
  }
  for (; i < columns; i++) zeros += <i32>((<u32>load<u16>(values + (<usize>i << 1)) & 0x7fff) === 0);
  return zeros;
}

// @ts-ignore: decorator
@inline
function increment(histogram: usize, bin: u32): void {
  const at = histogram + (<usize>bin << 2);
  store<u32>(at, load<u32>(at) + 1);
}

/** Writes the keys of a row, padded to a multiple of four with the largest key; false where one is not finite. */
function keysOf(values: usize, dtype: i32, columns: i32, factors: usize, perColumn: i32, keys: usize): bool {
  if (dtype === 0) memory.copy(keys, values, <usize>columns << 2);
  else if (dtype === 1) f16ToF32(values, keys, columns);
  else bf16ToF32(values, keys, columns);
  const magnitude = i32x4.splat(0x7fffffff);
  const one = f32x4.splat(factors !== 0 && perColumn === 0 ? load<f32>(factors) : 1);
  const read = factors !== 0 && perColumn !== 0;
  let largest = i32x4.splat(0);
  const whole = columns & ~3;
  for (let i = 0; i < whole; i += 4) {
    const at = keys + (<usize>i << 2);
    const factor = read ? v128.load(factors + (<usize>i << 2)) : one;
    const key = v128.and(f32x4.mul(v128.load(at), factor), magnitude);
    largest = i32x4.max_s(largest, key);
    v128.store(at, key);
  }
  for (let i = whole; i < columns; i++) {
    const at = keys + (<usize>i << 2);
    const factor = read ? load<f32>(factors + (<usize>i << 2)) : f32x4.extract_lane(one, 0);
    const key = reinterpret<u32>(load<f32>(at) * factor) & 0x7fffffff;
    largest = i32x4.max_s(largest, i32x4.splat(<i32>key));
    store<u32>(at, key);
  }
  for (let i = columns; (i & 3) !== 0; i++) store<u32>(keys + (<usize>i << 2), 0x7fffffff);
  return !v128.any_true(i32x4.ge_s(largest, i32x4.splat(<i32>NOT_FINITE)));
}


/**
 * The key with `rank` keys before it in order: the first one that stays. It is looked for around `guess` (0 for none), where
 * that of the row before was; where it is not, a histogram of the upper 11 bits finds its bin. Among the few keys there it
 * is found bit by bit.
 */
function rankedKey(keys: usize, columns: i32, rank: i32, guess: u32, candidates: usize, histogram: usize): u32 {
  if (rank <= 0) return 0;
  if (rank >= columns) return 0x7fffffff;
  const width: u32 = 1 << WINDOW_BITS;
  if (guess >= width && guess < NOT_FINITE - width) {
    const low = guess - width;
    const found = collect(keys, columns, low, guess + width, candidates, histogram);
    const before = load<i32>(histogram);
    if (before <= rank && rank < before + found) return lastKey(candidates, found, rank - before, low, WINDOW_BITS + 1);
  }
  memory.fill(histogram, 0, 2 * BINS * 4);
  const second = histogram + BINS * 4;
  let i: usize = 0;
  const end = <usize>columns << 2;
  // Two histograms in turn: neighbours often fall into the same bin and would wait for one another.
  for (; i + 8 <= end; i += 8) {
    increment(histogram, load<u32>(keys + i) >> LOW_BITS);
    increment(second, load<u32>(keys + i, 4) >> LOW_BITS);
  }
  if (i < end) increment(histogram, load<u32>(keys + i) >> LOW_BITS);
  let bin: usize = 0;
  let before = 0;
  for (;;) {
    const count = <i32>(load<u32>(histogram + (bin << 2)) + load<u32>(second + (bin << 2)));
    if (before + count > rank) break;
    before += count;
    bin++;
  }
  const low = <u32>bin << LOW_BITS;
  const found = collect(keys, columns, low, low + (1 << LOW_BITS), candidates, histogram);
  return lastKey(candidates, found, rank - before, low, LOW_BITS);
}

/**
 * Gathers the keys from `low` to below `high` in order, and pads them to a multiple of four; returns how many there are.
 * How many are below `low` is written to `below`, i32.
 */
function collect(keys: usize, columns: i32, low: u32, high: u32, target: usize, below: usize): i32 {
  const lowest = i32x4.splat(<i32>low);
  const limit = i32x4.splat(<i32>high);
  let before = i32x4.splat(0);
  let end = target;
  for (let i = 0; i < columns; i += 4) {
    const key = v128.load(keys + (<usize>i << 2));
    const under = i32x4.lt_s(key, lowest);
    before = i32x4.sub(before, under);
    const taken = i32x4.bitmask(v128.andnot(i32x4.lt_s(key, limit), under));
    v128.store(end, i8x16.swizzle(key, v128.load(GATHER + (<usize>taken << 4))));
    end += <usize>popcnt(taken) << 2;
  }
  for (let pad: usize = 0; pad < 12; pad += 4) store<u32>(end + pad, 0x7fffffff);
  store<i32>(below, sumOfLanes(before));
  return <i32>((end - target) >> 2);
}

/** The largest key from `low` on, in so many bits, of which no more than `rank` candidates are smaller: the one with this rank. */
// @ts-ignore: decorator
@inline
function lastKey(candidates: usize, count: i32, rank: i32, low: u32, bits: u32): u32 {
  let above: u32 = 0;
  for (let bit: i32 = <i32>bits - 1; bit >= 0; bit--) {
    const middle = above | (<u32>1 << bit);
    if (countBelow(candidates, count, low + middle) <= rank) above = middle;
  }
  return low + above;
}

/** Keys below a threshold. Keys are padded to a multiple of four with keys that are never below. */
function countBelow(keys: usize, count: i32, threshold: u32): i32 {
  const limit = i32x4.splat(<i32>threshold);
  let total = i32x4.splat(0);
  for (let i = 0; i < count; i += 4) {
    total = i32x4.sub(total, i32x4.lt_s(v128.load(keys + (<usize>i << 2)), limit));
  }
  return sumOfLanes(total);
}

// @ts-ignore: decorator
@inline
function sumOfLanes(v: v128): i32 {
  const pairs = i32x4.add(v, i32x4.shuffle(v, v, 2, 3, 0, 1));
  return i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1);
}

/** Writes ranks for the keys of a run: 0 for the `pruned` smallest, the earlier of equals, and 1 for the others. */
function rankRun(keys: usize, span: i32, pruned: i32, ranks: usize): void {
  if ((span & 3) === 0) {
    rankVectors(keys, span, pruned, ranks);
    return;
  }
  for (let i = 0; i < span; i++) {
    const key = load<u32>(keys + (<usize>i << 2));
    let smaller = 0;
    for (let j = 0; j < i; j++) smaller += <i32>(load<u32>(keys + (<usize>j << 2)) <= key);
    for (let j = i + 1; j < span; j++) smaller += <i32>(load<u32>(keys + (<usize>j << 2)) < key);
    store<u32>(ranks + (<usize>i << 2), <u32>(smaller >= pruned));
  }
}

/** `rankRun` for runs of a multiple of four columns, four ranks at a time. */
function rankVectors(keys: usize, span: i32, pruned: i32, ranks: usize): void {
  const limit = i32x4.splat(pruned);
  const one = i32x4.splat(1);
  for (let i = 0; i < span; i += 4) {
    const own = v128.load(keys + (<usize>i << 2));
    let rank = i32x4.splat(0);
    for (let j = 0; j < i; j++) {
      rank = i32x4.sub(rank, i32x4.le_s(v128.load32_splat(keys + (<usize>j << 2)), own));
    }
    const a = i32x4.shuffle(own, own, 0, 0, 0, 0);
    const b = i32x4.shuffle(own, own, 1, 1, 1, 1);
    const c = i32x4.shuffle(own, own, 2, 2, 2, 2);
    const d = i32x4.shuffle(own, own, 3, 3, 3, 3);
    // An earlier one counts when it is equal too: `equal` keeps the lanes behind it.
    rank = i32x4.sub(rank, v128.or(i32x4.lt_s(a, own), v128.and(i32x4.eq(a, own), i32x4(0, -1, -1, -1))));
    rank = i32x4.sub(rank, v128.or(i32x4.lt_s(b, own), v128.and(i32x4.eq(b, own), i32x4(0, 0, -1, -1))));
    rank = i32x4.sub(rank, v128.or(i32x4.lt_s(c, own), v128.and(i32x4.eq(c, own), i32x4(0, 0, 0, -1))));
    rank = i32x4.sub(rank, i32x4.lt_s(d, own));
    for (let j = i + 4; j < span; j++) {
      rank = i32x4.sub(rank, i32x4.lt_s(v128.load32_splat(keys + (<usize>j << 2)), own));
    }
    v128.store(ranks + (<usize>i << 2), v128.and(i32x4.ge_s(rank, limit), one));
  }
}

/**
 * Takes keys below `threshold` and the first `ties` equal to it out of a row; the ties that are left over. `scores`: 0, or f32
 * [columns] of which those that go become 0: the keys themselves or others.
 */
function takeBelow(
  values: usize,
  dtype: i32,
  columns: i32,
  keys: usize,
  threshold: u32,
  ties: i32,
  mask: usize,
  scores: usize,
): i32 {
  const limit = i32x4.splat(<i32>threshold);
  let left = ties;
  const step = 8;
  let i = 0;
  for (; i <= columns - step; i += step) {
    const at = keys + (<usize>i << 2);
    const a = v128.load(at);
    const b = v128.load(at, 16);
    if (left > 0 && v128.any_true(v128.or(i32x4.eq(a, limit), i32x4.eq(b, limit)))) {
      left = takeSome(values, dtype, i, i + step, keys, threshold, left, mask, scores);
      continue;
    }
    const keepA = i32x4.ge_s(a, limit);
    const keepB = i32x4.ge_s(b, limit);
    if (mask !== 0) {
      const words = i16x8.narrow_i32x4_s(keepA, keepB);
      v128.store64_lane(mask + <usize>i, v128.and(i8x16.narrow_i16x8_s(words, words), i8x16.splat(1)), 0);
    } else if (dtype === 0) {
      const target = values + (<usize>i << 2);
      v128.store(target, v128.and(v128.load(target), keepA));
      v128.store(target, v128.and(v128.load(target, 16), keepB), 16);
    } else {
      const target = values + (<usize>i << 1);
      v128.store(target, v128.and(v128.load(target), i16x8.narrow_i32x4_s(keepA, keepB)));
    }
    if (scores !== 0) {
      const score = scores + (<usize>i << 2);
      v128.store(score, v128.and(v128.load(score), keepA));
      v128.store(score, v128.and(v128.load(score, 16), keepB), 16);
    }
  }
  return takeSome(values, dtype, i, columns, keys, threshold, left, mask, scores);
}

/** `takeBelow` for columns `from` to `to`, one at a time. */
function takeSome(
  values: usize,
  dtype: i32,
  from: i32,
  to: i32,
  keys: usize,
  threshold: u32,
  ties: i32,
  mask: usize,
  scores: usize,
): i32 {
  let left = ties;
  for (let i = from; i < to; i++) {
    const key = load<u32>(keys + (<usize>i << 2));
    let keep = key >= threshold;
    if (key === threshold && left > 0) {
      keep = false;
      left--;
    }
    if (mask !== 0) store<u8>(mask + <usize>i, keep ? 1 : 0);
    else if (!keep && dtype === 0) store<u32>(values + (<usize>i << 2), 0);
    else if (!keep) store<u16>(values + (<usize>i << 1), 0);
    if (scores !== 0 && !keep) store<f32>(scores + (<usize>i << 2), 0);
  }
  return left;
}
