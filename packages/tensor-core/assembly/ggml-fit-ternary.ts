// Values of four sub-blocks, one a lane, cut in three: -1, 0, 1, shifted by an eighth up or down. The specification is @pith/quant
// src/ggml/write-ternary-grid.ts; results are equal bit for bit.
import { bestOf8, gridEntry } from './ggml-grid-search';
import { CUTS, FIT, GRID_WORDS, LANES_Q, LANES_W, LANES_X, WEIGHTS } from './ggml-scratch';

// What a fit leaves at FIT: vectors, one lane for each sub-block. Words are left at GRID_WORDS, 0 for zeros.
/** 0 for zeros. */
export const TERNARY_SCALE: usize = FIT;
/** An eighth or minus one, for each eight values: four vectors. */
export const TERNARY_SHIFTS: usize = FIT + 16;
/** All bits of a lane of which a vector was moved to the grid. */
const MOVED: usize = FIT + 80;
/** Places of the best cut: i32, -1 where there is none. */
const FIRST: usize = FIT + 96;
const SECOND: usize = FIT + 112;
/** Places of values among the sorted ones: i32. */
const RANKS: usize = LANES_Q;
/** Bytes of running sums, and of products of them: up to 33 vectors. */
const STEP: usize = 544;

/** The place of each value among those of its lane: smaller ones come first, equal ones in their order. */
function rankLanes(size: usize, s: usize): void {
  const x = s + LANES_X;
  const end = x + (size << 4);
  for (let at = x; at < end; at += 16) {
    const a = v128.load(at);
    let rank = i32x4.splat(0);
    for (let other = x; other < at; other += 16) rank = i32x4.sub(rank, f32x4.le(v128.load(other), a));
    for (let other = at + 16; other < end; other += 16) rank = i32x4.sub(rank, f32x4.lt(v128.load(other), a));
    v128.store(at, rank, RANKS - LANES_X);
  }
}

/** Stores each lane of a vector at that lane's place of an array of vectors. */
// @ts-ignore: decorator
@inline
function scatter(v: v128, rank: v128, to: usize): void {
  v128.store_lane<i32>(to + ((<usize>i32x4.extract_lane(rank, 0)) << 4), v, 0);
  v128.store_lane<i32>(to + 4 + ((<usize>i32x4.extract_lane(rank, 1)) << 4), v, 1);
  v128.store_lane<i32>(to + 8 + ((<usize>i32x4.extract_lane(rank, 2)) << 4), v, 2);
  v128.store_lane<i32>(to + 12 + ((<usize>i32x4.extract_lane(rank, 3)) << 4), v, 3);
}

/** Running sums of `size` vectors behind the first, which becomes 0. */
// @ts-ignore: decorator
@inline
function addUp(at: usize, size: usize): void {
  let sum = f32x4.splat(0);
  v128.store(at, sum);
  for (let j: usize = 0; j < size; j++) {
    at += 16;
    sum = f32x4.add(sum, v128.load(at));
    v128.store(at, sum);
  }
}

/** Lanes whose values count as zeros. */
// @ts-ignore: decorator
@inline
function zeroLanes(size: usize, least: f32, s: usize): v128 {
  let most = f32x4.splat(0);
  for (let i: usize = 0; i < size; i++) most = f32x4.pmax(most, f32x4.abs(v128.load(s + (i << 4), LANES_X)));
  return f32x4.lt(most, f32x4.splat(least));
}

/** The smallest f32: no score is less. */
const LEAST: f32 = -3.4028234663852886e38;

/** No cut yet. */
// @ts-ignore: decorator
@inline
function noCut(s: usize): void {
  v128.store(s, f32x4.splat(0), TERNARY_SCALE);
  v128.store(s, i32x4.splat(-1), FIRST);
}

/** Stores lanes of a vector. */
// @ts-ignore: decorator
@inline
function storeWhere(lanes: v128, v: v128, at: usize): void {
  v128.store(at, v128.bitselect(v, v128.load(at), lanes));
}

/**
 * Keeps a cut in the lanes where it is better than the best ones, whose scores are `best`; returns the scores of those that are the best then. Shifts
 * are those of the first and of the second eight values.
 */
