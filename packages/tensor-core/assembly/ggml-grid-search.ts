// The best of the grid's vectors around a point that is not on the grid. The table (@pith/quant src/ggml/grid-bytes.ts) has an entry for
// every word of digits, and lists of vectors, four in a group: four candidates are weighed at a time, one a lane, so that each error is
// summed in ggml's order. Digit q stands for 2 q + 1.

/** A vector's entry is its index with the highest bit set; that of another point says where its list is. */
// @ts-ignore: decorator
@inline
export function gridEntry(table: usize, word: i32): i32 {
  return load<i32>(table + ((<usize>word) << 2));
}

/** The index of a vector. */
// @ts-ignore: decorator
@inline
export function gridIndex(table: usize, word: i32): i32 {
  return gridEntry(table, word) & 0x7fffffff;
}

/** Bytes that bring a lane to the front, for the lane of the least error: of the lowest candidate where there are several. No branches. */
// @ts-ignore: decorator
@inline
function toFront(least: v128, groups: v128): v128 {
  let error = f32x4.pmin(least, v128.shuffle<i32>(least, least, 2, 3, 0, 1));
  error = f32x4.pmin(error, v128.shuffle<i32>(error, error, 1, 0, 3, 2));
  const tied = v128.bitselect(groups, i32x4.splat(0x7fffffff), f32x4.eq(least, error));
  let group = i32x4.min_s(tied, v128.shuffle<i32>(tied, tied, 2, 3, 0, 1));
  group = i32x4.min_s(group, v128.shuffle<i32>(group, group, 1, 0, 3, 2));
  const lane = ctz(i32x4.bitmask(i32x4.eq(tied, group)));
  return i32x4.splat(lane * 0x04040404 + 0x03020100);
}

/** The largest f32: no error is less where none is a number. */
const MOST: f32 = 3.4028234663852886e38;

// @ts-ignore: decorator
@inline
function term(q: v128, scale: v128, x: v128, w: v128): v128 {
  const d = f32x4.sub(f32x4.mul(scale, f32x4.convert_i32x4_s(q)), x);
  return f32x4.mul(f32x4.mul(w, d), d);
}

/** The word of the best vector of four digits of 3 bits, for four values at `x`, weights at `w`, and a point's entry. */
export function bestOf4(table: usize, entry: i32, x: usize, w: usize, scale: f32): i32 {
  const groups = entry & 255;
  let at = table + ((<usize>(entry >>> 8)) << 4);
  const x0 = v128.load32_splat(x);
  const x1 = v128.load32_splat(x, 4);
  const x2 = v128.load32_splat(x, 8);
  const x3 = v128.load32_splat(x, 12);
  const w0 = v128.load32_splat(w);
  const w1 = v128.load32_splat(w, 4);
  const w2 = v128.load32_splat(w, 8);
  const w3 = v128.load32_splat(w, 12);
  const s = f32x4.splat(scale);
  const low = i32x4.splat(255);
  let least = f32x4.splat(MOST);
  let best = v128.load(at);
  let found = i32x4.splat(0);
  for (let g = 0; g < groups; g++) {
    const v = v128.load(at);
    let sum = term(v128.and(v, low), s, x0, w0);
    sum = f32x4.add(sum, term(v128.and(i32x4.shr_u(v, 8), low), s, x1, w1));
    sum = f32x4.add(sum, term(v128.and(i32x4.shr_u(v, 16), low), s, x2, w2));
    sum = f32x4.add(sum, term(i32x4.shr_u(v, 24), s, x3, w3));
    const better = f32x4.lt(sum, least);
    least = v128.bitselect(sum, least, better);
    best = v128.bitselect(v, best, better);
    found = v128.bitselect(i32x4.splat(g), found, better);
    at += 16;
  }
  const odd = i32x4.extract_lane(i8x16.swizzle(best, toFront(least, found)), 0);
  return ((odd >> 1) & 7) | ((odd >> 6) & 0x38) | ((odd >> 11) & 0x1c0) | ((odd >> 16) & 0xe00);
}

