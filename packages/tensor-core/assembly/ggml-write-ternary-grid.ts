// IQ1_S and IQ1_M. The specification is @pith/quant src/ggml/write-ternary-grid.ts; bytes are equal. Arguments as in ggml-write-grid.ts.
import { fitTernary16, fitTernary32, TERNARY_SCALE, TERNARY_SHIFTS } from './ggml-fit-ternary';
import { largestScale, loadLanes, scaleCode } from './ggml-grid-scales';
import { gridIndex } from './ggml-grid-search';
import { halfBits, squaresInOrder, storeHalf, weigh } from './ggml-lanes';
import { GRID_WORDS, SCALES, SIGNS, WEIGHTS } from './ggml-scratch';

/** Words of vectors of a block of IQ1_M: u16. */
const BLOCK_WORDS: usize = SIGNS;

/** Weights: importance sqrt(variance + x²), the variance twice the mean square; x² without importance. */
function prepare(x: usize, importance: usize, s: usize): void {
  if (importance) {
    weigh(x, importance, 256, (2 * squaresInOrder(x, 256)) / 256, s + WEIGHTS);
    return;
  }
  for (let at: usize = 0; at < 1024; at += 16) {
    const a = v128.load(x + at);
    v128.store(s + at, f32x4.mul(a, a), WEIGHTS);
  }
}

/** Fits sub-blocks 4 `g` to 4 `g` + 3, of `size` values, and keeps their scales. */
// @ts-ignore: decorator
@inline
function fitFour(x: usize, table: usize, g: usize, size: i32, s: usize): void {
  const own = g * ((<usize>size) << 4);
  loadLanes(x, own, size, s);
  if (size == 32) fitTernary32(x, table, own, s);
  else fitTernary16(x, table, own, s);
  v128.store(s + (g << 4), v128.load(s, TERNARY_SCALE), SCALES);
}

/** True where a vector of the last fit is shifted down. */
// @ts-ignore: decorator
@inline
function isDown(lane: usize, k: usize, s: usize): bool {
  return load<f32>(s + (k << 4) + (lane << 2), TERNARY_SHIFTS) < 0;
}

/** IQ1_S: d, 32 lower bytes of indices, eight words of upper bits, scale and shift. */
export function writeIQ1S(x: usize, importance: usize, table: usize, out: usize, s: usize): void {
  prepare(x, importance, s);
  let down = 0;
  for (let g: usize = 0; g < 2; g++) {
    fitFour(x, table, g, 32, s);
    for (let lane: usize = 0; lane < 4; lane++) {
      const sub = g * 4 + lane;
      let high = 0;
      for (let k: usize = 0; k < 4; k++) {
        const index = gridIndex(table, load<i32>(s + (k << 4) + (lane << 2), GRID_WORDS));
        store<u8>(out + sub * 4 + k, index, 2);
        high |= (index >> 8) << (3 * <i32>k);
      }
      store<u16>(out + sub * 2, high, 34);
      down |= (isDown(lane, 0, s) ? 8 : 0) << (4 * <i32>sub);
    }
  }
  const most = largestScale(8, s);
  store<u16>(out, 0);
  if (most == 0) return;
  const d: f32 = most / 15;
  storeHalf(out, d * 1.125);
  const inverse: f32 = 1 / d;
  for (let sub: usize = 0; sub < 8; sub++) {
    const code = scaleCode(sub, inverse, 7, s) | ((down >>> (4 * <i32>sub)) & 8);
    store<u16>(out + sub * 2, <i32>load<u16>(out + sub * 2, 34) | (code << 12), 34);
  }
}

/** IQ1_M: 32 lower bytes of indices, 16 of upper bits and shifts, four words of scales and of parts of d. */
export function writeIQ1M(x: usize, importance: usize, table: usize, out: usize, s: usize): void {
  prepare(x, importance, s);
  let down: u32 = 0;
  for (let g: usize = 0; g < 4; g++) {
    fitFour(x, table, g, 16, s);
    for (let lane: usize = 0; lane < 4; lane++) {
      const sub = g * 4 + lane;
      let high = 0;
      for (let k: usize = 0; k < 2; k++) {
        const word = load<i32>(s + (k << 4) + (lane << 2), GRID_WORDS);
        const index = gridIndex(table, word);
        store<u16>(s + sub * 4 + k * 2, word, BLOCK_WORDS);
        store<u8>(out + sub * 2 + k, index);
        high |= (index >> 8) << (4 * <i32>k);
        if (isDown(lane, k, s)) down |= 1 << (<i32>sub * 2 + <i32>k);
      }
      store<u8>(out + sub, high, 32);
    }
  }
  const most = largestScale(16, s);
  store<i64>(out, 0, 48);
  if (most == 0) return;
  const inverse: f32 = 1 / (most / 15);
  let wxq: f32 = 0;
  let wqq: f32 = 0;
  for (let sub: usize = 0; sub < 16; sub++) {
    const code = scaleCode(sub, inverse, 7, s);
    const at = out + ((sub >> 2) << 1);
    store<u16>(at, <i32>load<u16>(at, 48) | (code << (3 * (<i32>sub & 3))), 48);
    const odd: i32 = 2 * code + 1;
    const factor = f32x4.splat(<f32>odd);
    for (let k: usize = 0; k < 2; k++) {
      const octet = sub * 2 + k;
      const isLow = ((down >> <u32>octet) & 1) != 0;
      if (isLow) store<u8>(out + sub, <i32>load<u8>(out + sub, 32) | (8 << (4 * <i32>k)), 32);
      const shift = f32x4.splat(isLow ? -1.125 : -0.875);
      const word = i32x4.splat(<i32>load<u16>(s + octet * 2, BLOCK_WORDS));
      for (let half: usize = 0; half < 2; half++) {
        // Digits of four values: bits 0, 2, 4, 6 of a byte, brought to the same place by products.
        const spread = i32x4.mul(half ? i32x4.shr_u(word, 8) : word, i32x4(64, 16, 4, 1));
        const digit = v128.and(i32x4.shr_u(spread, 6), i32x4.splat(3));
        const q = f32x4.mul(f32x4.add(f32x4.convert_i32x4_s(digit), shift), factor);
        const from = octet * 32 + half * 16;
        const wq = f32x4.mul(v128.load(s + from, WEIGHTS), q);
        const a = f32x4.mul(wq, v128.load(x + from));
        const b = f32x4.mul(wq, q);
        wxq = wxq + f32x4.extract_lane(a, 0) + f32x4.extract_lane(a, 1);
        wxq = wxq + f32x4.extract_lane(a, 2) + f32x4.extract_lane(a, 3);
        wqq = wqq + f32x4.extract_lane(b, 0) + f32x4.extract_lane(b, 1);
        wqq = wqq + f32x4.extract_lane(b, 2) + f32x4.extract_lane(b, 3);
      }
    }
  }
  const d: f32 = wqq > 0 ? wxq / wqq : most / 15;
  const bits = halfBits(d * <f32>1.1125);
  for (let k: usize = 0; k < 4; k++) {
    const at = out + k * 2;
    store<u16>(at, <i32>load<u16>(at, 48) | (((bits >> (4 * <i32>k)) & 15) << 12), 48);
  }
}