// @ts-ignore: decorator
@inline
function offer(wxq: v128, wqq: v128, i1: usize, i2: usize, shift0: f32, shift1: f32, best: v128, s: usize): v128 {
  const better = v128.and(f32x4.gt(wqq, f32x4.splat(0)), f32x4.gt(f32x4.mul(wxq, wxq), f32x4.mul(best, wqq)));
  if (!v128.any_true(better)) return best;
  const found = f32x4.div(wxq, wqq);
  storeWhere(better, found, s + TERNARY_SCALE);
  storeWhere(better, i32x4.splat(<i32>i1 >> 4), s + FIRST);
  storeWhere(better, i32x4.splat(<i32>i2 >> 4), s + SECOND);
  storeWhere(better, f32x4.splat(shift0), s + TERNARY_SHIFTS);
  storeWhere(better, f32x4.splat(shift1), s + TERNARY_SHIFTS + 16);
  return v128.bitselect(f32x4.mul(found, wxq), best, better);
}

/**
 * Fits four sub-blocks of 32 values at LANES_X with weights at LANES_W; all values are shifted alike. `x` are all values, `own` bytes before
 * those of the first sub-block.
 */
export function fitTernary32(x: usize, table: usize, own: usize, s: usize): void {
  const zeros = zeroLanes(32, 1e-12, s);
  rankLanes(32, s);
  const sumX = s + CUTS;
  const sumW = sumX + STEP;
  const tailXUp = sumW + STEP;
  const tailXDown = tailXUp + STEP;
  const tailWUp = tailXDown + STEP;
  const tailWDown = tailWUp + STEP;
  for (let at: usize = 0; at < 512; at += 16) {
    const w = v128.load(s + at, LANES_W);
    const rank = v128.load(s + at, RANKS);
    scatter(w, rank, sumW + 16);
    scatter(f32x4.mul(w, v128.load(s + at, LANES_X)), rank, sumX + 16);
  }
  addUp(sumX, 32);
  addUp(sumW, 32);
  const up0 = f32x4.splat(-0.875);
  const up2 = f32x4.splat(1.125);
  const eighth = f32x4.splat(0.125);
  for (let at: usize = 0; at <= 512; at += 16) {
    const wx = f32x4.sub(v128.load(sumX, 512), v128.load(sumX + at));
    const w = f32x4.sub(v128.load(sumW, 512), v128.load(sumW + at));
    v128.store(tailXUp + at, f32x4.mul(wx, up2));
    v128.store(tailXDown + at, f32x4.mul(wx, f32x4.neg(up0)));
    v128.store(tailWUp + at, f32x4.mul(f32x4.mul(w, up2), up2));
    v128.store(tailWDown + at, f32x4.mul(f32x4.mul(w, up0), up0));
  }
  let best = f32x4.splat(LEAST);
  noCut(s);
  for (let i1: usize = 0; i1 <= 512; i1 += 16) {
    const x1 = v128.load(sumX + i1);
    const w1 = v128.load(sumW + i1);
    const headXUp = f32x4.mul(x1, up0);
    const headXDown = f32x4.mul(x1, f32x4.neg(up2));
    const headWUp = f32x4.mul(f32x4.mul(w1, up0), up0);
    const headWDown = f32x4.mul(f32x4.mul(w1, up2), up2);
    for (let i2 = i1; i2 <= 512; i2 += 16) {
      const middleX = f32x4.mul(f32x4.sub(v128.load(sumX + i2), x1), eighth);
      const middleW = f32x4.mul(f32x4.mul(f32x4.sub(v128.load(sumW + i2), w1), eighth), eighth);
      const xUp = f32x4.add(f32x4.add(headXUp, middleX), v128.load(tailXUp + i2));
      const wUp = f32x4.add(f32x4.add(headWUp, middleW), v128.load(tailWUp + i2));
      best = offer(xUp, wUp, i1, i2, 0.125, 0.125, best, s);
      const xDown = f32x4.add(f32x4.sub(headXDown, middleX), v128.load(tailXDown + i2));
      const wDown = f32x4.add(f32x4.add(headWDown, middleW), v128.load(tailWDown + i2));
      best = offer(xDown, wDown, i1, i2, -0.125, -0.125, best, s);
    }
  }
  const shift = v128.load(s, TERNARY_SHIFTS);
  v128.store(s, shift, TERNARY_SHIFTS + 32);
  v128.store(s, shift, TERNARY_SHIFTS + 48);
  toGrid(x, 32, table, own, zeros, s);
}

