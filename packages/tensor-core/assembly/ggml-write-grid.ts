// IQ3_S, IQ3_XXS, IQ2_S, IQ2_XS and IQ2_XXS. The specification is @pith/quant src/ggml/write-grid.ts; bytes are equal. `x` is 256 values,
// `importance` the address of as many weights or 0, `table` that of the type's grid, `out` the block, `s` scratch.
import {
  AGAIN_ALL_OF_MOVED,
  AGAIN_MOVED,
  fitGrid4,
  fitGrid8,
  fitGrid8Fitted,
  GRID_FLIPPED,
  GRID_SCALE,
  GRID_ZERO,
} from './ggml-fit-grid';
import { largestScale, loadLanes, scaleCode } from './ggml-grid-scales';
import { gridIndex } from './ggml-grid-search';
import { squaresInOrder, storeHalf, weigh } from './ggml-lanes';
import { GRID_WORDS, MAGNITUDES, ROOTS, SCALES, SIGNS, WEIGHTS } from './ggml-scratch';

/** Changes the sign of the value of eight that counts least; returns its bit. */
function changeSign(x: usize, w: usize, left: usize): i32 {
  let place: usize = 0;
  let least: f32 = 0;
  for (let i: usize = 0; i < 32; i += 4) {
    const value = load<f32>(x + i);
    const loss = load<f32>(w + i) * value * value;
    if (i == 0 || loss < least) {
      least = loss;
      place = i;
    }
  }
  store<f32>(left + place, -load<f32>(left + place));
  return 1 << (<i32>place >> 2);
}

/**
 * Weights, their roots, signs and what they leave. A weight is importance sqrt(variance + x²), the variance `factor` times the mean square; without
 * importance x² and `floor` of the variance.
 */
function prepare(x: usize, importance: usize, factor: f32, floor: f32, even: bool, s: usize): void {
  const variance: f32 = (factor * squaresInOrder(x, 256)) / 256;
  if (importance) weigh(x, importance, 256, variance, s + WEIGHTS);
  const added = f32x4.splat(floor * variance);
  for (let at: usize = 0; at < 1024; at += 16) {
    const a = v128.load(x + at);
    if (!importance) v128.store(s + at, f32x4.add(added, f32x4.mul(a, a)), WEIGHTS);
    v128.store(s + at, f32x4.abs(a), MAGNITUDES);
    v128.store(s + at, f32x4.sqrt(v128.load(s + at, WEIGHTS)), ROOTS);
  }
  const none = f32x4.splat(0);
  for (let k: usize = 0; k < 32; k++) {
    const from = k << 5;
    const low = i32x4.bitmask(f32x4.lt(v128.load(x + from), none));
    let signs = low | (i32x4.bitmask(f32x4.lt(v128.load(x + from, 16), none)) << 4);
    if (even && (popcnt(signs) & 1) != 0) {
      signs ^= changeSign(x + from, s + WEIGHTS + from, s + MAGNITUDES + from);
    }
    store<u8>(s + k, signs, SIGNS);
  }
}

/** Keeps scales of four sub-blocks, and the signs of those whose best scale was negative, or that are zeros. */
// @ts-ignore: decorator
@inline
function keepFit(g: usize, octets: usize, s: usize): void {
  v128.store(s + (g << 4), v128.load(s, GRID_SCALE), SCALES);
  const flipped = i32x4.bitmask(v128.load(s, GRID_FLIPPED));
  const zero = i32x4.bitmask(v128.load(s, GRID_ZERO));
  if ((flipped | zero) == 0) return;
  for (let lane: usize = 0; lane < 4; lane++) {
    for (let k: usize = 0; k < octets; k++) {
      const at = s + SIGNS + (g * 4 + lane) * octets + k;
      if ((flipped >> <i32>lane) & 1) store<u8>(at, ~load<u8>(at));
      if ((zero >> <i32>lane) & 1) store<u8>(at, 0);
    }
  }
}

/** Index of vector `k` of a lane of the last fit; zeros have none, which is 0. */
// @ts-ignore: decorator
@inline
function indexOf(table: usize, lane: usize, k: usize, s: usize): i32 {
  if (load<i32>(s + (lane << 2), GRID_ZERO)) return 0;
  return gridIndex(table, <i32>load<u16>(s + (k << 4) + (lane << 2), GRID_WORDS));
}

/** Sixteen scales in eight bytes, or eight in four. */
// @ts-ignore: decorator
@inline
function storeScales(count: usize, inverse: f32, at: usize, s: usize): void {
  for (let j: usize = 0; j < count; j += 2) {
    store<u8>(at + (j >> 1), scaleCode(j, inverse, 15, s) | (scaleCode(j + 1, inverse, 15, s) << 4));
  }
}

/** Four times seven signs of 32 values and the code of their scale. */
// @ts-ignore: decorator
@inline
function signsAndScale(j: usize, inverse: f32, s: usize): i32 {
  let word = scaleCode(j, inverse, 15, s) << 28;
  for (let k: usize = 0; k < 4; k++) word |= (<i32>load<u8>(s + j * 4 + k, SIGNS) & 127) << (7 * <i32>k);
  return word;
}

