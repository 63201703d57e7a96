// Scales with offsets: value = scale q - offset, q from 0 to n; four sub-blocks at a time. The specification is @pith/quant
// src/ggml/fit-affine.ts; results are equal bit for bit.
import { codesOf, exactCodesOf, nearestInt } from './ggml-lanes';

// What a fit leaves at `fit`: vectors, one lane for each sub-block.
export const FIT_SCALE: usize = 0;
/** Never negative. */
export const FIT_OFFSET: usize = 16;
/** Sum of the weights. */
export const FIT_SUM: usize = 32;
/** Codes are those of (x - base) inverse; both are 0 for a sub-block whose codes are 0. */
export const FIT_INVERSE: usize = 48;
export const FIT_BASE: usize = 64;

// Where weights and codes of the values at x lie: x + LANES_W - LANES_X and x + LANES_Q - LANES_X of ggml-scratch.ts.
const W: usize = 1024;
const Q: usize = 2048;

/** The error of a code; `M` is `i32` for magnitudes, `u32` for squares. */
// @ts-ignore: decorator
@inline
function term<M>(x: v128, w: v128, q: v128, scale: v128, low: v128): v128 {
  const d = f32x4.sub(f32x4.add(f32x4.mul(scale, q), low), x);
  return f32x4.mul(w, isSigned<M>() ? f32x4.abs(d) : f32x4.mul(d, d));
}

/** Weighted errors of the codes at x + Q. */
// @ts-ignore: decorator
@inline
function errorOf<M>(x: usize, size: i32, scale: v128, low: v128): v128 {
  let sum = f32x4.splat(0);
  const end = x + ((<usize>size) << 4);
  do {
    sum = f32x4.add(sum, term<M>(v128.load(x), v128.load(x, W), v128.load(x, Q), scale, low));
    sum = f32x4.add(sum, term<M>(v128.load(x, 16), v128.load(x, W + 16), v128.load(x, Q + 16), scale, low));
    sum = f32x4.add(sum, term<M>(v128.load(x, 32), v128.load(x, W + 32), v128.load(x, Q + 32), scale, low));
    sum = f32x4.add(sum, term<M>(v128.load(x, 48), v128.load(x, W + 48), v128.load(x, Q + 48), scale, low));
    x += 64;
  } while (x < end);
  return sum;
}

/**
 * Fits four sub-blocks of `size` values (a multiple of 4) at `x`, transposed: tries inverse scales
 * (first + delta step + n) / (highest - lowest) for steps 0 to `steps`.
 */