/** As {@link fitTernary32}, four sub-blocks of 16 values; each eight values have a shift of their own. */
export function fitTernary16(x: usize, table: usize, own: usize, s: usize): void {
  const zeros = zeroLanes(16, 1e-7, s);
  rankLanes(16, s);
  const sumX0 = s + CUTS;
  const sumX1 = sumX0 + STEP;
  const sumW0 = sumX1 + STEP;
  const sumW1 = sumW0 + STEP;
  const none = f32x4.splat(0);
  for (let at: usize = 0; at < 256; at += 16) {
    const w = v128.load(s + at, LANES_W);
    const wx = f32x4.mul(w, v128.load(s + at, LANES_X));
    const rank = v128.load(s + at, RANKS);
    const lower = at < 128;
    scatter(lower ? wx : none, rank, sumX0 + 16);
    scatter(lower ? none : wx, rank, sumX1 + 16);
    scatter(lower ? w : none, rank, sumW0 + 16);
    scatter(lower ? none : w, rank, sumW1 + 16);
  }
  addUp(sumX0, 16);
  addUp(sumX1, 16);
  addUp(sumW0, 16);
  addUp(sumW1, 16);
  const up = f32x4.splat(1.125);
  const down = f32x4.splat(0.875);
  const x0 = v128.load(sumX0, 256);
  const x1 = v128.load(sumX1, 256);
  const w0 = v128.load(sumW0, 256);
  const w1 = v128.load(sumW1, 256);
  const x0Up = f32x4.mul(x0, up);
  const x0Down = f32x4.mul(x0, down);
  const x1Up = f32x4.mul(x1, up);
  const x1Down = f32x4.mul(x1, down);
  const w0Up = f32x4.mul(f32x4.mul(w0, up), up);
  const w0Down = f32x4.mul(f32x4.mul(w0, down), down);
  const w1Up = f32x4.mul(f32x4.mul(w1, up), up);
  const w1Down = f32x4.mul(f32x4.mul(w1, down), down);
  // Differences of squared levels: of the lower two, and of the upper two.
  const lowUp = f32x4.splat(0.75);
  const highUp = f32x4.splat(-1.25);
  const lowDown = f32x4.splat(1.25);
  const highDown = f32x4.splat(-0.75);
  let best = f32x4.splat(LEAST);
  noCut(s);
  for (let i1: usize = 0; i1 <= 256; i1 += 16) {
    const headX0 = v128.load(sumX0 + i1);
    const headX1 = v128.load(sumX1 + i1);
    const headW0 = v128.load(sumW0 + i1);
    const headW1 = v128.load(sumW1 + i1);
    const headW0Up = f32x4.add(w0Up, f32x4.mul(headW0, lowUp));
    const headW0Down = f32x4.add(w0Down, f32x4.mul(headW0, lowDown));
    const headW1Up = f32x4.add(w1Up, f32x4.mul(headW1, lowUp));
    const headW1Down = f32x4.add(w1Down, f32x4.mul(headW1, lowDown));
    for (let i2 = i1; i2 <= 256; i2 += 16) {
      const cut0 = f32x4.add(headX0, v128.load(sumX0 + i2));
      const cut1 = f32x4.add(headX1, v128.load(sumX1 + i2));
      const tailW0 = v128.load(sumW0 + i2);
      const tailW1 = v128.load(sumW1 + i2);
      const a = f32x4.sub(x0Up, cut0);
      const b = f32x4.sub(x0Down, cut0);
      const c = f32x4.sub(x1Up, cut1);
      const d = f32x4.sub(x1Down, cut1);
      const e = f32x4.add(headW0Up, f32x4.mul(tailW0, highUp));
      const f = f32x4.add(headW0Down, f32x4.mul(tailW0, highDown));
      const g = f32x4.add(headW1Up, f32x4.mul(tailW1, highUp));
      const h = f32x4.add(headW1Down, f32x4.mul(tailW1, highDown));
      best = offer(f32x4.add(a, c), f32x4.add(e, g), i1, i2, 0.125, 0.125, best, s);
      best = offer(f32x4.add(a, d), f32x4.add(e, h), i1, i2, 0.125, -0.125, best, s);
      best = offer(f32x4.add(b, c), f32x4.add(f, g), i1, i2, -0.125, 0.125, best, s);
      best = offer(f32x4.add(b, d), f32x4.add(f, h), i1, i2, -0.125, -0.125, best, s);
    }
  }
  toGrid(x, 16, table, own, zeros, s);
}

