// Scales with offsets: value = scale q - offset, q from 0 to n; four sub-blocks at a time. The specification is @pith/quant
// src/ggml/fit-affine.ts; results are equal bit for bit.
import { codesOf } from './ggml-lanes';

// What a fit leaves at `fit`: vectors, one lane for each sub-block.
export const FIT_SCALE: usize = 0;
/** Never negative. */
export const FIT_OFFSET: usize = 16;
/** Sum of the weights. */
export const FIT_SUM: usize = 32;
/** Codes are those of (x - base) inverse; both are 0 for a sub-block whose codes are 0. */
export const FIT_INVERSE: usize = 48;
export const FIT_BASE: usize = 64;

/** Weighted errors of codes; `M` is `i32` for magnitudes, `u32` for squares. */
// @ts-ignore: decorator
@inline
function errorOf<M>(x: usize, w: usize, q: usize, size: i32, scale: v128, least: v128): v128 {
  let sum = f32x4.splat(0);
  const end = x + ((<usize>size) << 4);
  do {
    const d = f32x4.sub(f32x4.add(f32x4.mul(scale, v128.load(q)), least), v128.load(x));
    const term = isSigned<M>() ? f32x4.abs(d) : f32x4.mul(d, d);
    const d1 = f32x4.sub(f32x4.add(f32x4.mul(scale, v128.load(q, 16)), least), v128.load(x, 16));
    const term1 = isSigned<M>() ? f32x4.abs(d1) : f32x4.mul(d1, d1);
    sum = f32x4.add(sum, f32x4.mul(v128.load(w), term));
    sum = f32x4.add(sum, f32x4.mul(v128.load(w, 16), term1));
    x += 32;
    w += 32;
    q += 32;
  } while (x < end);
  return sum;
}

/**
 * Fits four sub-blocks of `size` values (even) at `x` with weights at `w`, both transposed: tries inverse scales
 * (first + delta step + n) / (highest - lowest) for steps 0 to `steps`. `q` is scratch of `size` vectors.
 */
// @ts-ignore: decorator
@inline
function fitAffineOf<M>(
  x: usize,
  w: usize,
  size: i32,
  n: f32,
  first: f32,
  delta: f32,
  steps: i32,
  q: usize,
  fit: usize,
): void {
  const zero = f32x4.splat(0);
  const most = f32x4.splat(n);
  let low = v128.load(x);
  let high = low;
  let sumW = v128.load(w);
  let sumWX = f32x4.mul(sumW, low);
  for (let i = 1; i < size; i++) {
    const at = (<usize>i) << 4;
    const a = v128.load(x + at);
    const b = v128.load(w + at);
    low = f32x4.pmin(low, a);
    high = f32x4.pmax(high, a);
    sumW = f32x4.add(sumW, b);
    sumWX = f32x4.add(sumWX, f32x4.mul(b, a));
  }
  low = f32x4.pmin(low, zero);
  const flat = f32x4.le(high, low);
  const offsetOfFlat = f32x4.neg(low);
  let inverse = f32x4.div(most, f32x4.sub(high, low));
  let base = low;
  let scale = f32x4.div(f32x4.splat(1), inverse);
  for (let i = 0; i < size; i++) {
    const at = (<usize>i) << 4;
    v128.store(q + at, codesOf(f32x4.mul(inverse, f32x4.sub(v128.load(x + at), low)), zero, most));
  }
  let best = errorOf<M>(x, w, q, size, scale, low);
  // Once a solution was better, further steps count from its minimum.
  for (let step = 0; step <= steps; step++) {
    const numerator: f32 = first + delta * <f32>step + n;
    const tried = f32x4.div(f32x4.splat(numerator), f32x4.sub(high, low));
    let sumWQ = zero;
    let sumWQQ = zero;
    let sumWQX = zero;
    let xi = x;
    let wi = w;
    let qi = q;
    const end = x + ((<usize>size) << 4);
    do {
      const a = v128.load(xi);
      const code = codesOf(f32x4.mul(tried, f32x4.sub(a, low)), zero, most);
      v128.store(qi, code);
      const wq = f32x4.mul(v128.load(wi), code);
      sumWQ = f32x4.add(sumWQ, wq);
      sumWQQ = f32x4.add(sumWQQ, f32x4.mul(wq, code));
      sumWQX = f32x4.add(sumWQX, f32x4.mul(wq, a));
      xi += 16;
      wi += 16;
      qi += 16;
    } while (xi < end);
    const determinant = f32x4.sub(f32x4.mul(sumW, sumWQQ), f32x4.mul(sumWQ, sumWQ));
    const solvable = f32x4.gt(determinant, zero);
    let s = f32x4.div(f32x4.sub(f32x4.mul(sumW, sumWQX), f32x4.mul(sumWX, sumWQ)), determinant);
    let m = f32x4.div(f32x4.sub(f32x4.mul(sumWQQ, sumWX), f32x4.mul(sumWQ, sumWQX)), determinant);
    const positive = f32x4.gt(m, zero);
    if (v128.any_true(positive)) {
      s = v128.bitselect(f32x4.div(sumWQX, sumWQQ), s, positive);
      m = v128.andnot(m, positive);
    }
    const error = errorOf<M>(x, w, q, size, s, m);
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
export function fitAffine(
  x: usize,
  w: usize,
  size: i32,
  n: f32,
  first: f32,
  delta: f32,
  steps: i32,
  q: usize,
  fit: usize,
): void {
  fitAffineOf<u32>(x, w, size, n, first, delta, steps, q, fit);
}

/** {@link fitAffineOf} by magnitudes of errors. */
export function fitAffineByMagnitude(
  x: usize,
  w: usize,
  size: i32,
  n: f32,
  first: f32,
  delta: f32,
  steps: i32,
  q: usize,
  fit: usize,
): void {
  fitAffineOf<i32>(x, w, size, n, first, delta, steps, q, fit);
}

/** The codes of a fit, as f32 at `target`, transposed. */
export function affineFitCodes(x: usize, size: i32, n: f32, inverse: v128, base: v128, target: usize): void {
  for (let i = 0; i < size; i++) {
    const at = (<usize>i) << 4;
    const code = codesOf(f32x4.mul(inverse, f32x4.sub(v128.load(x + at), base)), f32x4.splat(0), f32x4.splat(n));
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
      const next = min<f32>(n, nearest<f32>((value * wqqRest) / wxqRest));
      if (next == q) continue;
      wxqRest += weight * value * next;
      wqqRest += weight * next * next;
      if (wxqRest * wxqRest * wqq > wxq * wxq * wqqRest) {
        store<f32>(codes + at, next);
        wxq = wxqRest;
        wqq = wqqRest;
        changed = true;
      }
    }
    if (!changed) break;
  }
  return wqq > 0 ? wxq / wqq : 0;
}
