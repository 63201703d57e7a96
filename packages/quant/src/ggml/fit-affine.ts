// Scales with offsets: value = scale q - offset, q from 0 to n. For each of several scales the codes are rounded, then scale
// and offset solved for by weighted least squares; the combination of least error stays.
import { clamp, f, nearest, ZERO_BLOCK } from './f32.ts';

/** What the search tries: inverse scales (first + delta * step + n) / range for steps 0 to `steps`. */
export interface AffineSearch {
  readonly first: number;
  readonly delta: number;
  readonly steps: number;
  /** The error is a sum of magnitudes, not of squares. */
  readonly magnitudes?: boolean;
}

/** Scale, and the offset that is subtracted: never negative. */
export interface AffineFit {
  readonly scale: number;
  readonly offset: number;
}

/**
 * Fits a scale and an offset to a run of values and codes them.
 *
 * @param codes receives codes from 0 to n, one for each value.
 */
export function fitAffine(
  n: number,
  x: Float32Array,
  weights: Float32Array,
  codes: Uint8Array,
  { first, delta, steps, magnitudes = false }: AffineSearch,
): AffineFit {
  let least = x[0]!;
  let most = x[0]!;
  let sumW = weights[0]!;
  let sumWX = f(sumW * x[0]!);
  for (let i = 1; i < x.length; i++) {
    if (x[i]! < least) least = x[i]!;
    if (x[i]! > most) most = x[i]!;
    sumW = f(sumW + weights[i]!);
    sumWX = f(sumWX + f(weights[i]! * x[i]!));
  }
  if (least > 0) least = 0;
  if (most <= least) {
    codes.fill(0);
    return { scale: 0, offset: -least };
  }
  const code = (inverse: number, i: number): number => clamp(nearest(f(inverse * f(x[i]! - least))), 0, n);
  const error = (scale: number, min: number, q: Uint8Array): number => {
    let sum = 0;
    for (let i = 0; i < x.length; i++) {
      const difference = f(f(f(scale * q[i]!) + min) - x[i]!);
      sum = f(sum + f(weights[i]! * (magnitudes ? Math.abs(difference) : f(difference * difference))));
    }
    return sum;
  };
  const inverse = f(n / f(most - least));
  let scale = f(1 / inverse);
  x.forEach((_, i) => (codes[i] = code(inverse, i)));
  let best = error(scale, least, codes);
  const trial = new Uint8Array(x.length);
  // Once a solution was better, further steps round from its minimum.
  for (let step = 0; step <= steps; step++) {
    const tried = f(f(f(f(first) + f(f(delta) * step)) + n) / f(most - least));
    let sumWQ = 0;
    let sumWQQ = 0;
    let sumWQX = 0;
    for (let i = 0; i < x.length; i++) {
      const q = code(tried, i);
      trial[i] = q;
      const wq = f(weights[i]! * q);
      sumWQ = f(sumWQ + wq);
      sumWQQ = f(sumWQQ + f(wq * q));
      sumWQX = f(sumWQX + f(wq * x[i]!));
    }
    const determinant = f(f(sumW * sumWQQ) - f(sumWQ * sumWQ));
    if (determinant <= 0) continue;
    let solvedScale = f(f(f(sumW * sumWQX) - f(sumWX * sumWQ)) / determinant);
    let solvedMin = f(f(f(sumWQQ * sumWX) - f(sumWQ * sumWQX)) / determinant);
    if (solvedMin > 0) {
      solvedMin = 0;
      solvedScale = f(sumWQX / sumWQQ);
    }
    const found = error(solvedScale, solvedMin, trial);
    if (found < best) {
      codes.set(trial);
      best = found;
      scale = solvedScale;
      least = solvedMin;
    }
  }
  return { scale, offset: -least };
}

/**
 * Fits one scale to values that are not negative (the scales and the offsets of sub-blocks; a few may be, in what the signs of a
 * grid left) and codes them from 0 to n: first the best of nine scales, then codes one at a time. ggml keeps codes in bytes, where
 * negative ones come out large.
 */
export function fitPositive(n: number, x: Float32Array, codes: Uint8Array, weights: Float32Array): number {
  const most = x.reduce((a, b) => Math.max(a, b), 0);
  if (most < ZERO_BLOCK) {
    codes.fill(0);
    return 0;
  }
  const squaredError = (inverse: number, codeOf: (code: number) => number): number => {
    const scale = f(1 / inverse);
    let sum = 0;
    for (let i = 0; i < x.length; i++) {
      const difference = f(x[i]! - f(scale * codeOf(nearest(f(inverse * x[i]!)))));
      sum = f(sum + f(f(weights[i]! * difference) * difference));
    }
    return sum;
  };
  let inverse = f(n / most);
  let best = squaredError(inverse, (code) => code & 255);
  for (let step = -4; step <= 4; step++) {
    if (step === 0) continue;
    const tried = f(f(f(f(0.1) * step) + n) / most);
    const found = squaredError(tried, (code) => Math.min(n, code));
    if (found < best) {
      best = found;
      inverse = tried;
    }
  }
  let wxq = 0;
  let wqq = 0;
  for (let i = 0; i < x.length; i++) {
    const q = Math.min(n, nearest(f(inverse * x[i]!)));
    codes[i] = q;
    wxq = f(wxq + f(f(weights[i]! * x[i]!) * q));
    wqq = f(wqq + f(f(weights[i]! * q) * q));
  }
  for (let round = 0; round < 5; round++) {
    let changed = false;
    for (let i = 0; i < x.length; i++) {
      const w = weights[i]!;
      let wxqRest = f(wxq - f(f(w * x[i]!) * codes[i]!));
      let wqqRest = f(wqq - f(f(w * codes[i]!) * codes[i]!));
      if (wxqRest <= 0 || wqqRest <= 0) continue;
      const next = Math.min(n, nearest(f(f(x[i]! * wqqRest) / wxqRest)));
      if (next === codes[i]) continue;
      wxqRest = f(wxqRest + f(f(w * x[i]!) * next));
      wqqRest = f(wqqRest + f(f(w * next) * next));
      if (f(f(wxqRest * wxqRest) * wqq) > f(f(wxq * wxq) * wqqRest)) {
        codes[i] = next;
        wxq = wxqRest;
        wqq = wqqRest;
        changed = true;
      }
    }
    if (!changed) break;
  }
  return wqq > 0 ? f(wxq / wqq) : 0;
}
