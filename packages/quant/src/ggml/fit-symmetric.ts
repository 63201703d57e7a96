// Scales without offsets: codes from -n to n - 1, the value of largest magnitude at -n. The search tries scales around that
// one and keeps the one with the least weighted squared error, for which it is enough to compare (sum w x q)² / sum w q².
import { clamp, extreme, f, nearest, ZERO_BLOCK } from './f32.ts';

/**
 * Fits one scale to a run of values and codes them.
 *
 * @param codes receives codes from 0 to 2 n - 1, one for each value.
 * @param weights importance of each value; its square where left out.
 * @returns the scale; 0 for a run of zeros, whose codes are 0.
 */
export function fitSymmetric(n: number, x: Float32Array, codes: Uint8Array, weights?: Float32Array): number {
  const largest = extreme(x);
  if (Math.abs(largest) < ZERO_BLOCK) {
    codes.fill(0);
    return 0;
  }
  const weight = (i: number): number => (weights ? weights[i]! : f(x[i]! * x[i]!));
  const code = (inverse: number, i: number): number => clamp(nearest(f(inverse * x[i]!)), -n, n - 1);
  const sums = (inverse: number): readonly [wxq: number, wqq: number] => {
    let wxq = 0;
    let wqq = 0;
    for (let i = 0; i < x.length; i++) {
      const q = code(inverse, i);
      const w = weight(i);
      wxq = f(wxq + f(f(w * x[i]!) * q));
      wqq = f(wqq + f(f(w * q) * q));
    }
    return [wxq, wqq];
  };
  const write = (inverse: number): void => x.forEach((_, i) => (codes[i] = code(inverse, i) + n));
  const first = f(-n / largest);
  let [wxq, wqq] = sums(first);
  write(first);
  let scale = wqq ? f(wxq / wqq) : 0;
  let best = f(scale * wxq);
  for (let step = -9; step <= 9; step++) {
    if (step === 0) continue;
    const inverse = f(-f(n + f(f(0.1) * step)) / largest);
    [wxq, wqq] = sums(inverse);
    if (wqq > 0 && f(wxq * wxq) > f(best * wqq)) {
      write(inverse);
      scale = f(wxq / wqq);
      best = f(scale * wxq);
    }
  }
  return scale;
}

/** As {@link fitSymmetric}, but codes are improved one at a time, weighted by squares: what Q3_K does without importance. */
export function fitByCoordinates(n: number, x: Float32Array, codes: Uint8Array): number {
  const largest = extreme(x);
  if (Math.abs(largest) < ZERO_BLOCK) {
    codes.fill(0);
    return 0;
  }
  const inverse = f(-n / largest);
  const q = Float32Array.from(x, (value) => clamp(nearest(f(inverse * value)), -n, n - 1));
  let wxq = 0;
  let wqq = 0;
  for (let i = 0; i < x.length; i++) {
    const w = f(x[i]! * x[i]!);
    wxq = f(wxq + f(f(w * x[i]!) * q[i]!));
    wqq = f(wqq + f(f(w * q[i]!) * q[i]!));
  }
  for (let round = 0; round < 5; round++) {
    let changed = false;
    for (let i = 0; i < x.length; i++) {
      const w = f(x[i]! * x[i]!);
      let wxqRest = f(wxq - f(f(w * x[i]!) * q[i]!));
      if (wxqRest <= 0) continue;
      let wqqRest = f(wqq - f(f(w * q[i]!) * q[i]!));
      const next = clamp(nearest(f(f(x[i]! * wqqRest) / wxqRest)), -n, n - 1);
      if (next === q[i]) continue;
      wxqRest = f(wxqRest + f(f(w * x[i]!) * next));
      wqqRest = f(wqqRest + f(f(w * next) * next));
      if (wqqRest > 0 && f(f(wxqRest * wxqRest) * wqq) > f(f(wxq * wxq) * wqqRest)) {
        q[i] = next;
        wxq = wxqRest;
        wqq = wqqRest;
        changed = true;
      }
    }
    if (!changed) break;
  }
  q.forEach((value, i) => (codes[i] = value + n));
  return wqq > 0 ? f(wxq / wqq) : 0;
}
