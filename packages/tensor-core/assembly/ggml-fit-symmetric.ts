// Scales without offsets: codes from -n to n - 1; four sub-blocks at a time. The specification is @pith/quant
// src/ggml/fit-symmetric.ts; results are equal bit for bit.
import { codesOf, exactCodesOf } from './ggml-lanes';

// What a fit leaves at `fit`: vectors, one lane for each sub-block.
export const SYMMETRIC_SCALE: usize = 0;
/** Codes are those of x inverse, plus n. */
export const SYMMETRIC_INVERSE: usize = 16;
/** All bits of a lane whose values count as zeros, and whose codes are 0. */
export const SYMMETRIC_ZERO: usize = 32;

const ZERO_BLOCK: f32 = 1e-15;

// Where weights and products of the values at x lie: x + LANES_W - LANES_X and x + LANES_P - LANES_X of ggml-scratch.ts.
const W: usize = 1024;
const P: usize = 3072;

/** The value of largest magnitude of each lane, the first where there are several. */
// @ts-ignore: decorator
@inline
export function extremes(x: usize, size: i32): v128 {
  let largest = f32x4.splat(0);
  let magnitude = largest;
  for (let i = 0; i < size; i++) {
    const a = v128.load(x + ((<usize>i) << 4));
    const b = f32x4.abs(a);
    largest = v128.bitselect(a, largest, f32x4.gt(b, magnitude));
    magnitude = f32x4.pmax(magnitude, b);
  }
  return largest;
}

/** Fits four sub-blocks of `size` values (even) at `x`, transposed. */
export function fitSymmetric(n: f32, x: usize, size: i32, fit: usize): void {
  const lowest = f32x4.splat(-n);
  const highest = f32x4.splat(n - 1);
  const none = f32x4.splat(0);
  const largest = extremes(x, size);
  const zero = f32x4.lt(f32x4.abs(largest), f32x4.splat(ZERO_BLOCK));
  const end = x + ((<usize>size) << 4);
  for (let at = x; at < end; at += 16) v128.store(at, f32x4.mul(v128.load(at, W), v128.load(at)), P);
  let scale = none;
  let best = none;
  let inverse = none;
  for (let step = -10; step <= 9; step++) {
    if (step == 0) continue;
    // The first try is the plain scale, whose sums are taken unless they are zero.
    const plain = step == -10;
    const numerator: f32 = plain ? -n : -(n + <f32>0.1 * <f32>step);
    const tried = f32x4.div(f32x4.splat(numerator), largest);
    let wxq = none;
    let wqq = none;
    let at = x;
    do {
      const q = codesOf(f32x4.mul(tried, v128.load(at)), lowest, highest);
      wxq = f32x4.add(wxq, f32x4.mul(v128.load(at, P), q));
      wqq = f32x4.add(wqq, f32x4.mul(f32x4.mul(v128.load(at, W), q), q));
      const q1 = codesOf(f32x4.mul(tried, v128.load(at, 16)), lowest, highest);
      wxq = f32x4.add(wxq, f32x4.mul(v128.load(at, P + 16), q1));
      wqq = f32x4.add(wqq, f32x4.mul(f32x4.mul(v128.load(at, W + 16), q1), q1));
      at += 32;
    } while (at < end);
    if (plain) {
      inverse = tried;
      scale = v128.bitselect(f32x4.div(wxq, wqq), none, f32x4.ne(wqq, none));
      best = f32x4.mul(scale, wxq);
      continue;
    }
    const better = v128.and(f32x4.gt(wqq, none), f32x4.gt(f32x4.mul(wxq, wxq), f32x4.mul(best, wqq)));
    if (v128.any_true(better)) {
      const s = f32x4.div(wxq, wqq);
      scale = v128.bitselect(s, scale, better);
      best = v128.bitselect(f32x4.mul(s, wxq), best, better);
      inverse = v128.bitselect(tried, inverse, better);
    }
  }
  v128.store(fit, v128.andnot(scale, zero), SYMMETRIC_SCALE);
  v128.store(fit, inverse, SYMMETRIC_INVERSE);
  v128.store(fit, zero, SYMMETRIC_ZERO);
}