/** IQ3_S: d, 64 lower bytes of indices, 8 of their ninth bits, 32 of signs, 4 of scales. */
export function writeIQ3S(x: usize, importance: usize, table: usize, out: usize, s: usize): void {
  memory.fill(out, 0, 110);
  prepare(x, importance, 2, 0, false, s);
  for (let g: usize = 0; g < 2; g++) {
    loadLanes(s + MAGNITUDES, g << 9, 32, s);
    fitGrid4(table, g << 9, 1.401298464324817e-45, 9, AGAIN_ALL_OF_MOVED, s);
    keepFit(g, 4, s);
    for (let lane: usize = 0; lane < 4; lane++) {
      const sub = g * 4 + lane;
      let high = 0;
      for (let k: usize = 0; k < 8; k++) {
        const index = indexOf(table, lane, k, s);
        store<u8>(out + sub * 8 + k, index, 2);
        high |= (index >> 8) << <i32>k;
      }
      store<u8>(out + sub, high, 66);
    }
  }
  memory.copy(out + 74, s + SIGNS, 32);
  const most = largestScale(8, s);
  if (most == 0) return;
  const d: f32 = most / 31;
  storeHalf(out, d * <f32>1.033);
  storeScales(8, 1 / d, out + 106, s);
}

/** IQ3_XXS: d, 64 indices, eight words of signs and scale. */
export function writeIQ3XXS(x: usize, importance: usize, table: usize, out: usize, s: usize): void {
  prepare(x, importance, 2, 0, true, s);
  for (let g: usize = 0; g < 2; g++) {
    loadLanes(s + MAGNITUDES, g << 9, 32, s);
    fitGrid4(table, g << 9, 1e-8, 15, AGAIN_MOVED, s);
    keepFit(g, 4, s);
    for (let lane: usize = 0; lane < 4; lane++) {
      for (let k: usize = 0; k < 8; k++) store<u8>(out + (g * 4 + lane) * 8 + k, indexOf(table, lane, k, s), 2);
    }
  }
  const most = largestScale(8, s);
  if (most == 0) {
    memory.fill(out, 0, 98);
    return;
  }
  const d: f32 = most / 31;
  storeHalf(out, d * <f32>1.0125);
  const inverse: f32 = 1 / d;
  for (let j: usize = 0; j < 8; j++) store<i32>(out + j * 4, signsAndScale(j, inverse, s), 66);
}

/** IQ2_S: d, 32 lower bytes of indices, 32 of signs, 8 of upper bits of indices, 8 of scales. */
export function writeIQ2S(x: usize, importance: usize, table: usize, out: usize, s: usize): void {
  memory.fill(out, 0, 82);
  prepare(x, importance, 2, 0.25, false, s);
  for (let g: usize = 0; g < 4; g++) {
    loadLanes(s + MAGNITUDES, g << 8, 16, s);
    fitGrid8(table, g << 8, 1e-8, s);
    keepFit(g, 2, s);
    for (let j: usize = 0; j < 8; j++) {
      const octet = g * 8 + j;
      const index = indexOf(table, j >> 1, j & 1, s);
      store<u8>(out + octet, index, 2);
      const at = out + (octet >> 2);
      store<u8>(at, load<u8>(at, 66) | ((index >> 8) << (2 * (<i32>octet & 3))), 66);
    }
  }
  memory.copy(out + 34, s + SIGNS, 32);
  const most = largestScale(16, s);
  if (most == 0) return;
  const d: f32 = most / 31;
  storeHalf(out, d * <f32>0.9875);
  storeScales(16, 1 / d, out + 74, s);
}

/** IQ2_XS: d, 32 words of an index and seven signs, 8 bytes of scales. */
export function writeIQ2XS(x: usize, importance: usize, table: usize, out: usize, s: usize): void {
  prepare(x, importance, 1, 0, true, s);
  for (let g: usize = 0; g < 4; g++) {
    loadLanes(s + MAGNITUDES, g << 8, 16, s);
    fitGrid8(table, g << 8, 1e-15, s);
    keepFit(g, 2, s);
    for (let j: usize = 0; j < 8; j++) {
      const octet = g * 8 + j;
      const index = indexOf(table, j >> 1, j & 1, s);
      store<u16>(out + octet * 2, index | ((<i32>load<u8>(s + octet, SIGNS) & 127) << 9), 2);
    }
  }
  const most = largestScale(16, s);
  if (most == 0) {
    memory.fill(out, 0, 74);
    return;
  }
  const d: f32 = most / 31;
  storeHalf(out, d);
  storeScales(16, 1 / d, out + 66, s);
}

/** IQ2_XXS: d; for each 32 values four indices, and a word of signs and scale. */
export function writeIQ2XXS(x: usize, importance: usize, table: usize, out: usize, s: usize): void {
  prepare(x, importance, 1, 0, true, s);
  for (let g: usize = 0; g < 2; g++) {
    loadLanes(s + MAGNITUDES, g << 9, 32, s);
    fitGrid8Fitted(table, g << 9, 1e-15, s);
    keepFit(g, 4, s);
    for (let lane: usize = 0; lane < 4; lane++) {
      for (let k: usize = 0; k < 4; k++) store<u8>(out + (g * 4 + lane) * 8 + k, indexOf(table, lane, k, s), 2);
    }
  }
  const most = largestScale(8, s);
  if (most == 0) {
    memory.fill(out, 0, 66);
    return;
  }
  const d: f32 = most / 31;
  storeHalf(out, d);
  const inverse: f32 = 1 / d;
  for (let j: usize = 0; j < 8; j++) store<i32>(out + j * 8, signsAndScale(j, inverse, s), 6);
}