/** Errors of the value at `x` for what digits 0, 1, 2 stand for. */
// @ts-ignore: decorator
@inline
function terms(levels: v128, x: usize, w: usize): v128 {
  const d = f32x4.sub(levels, v128.load32_splat(x));
  return f32x4.mul(f32x4.mul(v128.load32_splat(w), d), d);
}

/** Those of them that the digits of four candidates choose; each digit fills its lane four times over, times 4. */
// @ts-ignore: decorator
@inline
function chosen(table: v128, digits: v128): v128 {
  return i8x16.swizzle(table, i8x16.add(digits, i8x16(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3)));
}

// @ts-ignore: decorator
@inline
function digits0(v: v128): v128 {
  return i8x16.shuffle(v, v, 0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
}

// @ts-ignore: decorator
@inline
function digits1(v: v128): v128 {
  return i8x16.shuffle(v, v, 1, 1, 1, 1, 5, 5, 5, 5, 9, 9, 9, 9, 13, 13, 13, 13);
}

// @ts-ignore: decorator
@inline
function digits2(v: v128): v128 {
  return i8x16.shuffle(v, v, 2, 2, 2, 2, 6, 6, 6, 6, 10, 10, 10, 10, 14, 14, 14, 14);
}

// @ts-ignore: decorator
@inline
function digits3(v: v128): v128 {
  return i8x16.shuffle(v, v, 3, 3, 3, 3, 7, 7, 7, 7, 11, 11, 11, 11, 15, 15, 15, 15);
}

/** Four digits of 2 bits out of bytes that hold them times 4. */
// @ts-ignore: decorator
@inline
function packed(bytes: i32): i32 {
  return ((bytes >> 2) & 3) | ((bytes >> 8) & 0xc) | ((bytes >> 14) & 0x30) | ((bytes >> 20) & 0xc0);
}

/**
 * The word of the best vector of eight digits of 2 bits, for eight values at `x`, weights at `w`, and a point's entry; `levels` has what digits
 * 0, 1 and 2 stand for.
 */
export function bestOf8(table: usize, entry: i32, x: usize, w: usize, levels: v128): i32 {
  const groups = entry & 255;
  let at = table + ((<usize>(entry >>> 8)) << 4);
  const t0 = terms(levels, x, w);
  const t1 = terms(levels, x + 4, w + 4);
  const t2 = terms(levels, x + 8, w + 8);
  const t3 = terms(levels, x + 12, w + 12);
  const t4 = terms(levels, x + 16, w + 16);
  const t5 = terms(levels, x + 20, w + 20);
  const t6 = terms(levels, x + 24, w + 24);
  const t7 = terms(levels, x + 28, w + 28);
  let least = f32x4.splat(MOST);
  let bestLow = v128.load(at);
  let bestHigh = v128.load(at, 16);
  let found = i32x4.splat(0);
  for (let g = 0; g < groups; g++) {
    const low = v128.load(at);
    let sum = f32x4.add(chosen(t0, digits0(low)), chosen(t1, digits1(low)));
    sum = f32x4.add(sum, chosen(t2, digits2(low)));
    sum = f32x4.add(sum, chosen(t3, digits3(low)));
    // Errors only grow.
    if (v128.any_true(f32x4.lt(sum, least))) {
      const high = v128.load(at, 16);
      sum = f32x4.add(sum, chosen(t4, digits0(high)));
      sum = f32x4.add(sum, chosen(t5, digits1(high)));
      sum = f32x4.add(sum, chosen(t6, digits2(high)));
      sum = f32x4.add(sum, chosen(t7, digits3(high)));
      const better = f32x4.lt(sum, least);
      least = v128.bitselect(sum, least, better);
      bestLow = v128.bitselect(low, bestLow, better);
      bestHigh = v128.bitselect(high, bestHigh, better);
      found = v128.bitselect(i32x4.splat(g), found, better);
    }
    at += 32;
  }
  const front = toFront(least, found);
  const low = i32x4.extract_lane(i8x16.swizzle(bestLow, front), 0);
  return packed(low) | (packed(i32x4.extract_lane(i8x16.swizzle(bestHigh, front), 0)) << 8);
}