/** The codes of a fit plus n, as f32 at `target`, transposed. */
export function symmetricFitCodes(n: f32, x: usize, size: i32, inverse: v128, zero: v128, target: usize): void {
  const base = f32x4.splat(n);
  for (let i = 0; i < size; i++) {
    const at = (<usize>i) << 4;
    const q = codesOf(f32x4.mul(inverse, v128.load(x + at)), f32x4.splat(-n), f32x4.splat(n - 1));
    v128.store(target + at, v128.andnot(f32x4.add(q, base), zero));
  }
}

/**
 * Codes improved one at a time, weighted by squares: what Q3_K does without importance. Leaves codes plus n as f32 at `q`,
 * transposed, and the scale at `fit`.
 */
export function fitByCoordinates(n: f32, x: usize, size: i32, q: usize, fit: usize): void {
  const lowest = f32x4.splat(-n);
  const highest = f32x4.splat(n - 1);
  const none = f32x4.splat(0);
  const largest = extremes(x, size);
  const zero = f32x4.lt(f32x4.abs(largest), f32x4.splat(ZERO_BLOCK));
  const inverse = f32x4.div(lowest, largest);
  let wxq = none;
  let wqq = none;
  for (let i = 0; i < size; i++) {
    const at = (<usize>i) << 4;
    const a = v128.load(x + at);
    const code = codesOf(f32x4.mul(inverse, a), lowest, highest);
    v128.store(q + at, code);
    const w = f32x4.mul(a, a);
    wxq = f32x4.add(wxq, f32x4.mul(f32x4.mul(w, a), code));
    wqq = f32x4.add(wqq, f32x4.mul(f32x4.mul(w, code), code));
  }
  for (let round = 0; round < 5; round++) {
    let changed = none;
    for (let i = 0; i < size; i++) {
      const at = (<usize>i) << 4;
      const a = v128.load(x + at);
      const code = v128.load(q + at);
      const w = f32x4.mul(a, a);
      const wx = f32x4.mul(w, a);
      let wxqRest = f32x4.sub(wxq, f32x4.mul(wx, code));
      let wqqRest = f32x4.sub(wqq, f32x4.mul(f32x4.mul(w, code), code));
      const next = exactCodesOf(f32x4.div(f32x4.mul(a, wqqRest), wxqRest), <i32>-n, <i32>n - 1);
      let better = v128.and(f32x4.gt(wxqRest, none), f32x4.ne(next, code));
      if (!v128.any_true(better)) continue;
      wxqRest = f32x4.add(wxqRest, f32x4.mul(wx, next));
      wqqRest = f32x4.add(wqqRest, f32x4.mul(f32x4.mul(w, next), next));
      const gain = f32x4.gt(
        f32x4.mul(f32x4.mul(wxqRest, wxqRest), wqq),
        f32x4.mul(f32x4.mul(wxq, wxq), wqqRest),
      );
      better = v128.and(v128.and(better, gain), f32x4.gt(wqqRest, none));
      v128.store(q + at, v128.bitselect(next, code, better));
      wxq = v128.bitselect(wxqRest, wxq, better);
      wqq = v128.bitselect(wqqRest, wqq, better);
      changed = v128.or(changed, better);
    }
    if (!v128.any_true(changed)) break;
  }
  const base = f32x4.splat(n);
  for (let i = 0; i < size; i++) {
    const at = (<usize>i) << 4;
    v128.store(q + at, v128.andnot(f32x4.add(v128.load(q + at), base), zero));
  }
  const scale = v128.bitselect(f32x4.div(wxq, wqq), none, f32x4.gt(wqq, none));
  v128.store(fit, v128.andnot(scale, zero), SYMMETRIC_SCALE);
}