// @ts-ignore: decorator
@inline
function fitAffineOf<M>(x: usize, size: i32, n: f32, first: f32, delta: f32, steps: i32, fit: usize): void {
  const zero = f32x4.splat(0);
  const most = f32x4.splat(n);
  const end = x + ((<usize>size) << 4);
  let low = v128.load(x);
  let high = low;
  let sumW = v128.load(x, W);
  let sumWX = f32x4.mul(sumW, low);
  let sumWXX = f32x4.mul(sumWX, low);
  for (let at = x + 16; at < end; at += 16) {
    const a = v128.load(at);
    const b = v128.load(at, W);
    const c = f32x4.mul(b, a);
    low = f32x4.pmin(low, a);
    high = f32x4.pmax(high, a);
    sumW = f32x4.add(sumW, b);
    sumWX = f32x4.add(sumWX, c);
    sumWXX = f32x4.add(sumWXX, f32x4.mul(c, a));
  }
  const lowest = low;
  low = f32x4.pmin(low, zero);
  const flat = f32x4.le(high, low);
  const offsetOfFlat = f32x4.neg(low);
  let inverse = f32x4.div(most, f32x4.sub(high, low));
  let base = low;
  let scale = f32x4.div(f32x4.splat(1), inverse);
  for (let at = x; at < end; at += 16) {
    v128.store(at, exactCodesOf(f32x4.mul(inverse, f32x4.sub(v128.load(at), low)), 0, <i32>n), Q);
  }
  let best = errorOf<M>(x, size, scale, low);
  // Once a solution was better, further steps count from its minimum.
  for (let step = 0; step <= steps; step++) {
    const numerator: f32 = first + delta * <f32>step + n;
    const tried = f32x4.div(f32x4.splat(numerator), f32x4.sub(high, low));
    let sumWQ = zero;
    let sumWQQ = zero;
    let sumWQX = zero;
    let at = x;
    // Where the minimum of a solution comes near the maximum, values are divided by next to nothing.
    const farthest = f32x4.mul(f32x4.abs(tried), f32x4.sub(low, lowest));
    const wild = !v128.all_true<i32>(f32x4.lt(farthest, f32x4.splat(4e6)));
    if (wild) {
      do {
        const a = v128.load(at);
        const code = exactCodesOf(f32x4.mul(tried, f32x4.sub(a, low)), 0, <i32>n);
        const wq = f32x4.mul(v128.load(at, W), code);
        v128.store(at, code, Q);
        sumWQ = f32x4.add(sumWQ, wq);
        sumWQQ = f32x4.add(sumWQQ, f32x4.mul(wq, code));
        sumWQX = f32x4.add(sumWQX, f32x4.mul(wq, a));
        at += 16;
      } while (at < end);
    } else do {
      const a = v128.load(at);
      const code = codesOf(f32x4.mul(tried, f32x4.sub(a, low)), zero, most);
      const wq = f32x4.mul(v128.load(at, W), code);
      v128.store(at, code, Q);
      sumWQ = f32x4.add(sumWQ, wq);
      sumWQQ = f32x4.add(sumWQQ, f32x4.mul(wq, code));
      sumWQX = f32x4.add(sumWQX, f32x4.mul(wq, a));
      const a1 = v128.load(at, 16);
      const code1 = codesOf(f32x4.mul(tried, f32x4.sub(a1, low)), zero, most);
      const wq1 = f32x4.mul(v128.load(at, W + 16), code1);
      v128.store(at, code1, Q + 16);
      sumWQ = f32x4.add(sumWQ, wq1);
      sumWQQ = f32x4.add(sumWQQ, f32x4.mul(wq1, code1));
      sumWQX = f32x4.add(sumWQX, f32x4.mul(wq1, a1));
      at += 32;
    } while (at < end);
    const determinant = f32x4.sub(f32x4.mul(sumW, sumWQQ), f32x4.mul(sumWQ, sumWQ));
    const solvable = f32x4.gt(determinant, zero);
    let s = f32x4.div(f32x4.sub(f32x4.mul(sumW, sumWQX), f32x4.mul(sumWX, sumWQ)), determinant);
    let m = f32x4.div(f32x4.sub(f32x4.mul(sumWQQ, sumWX), f32x4.mul(sumWQ, sumWQX)), determinant);
    const positive = f32x4.gt(m, zero);
    if (v128.any_true(positive)) {
      s = v128.bitselect(f32x4.div(sumWQX, sumWQQ), s, positive);
      m = v128.andnot(m, positive);
    }
    if (!isSigned<M>() && size == 32) {
      // The squared error follows from the sums but for their rounding, which is less than 32 * 2^-24 * 3 of the three squares;
      // where even so it is not less than the best, it need not be computed as ggml does.
      const ssQQ = f32x4.mul(f32x4.mul(s, s), sumWQQ);
      const mmW = f32x4.mul(f32x4.mul(m, m), sumW);
      const squares = f32x4.add(f32x4.add(sumWXX, ssQQ), mmW);
      const products = f32x4.sub(
        f32x4.mul(m, f32x4.sub(f32x4.mul(s, sumWQ), sumWX)),
        f32x4.mul(s, sumWQX),
      );
      const least = f32x4.sub(
        f32x4.add(squares, f32x4.add(products, products)),
        f32x4.mul(squares, f32x4.splat(8e-6)),
      );
      if (!v128.any_true(v128.and(v128.not(f32x4.ge(least, best)), solvable))) continue;
    }
    const error = errorOf<M>(x, size, s, m);
    const better = v128.and(f32x4.lt(error, best), solvable);
    if (v128.any_true(better)) {
      best = v128.bitselect(error, best, better);
      scale = v128.bitselect(s, scale, better);
      inverse = v128.bitselect(tried, inverse, better);
      base = v128.bitselect(low, base, better);
      low = v128.bitselect(m, low, better);
    }
  }
  v128.store(fit, v128.andnot(scale, flat), FIT_SCALE);
  v128.store(fit, v128.bitselect(offsetOfFlat, f32x4.neg(low), flat), FIT_OFFSET);
  v128.store(fit, sumW, FIT_SUM);
  v128.store(fit, v128.andnot(inverse, flat), FIT_INVERSE);
  v128.store(fit, v128.andnot(base, flat), FIT_BASE);
}

