// One scale and vectors of a grid for four sub-blocks at a time, one a lane. The specification is @pith/quant src/ggml/fit-grid.ts; results
// are equal bit for bit. Vectors have four digits of 3 bits (`four`) or eight of 2 bits; digit q stands for 2 q + 1.
import { fitPositiveLanes } from './ggml-fit-positive';
import { bestOf4, bestOf8, gridEntry } from './ggml-grid-search';
import { FIT, GRID_TRIED, GRID_WORDS, LANES_P, LANES_W, LANES_X, MAGNITUDES, ROOTS } from './ggml-scratch';

/** Marks a word that is not the rounded point itself but was moved to the grid. */
const MOVED: i32 = 0x10000;

/** Which vectors are chosen again for the scale that was found. */
export const AGAIN_MOVED: i32 = 0;
export const AGAIN_ALL_OF_MOVED: i32 = 1;
export const AGAIN_ALL: i32 = 2;

// What a fit leaves at FIT: vectors, one lane for each sub-block. Words are left at GRID_WORDS.
/** Never negative; 0 for zeros. */
export const GRID_SCALE: usize = FIT;
/** All bits of a lane whose signs have to change. */
export const GRID_FLIPPED: usize = FIT + 16;
/** All bits of a lane whose values count as zeros: it has neither vectors nor signs. */
export const GRID_ZERO: usize = FIT + 32;

/** 2^23 and more is added to all digits of a word while it is made: what that comes to. */
// @ts-ignore: decorator
@inline
function excess(four: bool): i32 {
  return four ? 585 << 22 : 21845 << 22;
}

/** The vector that a lane's point is moved to. */
// @ts-ignore: decorator
@inline
function moveToGrid(four: bool, table: usize, entry: i32, values: usize, scale: f32): i32 {
  const roots = values + (ROOTS - MAGNITUDES);
  if (four) return bestOf4(table, entry, values, roots, scale) | MOVED;
  return bestOf8(table, entry, values, roots, f32x4.mul(f32x4.splat(scale), f32x4(1, 3, 5, 7))) | MOVED;
}

/**
 * Words of vector `k` of each lane: the nearest points, moved to the grid for `scale` where `need` has bits. `own` is where the values of the
 * four sub-blocks begin in MAGNITUDES.
 */
// @ts-ignore: decorator
@inline
function placeLanes(
  four: bool,
  table: usize,
  k: usize,
  inverse: v128,
  scale: v128,
  need: v128,
  own: usize,
  size: usize,
  s: usize,
): v128 {
  const length: usize = four ? 4 : 8;
  const bits = four ? 3 : 2;
  const lowest = i32x4.splat(0x400000);
  const highest = i32x4.splat(four ? 0x400007 : 0x400002);
  const at = s + LANES_X + ((k * length) << 4);
  let word = i32x4.splat(0);
  // Half of t is rounded: ggml's 1.5 * 2^23 is doubled instead, which leaves the same bits.
  for (let i: usize = 0; i < length; i++) {
    const t = f32x4.sub(f32x4.mul(inverse, v128.load(at + (i << 4))), f32x4.splat(1));
    const rounded = v128.and(f32x4.add(t, f32x4.splat(25165824)), i32x4.splat(0x7fffff));
    const digit = i32x4.max_s(i32x4.min_s(rounded, highest), lowest);
    word = i32x4.add(word, i32x4.shl(digit, bits * <i32>i));
  }
  word = i32x4.sub(word, i32x4.splat(excess(four)));
  const e0 = gridEntry(table, i32x4.extract_lane(word, 0));
  const e1 = gridEntry(table, i32x4.extract_lane(word, 1));
  const e2 = gridEntry(table, i32x4.extract_lane(word, 2));
  const e3 = gridEntry(table, i32x4.extract_lane(word, 3));
  if ((e0 & e1 & e2 & e3) < 0) return word;
  const values = s + MAGNITUDES + own + ((k * length) << 2);
  if (e0 >= 0 && i32x4.extract_lane(need, 0)) {
    word = i32x4.replace_lane(word, 0, moveToGrid(four, table, e0, values, f32x4.extract_lane(scale, 0)));
  }
  if (e1 >= 0 && i32x4.extract_lane(need, 1)) {
    const moved = moveToGrid(four, table, e1, values + size * 4, f32x4.extract_lane(scale, 1));
    word = i32x4.replace_lane(word, 1, moved);
  }
  if (e2 >= 0 && i32x4.extract_lane(need, 2)) {
    const moved = moveToGrid(four, table, e2, values + size * 8, f32x4.extract_lane(scale, 2));
    word = i32x4.replace_lane(word, 2, moved);
  }
  if (e3 >= 0 && i32x4.extract_lane(need, 3)) {
    const moved = moveToGrid(four, table, e3, values + size * 12, f32x4.extract_lane(scale, 3));
    word = i32x4.replace_lane(word, 3, moved);
  }
  return word;
}

/** What digit `i` of words stands for. */
// @ts-ignore: decorator
@inline
function codeAt(four: bool, word: v128, i: usize): v128 {
  const digit = v128.and(i32x4.shr_u(word, (four ? 3 : 2) * <i32>i), i32x4.splat(four ? 7 : 3));
  return f32x4.convert_i32x4_s(i32x4.add(i32x4.add(digit, digit), i32x4.splat(1)));
}

