// One scale and vectors of a grid for a sub-block: scales around the largest value are tried, digits rounded, what is beside the grid
// moved to the best of the vectors around it, and the scale with the least weighted squared error stays (ggml/src/ggml-quants.c,
// `quantize_row_iq2_xxs_impl` and its siblings). Digit q stands for 2 q + 1.
import { clamp, f, nearest } from './f32.ts';
import { fitPositive } from './fit-affine.ts';
import { digitsOf, wordOf, type GridTable } from './grid-table.ts';

/** How a type searches. */
export interface GridSearch {
  /** Below this a sub-block counts as zeros. */
  readonly least: number;
  /** Steps to either side of the plain scale. */
  readonly tries: number;
  /** A step, added to the code of the largest value. */
  readonly step: number;
  /** Steps count from a scale that was fitted to codes 0 to 4, not from the largest value. */
  readonly fitted?: boolean;
  /** Which vectors are chosen again for the scale that was found: those that were moved; all where one was; all. */
  readonly again: 'moved' | 'all of moved' | 'all';
}

/** What was found. */
export interface GridFit {
  /** Never negative; 0 for zeros. */
  readonly scale: number;
  /** A vector of the grid for every 4 or 8 values. */
  readonly words: readonly number[];
  /** The signs of all values have to change: the best scale was negative. */
  readonly flipped: boolean;
}

/** Digits of the nearest point. */
function pointOf({ highest }: GridTable, inverse: number, x: Float32Array): number[] {
  return Array.from(x, (value) => clamp(nearest(f(0.5 * f(f(inverse * value) - 1))), 0, highest));
}

/** The vector with the least error of those that are tried for a point beside the grid. */
export function bestAround(table: GridTable, word: number, errorOf: (digits: readonly number[]) => number): number {
  let least = Infinity;
  const candidates = table.nearest(word);
  let best = candidates[0]!;
  for (const index of candidates) {
    const error = errorOf(digitsOf(table, table.words[index]!));
    if (error < least) {
      least = error;
      best = index;
    }
  }
  return table.words[best]!;
}

/**
 * Fits a sub-block.
 *
 * @param x what the signs left, f32; some may be negative.
 * @param weights how much an error in each value counts.
 * @returns null where all values count as zeros.
 */
export function fitGrid(table: GridTable, search: GridSearch, x: Float32Array, weights: Float32Array): GridFit | null {
  const { length, highest } = table;
  const largest = x.reduce((a, b) => Math.max(a, b));
  if (largest < search.least) return null;
  const most = 2 * highest + 1;
  let scale = f(largest / most);
  let range = largest;
  if (search.fitted === true) {
    scale = fitPositive(highest + 2, x, new Uint8Array(x.length), weights);
    range = f(scale * (highest + 1));
    if (range <= 0) return null;
  }
  const roots = weights.map(Math.sqrt);
  const parts = Array.from({ length: x.length / length }, (_, k) => x.subarray(k * length, (k + 1) * length));

  const place = (k: number, tried: number, inverse: number): { word: number; moved: boolean } => {
    const word = wordOf(table, pointOf(table, inverse, parts[k]!));
    if (table.indexOf(word) >= 0) return { word, moved: false };
    const errorOf = (digits: readonly number[]): number =>
      digits.reduce((sum, digit, i) => {
        const difference = f(f(tried * (2 * digit + 1)) - parts[k]![i]!);
        return f(sum + f(f(roots[k * length + i]! * difference) * difference));
      }, 0);
    return { word: bestAround(table, word, errorOf), moved: true };
  };
  const sums = (words: readonly number[]): readonly [wxq: number, wqq: number] => {
    let [wxq, wqq] = [0, 0];
    words
      .flatMap((word) => digitsOf(table, word))
      .forEach((digit, i) => {
        const q = 2 * digit + 1;
        wxq = f(wxq + f(f(weights[i]! * x[i]!) * q));
        wqq = f(wqq + f(f(weights[i]! * q) * q));
      });
    return [wxq, wqq];
  };

  // ggml takes what was never chosen for moved in IQ3_S only, where all are chosen again.
  let words = parts.map(() => 0);
  let moved = parts.map(() => search.again !== 'moved');
  let best = 0;
  for (let is = -search.tries; is <= search.tries; is++) {
    const inverse = f(f(most + f(is * search.step)) / range);
    const placed = parts.map((_, k) => place(k, f(1 / inverse), inverse));
    const found = placed.map(({ word }) => word);
    const [wxq, wqq] = sums(found);
    if (!(wqq > 0 && f(wxq * wxq) > f(best * wqq))) continue;
    scale = f(wxq / wqq);
    best = f(scale * wxq);
    words = found;
    moved = placed.map((one) => one.moved);
  }
  if (scale > 0 && (search.again === 'all' || moved.includes(true))) {
    const inverse = f(1 / scale);
    words = words.map((word, k) => (search.again !== 'moved' || moved[k] ? place(k, scale, inverse).word : word));
    const [wxq, wqq] = sums(words);
    if (wqq > 0) scale = f(wxq / wqq);
  }
  return { scale: Math.abs(scale), words, flipped: scale < 0 };
}