/** {@link fitAffineOf} by squared errors. */
export function fitAffine(x: usize, size: i32, n: f32, first: f32, delta: f32, steps: i32, fit: usize): void {
  fitAffineOf<u32>(x, size, n, first, delta, steps, fit);
}

/** {@link fitAffineOf} by magnitudes of errors. */
export function fitAffineByMagnitude(
  x: usize,
  size: i32,
  n: f32,
  first: f32,
  delta: f32,
  steps: i32,
  fit: usize,
): void {
  fitAffineOf<i32>(x, size, n, first, delta, steps, fit);
}

/** The codes of a fit, as f32 at `target`, transposed. */
export function affineFitCodes(x: usize, size: i32, n: f32, inverse: v128, base: v128, target: usize): void {
  for (let i = 0; i < size; i++) {
    const at = (<usize>i) << 4;
    const code = exactCodesOf(f32x4.mul(inverse, f32x4.sub(v128.load(x + at), base)), 0, <i32>n);
    v128.store(target + at, code);
  }
}

// @ts-ignore: decorator
@inline
function positiveError(n: f32, limit: f32, x: usize, w: usize, count: i32, inverse: f32): f32 {
  const scale: f32 = 1 / inverse;
  let sum: f32 = 0;
  for (let i = 0; i < count; i++) {
    const at = (<usize>i) << 2;
    const value = load<f32>(x + at);
    const difference = value - scale * min<f32>(limit, nearest<f32>(inverse * value));
    sum += load<f32>(w + at) * difference * difference;
  }
  return sum;
}

/**
 * Fits one scale to `count` values that are not negative and codes them from 0 to n as f32: first the best of nine scales, then
 * codes one at a time. Returns the scale.
 */
export function fitPositive(n: f32, x: usize, w: usize, count: i32, codes: usize): f32 {
  let most: f32 = 0;
  for (let i = 0; i < count; i++) most = max<f32>(most, load<f32>(x + ((<usize>i) << 2)));
  if (most < 1e-15) {
    memory.fill(codes, 0, (<usize>count) << 2);
    return 0;
  }
  let inverse: f32 = n / most;
  let best = positiveError(n, 255, x, w, count, inverse);
  for (let step = -4; step <= 4; step++) {
    if (step == 0) continue;
    const tried: f32 = (<f32>0.1 * <f32>step + n) / most;
    const found = positiveError(n, n, x, w, count, tried);
    if (found < best) {
      best = found;
      inverse = tried;
    }
  }
  let wxq: f32 = 0;
  let wqq: f32 = 0;
  for (let i = 0; i < count; i++) {
    const at = (<usize>i) << 2;
    const value = load<f32>(x + at);
    const weight = load<f32>(w + at);
    const q = min<f32>(n, nearest<f32>(inverse * value));
    store<f32>(codes + at, q);
    wxq += weight * value * q;
    wqq += weight * q * q;
  }
  for (let round = 0; round < 5; round++) {
    let changed = false;
    for (let i = 0; i < count; i++) {
      const at = (<usize>i) << 2;
      const value = load<f32>(x + at);
      const weight = load<f32>(w + at);
      const q = load<f32>(codes + at);
      let wxqRest: f32 = wxq - weight * value * q;
      let wqqRest: f32 = wqq - weight * q * q;
      if (wxqRest <= 0 || wqqRest <= 0) continue;
      const next = min<f32>(n, nearestInt((value * wqqRest) / wxqRest));
      if (next == q) continue;
      wxqRest += weight * value * next;
      wqqRest += weight * next * next;
      if (wxqRest * wxqRest * wqq > wxq * wxq * wqqRest) {
        // ggml keeps codes in bytes.
        store<f32>(codes + at, <f32>(<i32>next & 255));
        wxq = wxqRest;
        wqq = wqqRest;
        changed = true;
      }
    }
    if (!changed) break;
  }
  return wqq > 0 ? wxq / wqq : 0;
}