/** Fits four sub-blocks of `size` values at LANES_X with weights at LANES_W, transposed. */
// @ts-ignore: decorator
@inline
function fitGrid(
  four: bool,
  table: usize,
  own: usize,
  size: usize,
  least: f32,
  tries: i32,
  step: f32,
  fitted: bool,
  again: i32,
  s: usize,
): void {
  const none = f32x4.splat(0);
  const length: usize = four ? 4 : 8;
  const vectors: usize = size / length;
  const most: f32 = four ? 15 : 5;
  const x = s + LANES_X;
  const end = x + (size << 4);
  let largest = v128.load(x);
  for (let at = x; at < end; at += 16) {
    const a = v128.load(at);
    largest = f32x4.pmax(largest, a);
    v128.store(at, f32x4.mul(v128.load(at, LANES_W - LANES_X), a), LANES_P - LANES_X);
  }
  let zero = f32x4.lt(largest, f32x4.splat(least));
  let range = largest;
  let scale = f32x4.div(largest, f32x4.splat(most));
  if (fitted) {
    scale = fitPositiveLanes(four ? 9 : 4, x, <i32>size);
    range = f32x4.mul(scale, f32x4.splat(four ? 8 : 3));
    zero = v128.or(zero, f32x4.le(range, none));
  }
  v128.store(s, zero, GRID_ZERO);
  const untouched = i32x4.splat(again == AGAIN_MOVED ? 0 : MOVED);
  for (let k: usize = 0; k < vectors; k++) v128.store(s + (k << 4), untouched, GRID_WORDS);
  if (v128.all_true<i32>(zero)) {
    v128.store(s, none, GRID_SCALE);
    v128.store(s, none, GRID_FLIPPED);
    return;
  }
  const live = v128.not(zero);
  let best = none;
  for (let is = -tries; is <= tries; is++) {
    const numerator: f32 = most + <f32>is * step;
    const inverse = f32x4.div(f32x4.splat(numerator), range);
    const tried = f32x4.div(f32x4.splat(1), inverse);
    let wxq = none;
    let wqq = none;
    for (let k: usize = 0; k < vectors; k++) {
      const word = placeLanes(four, table, k, inverse, tried, live, own, size, s);
      v128.store(s + (k << 4), word, GRID_TRIED);
      const values = x + ((k * length) << 4);
      for (let i: usize = 0; i < length; i++) {
        const value = values + (i << 4);
        const q = codeAt(four, word, i);
        wxq = f32x4.add(wxq, f32x4.mul(v128.load(value, LANES_P - LANES_X), q));
        wqq = f32x4.add(wqq, f32x4.mul(f32x4.mul(v128.load(value, LANES_W - LANES_X), q), q));
      }
    }
    const better = v128.and(f32x4.gt(wqq, none), f32x4.gt(f32x4.mul(wxq, wxq), f32x4.mul(best, wqq)));
    if (!v128.any_true(better)) continue;
    const found = f32x4.div(wxq, wqq);
    scale = v128.bitselect(found, scale, better);
    best = v128.bitselect(f32x4.mul(found, wxq), best, better);
    for (let k: usize = 0; k < vectors; k++) {
      const at = s + (k << 4);
      v128.store(at, v128.bitselect(v128.load(at, GRID_TRIED), v128.load(at, GRID_WORDS), better), GRID_WORDS);
    }
  }
  let redo = f32x4.gt(scale, none);
  if (again != AGAIN_ALL) {
    let moved = none;
    for (let k: usize = 0; k < vectors; k++) moved = v128.or(moved, v128.load(s + (k << 4), GRID_WORDS));
    redo = v128.and(redo, i32x4.ge_u(moved, i32x4.splat(MOVED)));
  }
  redo = v128.and(redo, live);
  if (v128.any_true(redo)) {
    const inverse = f32x4.div(f32x4.splat(1), scale);
    let wxq = none;
    let wqq = none;
    for (let k: usize = 0; k < vectors; k++) {
      const at = s + (k << 4);
      const old = v128.load(at, GRID_WORDS);
      let need = redo;
      if (again == AGAIN_MOVED) need = v128.and(need, i32x4.ge_u(old, i32x4.splat(MOVED)));
      let word = old;
      if (v128.any_true(need)) {
        word = v128.bitselect(placeLanes(four, table, k, inverse, scale, need, own, size, s), old, need);
        v128.store(at, word, GRID_WORDS);
      }
      const values = x + ((k * length) << 4);
      for (let i: usize = 0; i < length; i++) {
        const value = values + (i << 4);
        const q = codeAt(four, word, i);
        wxq = f32x4.add(wxq, f32x4.mul(v128.load(value, LANES_P - LANES_X), q));
        wqq = f32x4.add(wqq, f32x4.mul(f32x4.mul(v128.load(value, LANES_W - LANES_X), q), q));
      }
    }
    scale = v128.bitselect(f32x4.div(wxq, wqq), scale, v128.and(redo, f32x4.gt(wqq, none)));
  }
  v128.store(s, f32x4.lt(scale, none), GRID_FLIPPED);
  v128.store(s, v128.andnot(f32x4.abs(scale), zero), GRID_SCALE);
}

/** {@link fitGrid} of four sub-blocks of 32 values, vectors of four. */
export function fitGrid4(table: usize, own: usize, least: f32, tries: i32, again: i32, s: usize): void {
  fitGrid(true, table, own, 32, least, tries, 0.2, false, again, s);
}

/** {@link fitGrid} of four sub-blocks of 16 values, vectors of eight. */
export function fitGrid8(table: usize, own: usize, least: f32, s: usize): void {
  fitGrid(false, table, own, 16, least, 9, 0.1, false, AGAIN_MOVED, s);
}

/** {@link fitGrid} of four sub-blocks of 32 values, vectors of eight, around scales that were fitted first. */
export function fitGrid8Fitted(table: usize, own: usize, least: f32, s: usize): void {
  fitGrid(false, table, own, 32, least, 6, 0.1, true, AGAIN_ALL, s);
}
