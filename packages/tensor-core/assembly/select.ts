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
  scratch: usize,
): i32 {
  const keys = scratch;
  const candidates = scratch + keyBytes(columns);
  const histogram = candidates + keyBytes(columns);
  const rowBytes = <usize>columns << (dtype === 0 ? 2 : 1);
  for (let row = 0; row < rows; row++) {
    const at = values + <usize>row * rowBytes;
    const factorAt = factors === 0 ? 0 : factors + ((<usize>row * <usize>factorStride) << 2);
    if (!keysOf(at, dtype, columns, factorAt, 1, keys)) return row;
    const maskAt = mask === 0 ? 0 : mask + <usize>row * <usize>columns;
    if (span === columns) {
      const threshold = rankedKey(keys, columns, pruned, candidates, histogram);
      const ties = pruned - countBelow(keys, columns, threshold);
      takeBelow(at, dtype, columns, keys, threshold, ties, maskAt);
    } else {
      // Keys become 0 for what goes and 1 for what stays: a threshold of 1 takes them out.
      for (let from = 0; from < columns; from += span) rankRun(keys + (<usize>from << 2), span, pruned, candidates);
      takeBelow(at, dtype, columns, keys, 1, 0, maskAt);
    }
  }
  return -1;
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
 * rows. Arguments as `pruneRows` and `countKeys`; `threshold` is a key.
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
    left = takeBelow(at, dtype, columns, scratch, threshold, left, mask === 0 ? 0 : mask + <usize>row * <usize>columns);
    gone += countBelow(scratch, columns, threshold) + (before - left);
  }
  return gone;
}

/**
 * Sums of squared scores by rows, in f64: sums[row] of (|w| * factor)^2. Arguments as `countKeys`; `sums` f64 [rows].
 *
 * Returns how many weights are zero.
 */
export function sumScores(
  values: usize,
  dtype: i32,
  rows: i32,
  columns: i32,
  factors: usize,
  factorStride: i32,
  perColumn: i32,
  sums: usize,
  scratch: usize,
): i32 {
  const rowBytes = <usize>columns << (dtype === 0 ? 2 : 1);
  const magnitude = dtype === 0 ? <u32>0x7fffffff : <u32>0x7fff;
  let zeros = 0;
  for (let row = 0; row < rows; row++) {
    const at = values + <usize>row * rowBytes;
    const factorAt = factors === 0 ? 0 : factors + ((<usize>row * <usize>factorStride) << 2);
    keysOf(at, dtype, columns, factorAt, perColumn, scratch);
    let low = f64x2.splat(0);
    let high = f64x2.splat(0);
    let i = 0;
    for (; i <= columns - 4; i += 4) {
      const key = v128.load(scratch + (<usize>i << 2));
      const a = f64x2.promote_low_f32x4(key);
      const b = f64x2.promote_low_f32x4(i32x4.shuffle(key, key, 2, 3, 2, 3));
      low = f64x2.add(low, f64x2.mul(a, a));
      high = f64x2.add(high, f64x2.mul(b, b));
    }
    const both = f64x2.add(low, high);
    let sum = f64x2.extract_lane(both, 0) + f64x2.extract_lane(both, 1);
    for (; i < columns; i++) {
      const score = <f64>load<f32>(scratch + (<usize>i << 2));
      sum += score * score;
    }
    store<f64>(sums + (<usize>row << 3), sum);
    // A score can be zero where the weight is not.
    for (i = 0; i < columns; i++) {
      const bits = dtype === 0 ? load<u32>(at + (<usize>i << 2)) : <u32>load<u16>(at + (<usize>i << 1));
      zeros += <i32>((bits & magnitude) === 0);
    }
  }
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
 * The key with `rank` keys before it in order: the first one that stays. A histogram of the upper 11 bits finds its bin;
 * the lower bits are found by bisection among the keys of that bin.
 */
function rankedKey(keys: usize, columns: i32, rank: i32, candidates: usize, histogram: usize): u32 {
  if (rank <= 0) return 0;
  if (rank >= columns) return 0x7fffffff;
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
  let found = 0;
  for (i = 0; i < end; i += 4) {
    const key = load<u32>(keys + i);
    store<u32>(candidates + (<usize>found << 2), key);
    found += <i32>(key >> LOW_BITS === <u32>bin);
  }
  for (let pad = 0; pad < 3; pad++) store<u32>(candidates + (<usize>(found + pad) << 2), 0x7fffffff);
  // The largest key of which no more than `rank` keys are smaller is the one with this rank.
  const base = <u32>bin << LOW_BITS;
  let low: u32 = 0;
  for (let bit: i32 = <i32>LOW_BITS - 1; bit >= 0; bit--) {
    const middle = low | (<u32>1 << bit);
    if (before + countBelow(candidates, found, base + middle) <= rank) low = middle;
  }
  return base + low;
}

/** Keys below a threshold. Keys are padded to a multiple of four with keys that are never below. */
function countBelow(keys: usize, count: i32, threshold: u32): i32 {
  const limit = i32x4.splat(<i32>threshold);
  let total = i32x4.splat(0);
  for (let i = 0; i < count; i += 4) {
    total = i32x4.sub(total, i32x4.lt_s(v128.load(keys + (<usize>i << 2)), limit));
  }
  return (
    i32x4.extract_lane(total, 0) +
    i32x4.extract_lane(total, 1) +
    i32x4.extract_lane(total, 2) +
    i32x4.extract_lane(total, 3)
  );
}

/** Replaces the keys of a run by 0 for the `pruned` smallest, the earlier of equals, and by 1 for the others. */
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
  memory.copy(keys, ranks, <usize>span << 2);
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
  memory.copy(keys, ranks, <usize>span << 2);
}

/** Takes keys below `threshold` and the first `ties` equal to it out of a row; the ties that are left over. */
function takeBelow(
  values: usize,
  dtype: i32,
  columns: i32,
  keys: usize,
  threshold: u32,
  ties: i32,
  mask: usize,
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
      left = takeSome(values, dtype, i, i + step, keys, threshold, left, mask);
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
  }
  return takeSome(values, dtype, i, columns, keys, threshold, left, mask);
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
  }
  return left;
}