/** Levels of digits 0, 1, 2 with a shift. */
// @ts-ignore: decorator
@inline
function levelsOf(shift: f32): v128 {
  return f32x4.add(f32x4(-1, 0, 1, 0), f32x4.splat(shift));
}

/** Makes vectors of the best cuts, whose scales may be negative, moves them to the grid, and leaves what a fit leaves; `zeros` has lanes that count as such. */
// @ts-ignore: decorator
@inline
function toGrid(x: usize, size: usize, table: usize, own: usize, zeros: v128, s: usize): void {
  const none = f32x4.splat(0);
  const first = v128.load(s, FIRST);
  const second = v128.load(s, SECOND);
  const zero = v128.or(zeros, i32x4.lt_s(first, i32x4.splat(0)));
  const found = v128.load(s, TERNARY_SCALE);
  const negative = f32x4.lt(found, none);
  let scale = v128.andnot(f32x4.abs(found), zero);
  v128.store(s, scale, TERNARY_SCALE);
  v128.store(s, none, MOVED);
  for (let k: usize = 0; k < size >> 3; k++) {
    let word = none;
    for (let i: usize = 0; i < 8; i++) {
      const rank = v128.load(s + (((k << 3) + i) << 4), RANKS);
      const digit = i32x4.neg(i32x4.add(i32x4.ge_s(rank, first), i32x4.ge_s(rank, second)));
      const turned = v128.bitselect(i32x4.sub(i32x4.splat(2), digit), digit, negative);
      word = v128.or(word, i32x4.shl(turned, 2 * <i32>i));
    }
    word = v128.andnot(word, zero);
    v128.store(s + (k << 4), word, GRID_WORDS);
    const at = s + (k << 4);
    const shift = v128.xor(v128.load(at, TERNARY_SHIFTS), i32x4.shl(negative, 31));
    v128.store(at, v128.bitselect(f32x4.splat(0.125), shift, zero), TERNARY_SHIFTS);
    for (let lane: usize = 0; lane < 4; lane++) {
      const place = at + (lane << 2);
      const entry = gridEntry(table, load<i32>(place, GRID_WORDS));
      if (entry < 0) continue;
      const from = own + ((lane * size + (k << 3)) << 2);
      const levels = f32x4.mul(
        v128.load32_splat(s + (lane << 2), TERNARY_SCALE),
        levelsOf(load<f32>(place, TERNARY_SHIFTS)),
      );
      store<i32>(place, bestOf8(table, entry, x + from, s + WEIGHTS + from, levels), GRID_WORDS);
      store<i32>(s + (lane << 2), -1, MOVED);
    }
  }
  const moved = v128.load(s, MOVED);
  if (v128.any_true(moved)) {
    let wxq = none;
    let wqq = none;
    for (let i: usize = 0; i < size; i++) {
      const at = s + ((i >> 3) << 4);
      const digit = v128.and(i32x4.shr_u(v128.load(at, GRID_WORDS), 2 * (<i32>i & 7)), i32x4.splat(3));
      const level = f32x4.convert_i32x4_s(i32x4.sub(digit, i32x4.splat(1)));
      const q = f32x4.add(level, v128.load(at, TERNARY_SHIFTS));
      const wq = f32x4.mul(v128.load(s + (i << 4), LANES_W), q);
      wxq = f32x4.add(wxq, f32x4.mul(wq, v128.load(s + (i << 4), LANES_X)));
      wqq = f32x4.add(wqq, f32x4.mul(wq, q));
    }
    const better = v128.and(moved, v128.and(f32x4.gt(wxq, none), f32x4.gt(wqq, none)));
    scale = v128.bitselect(f32x4.div(wxq, wqq), scale, better);
  }
  v128.store(s, scale, TERNARY_SCALE);
}
