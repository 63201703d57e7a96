// IQ1_S and IQ1_M: vectors of eight values -1, 0, 1, all shifted by an eighth up or down, and a scale for 32 or 16 of 256 values. Values are
// sorted; for every pair of places to cut them in three, and each shift, the best scale and its error follow from sums, and the least error
// wins. What is beside the grid is moved to the best vector around it. IQ1_S shifts 32 values alike, IQ1_M eight.
// The sums are taken in ggml's order (ggml/src/ggml-quants.c, `quantize_row_iq1_s_impl`, `quantize_row_iq1_m_impl`).
import { fromF32 } from '@pith/tensor-core';
import { writeHalf, type BlockWriter } from './block-writer.ts';
import { clamp, f, nearest } from './f32.ts';
import { bestAround } from './fit-grid.ts';
import { digitsOf, gridTable, wordOf } from './grid-table.ts';

/** What digits 0, 1, 2 stand for, shifted up and down. */
const UP = [-0.875, 0.125, 1.125] as const;
const DOWN = [-1.125, -0.125, 0.875] as const;
type Levels = readonly [number, number, number];

/** Where sorted values are cut in three, and what each eight of a sub-block stand for. */
interface Cut {
  readonly first: number;
  readonly second: number;
  /** May be negative. */
  readonly scale: number;
  readonly shifts: readonly Levels[];
}

/** A sub-block: its scale is never negative. */
interface Part {
  readonly scale: number;
  readonly words: readonly number[];
  readonly shifts: readonly Levels[];
}

const other = (shift: Levels): Levels => (shift === UP ? DOWN : UP);

function weigh(x: Float32Array, importance: Float32Array | undefined): Float32Array {
  const mean = f(f(2 * x.reduce((sum, value) => f(sum + f(value * value)), 0)) / 256);
  return x.map((value, i) => {
    const square = f(value * value);
    return importance ? f(importance[i]! * f(Math.sqrt(f(mean + square)))) : square;
  });
}

/** Running sums in an order, from 0 on; values that do not count leave them as they are. */
function runningSums(order: readonly number[], value: (i: number) => number, counts = (_: number) => true): number[] {
  const sums = [0];
  for (const i of order) sums.push(counts(i) ? f(sums.at(-1)! + value(i)) : sums.at(-1)!);
  return sums;
}

/** Keeps the best of candidates: the first of those that come out best. */
class Best {
  cut: Cut | null = null;
  #score = -3.4028234663852886e38;

  offer(wxq: number, wqq: number, first: number, second: number, shifts: readonly Levels[]): void {
    if (!(wqq > 0 && f(wxq * wxq) > f(this.#score * wqq))) return;
    const scale = f(wxq / wqq);
    this.#score = f(scale * wxq);
    this.cut = { first, second, scale, shifts };
  }
}

type Search = (x: Float32Array, weights: Float32Array, order: readonly number[]) => Cut | null;

/** All values of a sub-block shifted alike. */
const cutAlike: Search = (x, weights, order) => {
  const sumX = runningSums(order, (i) => f(weights[i]! * x[i]!));
  const sumW = runningSums(order, (i) => weights[i]!);
  const end = order.length;
  const best = new Best();
  const shifts = [UP, DOWN].map((levels) => new Array<Levels>(end / 8).fill(levels));
  for (let i1 = 0; i1 <= end; i1++) {
    for (let i2 = i1; i2 <= end; i2++) {
      const [x1, x2, x3] = [sumX[i1]!, f(sumX[i2]! - sumX[i1]!), f(sumX[end]! - sumX[i2]!)];
      const [w1, w2, w3] = [sumW[i1]!, f(sumW[i2]! - sumW[i1]!), f(sumW[end]! - sumW[i2]!)];
      for (const all of shifts) {
        const [low, middle, high] = all[0]!;
        const wxq = f(f(f(x1 * low) + f(x2 * middle)) + f(x3 * high));
        const wqq = f(f(f(f(w1 * low) * low) + f(f(w2 * middle) * middle)) + f(f(w3 * high) * high));
        best.offer(wxq, wqq, i1, i2, all);
      }
    }
  }
  return best.cut;
};

/** Each eight of sixteen values with a shift of its own: sums are kept by halves. */
const cutByHalves: Search = (x, weights, order) => {
  const end = order.length;
  const halves = [0, 1].map((half) => {
    const counts = (i: number): boolean => i >> 3 === half;
    return {
      x: runningSums(order, (i) => f(weights[i]! * x[i]!), counts),
      w: runningSums(order, (i) => weights[i]!, counts),
    };
  });
  const wxqOf = (half: number, [, , high]: Levels, i1: number, i2: number): number => {
    const sums = halves[half]!.x;
    return f(f(sums[end]! * high) - f(sums[i1]! + sums[i2]!));
  };
  const wqqOf = (half: number, [low, middle, high]: Levels, i1: number, i2: number): number => {
    const sums = halves[half]!.w;
    const below = f(f(f(sums[end]! * high) * high) + f(sums[i1]! * (low * low - middle * middle)));
    return f(below + f(sums[i2]! * (middle * middle - high * high)));
  };
  const best = new Best();
  const shifts = [UP, DOWN].flatMap((a) => [UP, DOWN].map((b) => [a, b] as const));
  for (let i1 = 0; i1 <= end; i1++) {
    for (let i2 = i1; i2 <= end; i2++) {
      for (const pair of shifts) {
        const wxq = f(wxqOf(0, pair[0], i1, i2) + wxqOf(1, pair[1], i1, i2));
        const wqq = f(wqqOf(0, pair[0], i1, i2) + wqqOf(1, pair[1], i1, i2));
        best.offer(wxq, wqq, i1, i2, pair);
      }
    }
  }
  return best.cut;
};

/** Fits a sub-block; null where all values count as zeros. */
function fitTernary(search: Search, least: number, x: Float32Array, weights: Float32Array): Part | null {
  const table = gridTable('iq1_s');
  if (x.reduce((most, value) => Math.max(most, Math.abs(value)), 0) < least) return null;
  const order = Array.from(x.keys()).sort((a, b) => x[a]! - x[b]! || a - b);
  const cut = search(x, weights, order);
  if (cut === null) return null;
  const digits = new Uint8Array(x.length);
  order.forEach((i, place) => (digits[i] = place < cut.first ? 0 : place < cut.second ? 1 : 2));
  let { scale, shifts } = cut;
  if (scale < 0) {
    digits.forEach((digit, i) => (digits[i] = 2 - digit));
    scale = -scale;
    shifts = shifts.map(other);
  }
  let moved = false;
  const words = shifts.map((levels, k) => {
    const word = wordOf(table, [...digits.subarray(8 * k, 8 * k + 8)]);
    if (table.indexOf(word) >= 0) return word;
    moved = true;
    return bestAround(table, word, (candidate) =>
      candidate.reduce((sum, digit, i) => {
        const difference = f(f(scale * levels[digit]!) - x[8 * k + i]!);
        return f(sum + f(f(weights[8 * k + i]! * difference) * difference));
      }, 0),
    );
  });
  if (moved) {
    const [wxq, wqq] = levelSums(x, weights, { words, shifts }, 1, [0, 0]);
    if (wxq > 0 && wqq > 0) scale = f(wxq / wqq);
  }
  return { scale, words, shifts };
}

/** Adds to sums of w x q and w q², q the level of each value times a factor. */
function levelSums(
  x: Float32Array,
  weights: Float32Array,
  { words, shifts }: Omit<Part, 'scale'>,
  factor: number,
  from: readonly [number, number],
): readonly [number, number] {
  let [wxq, wqq] = from;
  words.forEach((word, k) => {
    digitsOf(gridTable('iq1_s'), word).forEach((digit, j) => {
      const i = 8 * k + j;
      const q = f(shifts[k]![digit]! * factor);
      const wq = f(weights[i]! * q);
      wxq = f(wxq + f(wq * x[i]!));
      wqq = f(wqq + f(wq * q));
    });
  });
  return [wxq, wqq];
}

const scaleCode = (inverse: number, scale: number): number => clamp(nearest(f(0.5 * f(f(inverse * scale) - 1))), 0, 7);
const indexOf = (word: number): number => gridTable('iq1_s').indexOf(word);

/** IQ1_S: for 32 values a word of four times three upper bits of indices, a scale and the shift. */
export const writeIQ1S: BlockWriter = (x, bytes, importance) => {
  const weights = weigh(x, importance);
  const parts = Array.from({ length: 8 }, (_, ib) => {
    const [from, to] = [32 * ib, 32 * ib + 32];
    return fitTernary(cutAlike, f(1e-12), x.subarray(from, to), weights.subarray(from, to));
  });
  const most = parts.reduce((a, part) => Math.max(a, part?.scale ?? 0), 0);
  if (most) writeHalf(bytes, 0, f(f(most / 15) * 1.125));
  const inverse = f(1 / f(most / 15));
  parts.forEach((part, ib) => {
    let high = most ? (scaleCode(inverse, part?.scale ?? 0) | (part?.shifts[0] === DOWN ? 8 : 0)) << 12 : 0;
    part?.words.forEach((word, k) => {
      const index = indexOf(word);
      bytes[2 + 4 * ib + k] = index;
      high |= (index >> 8) << (3 * k);
    });
    bytes[34 + 2 * ib] = high;
    bytes[35 + 2 * ib] = high >> 8;
  });
};

/** IQ1_M: for 16 values two times three upper bits of indices and a shift, and a scale of 3 bits; d lies in what four words of scales leave. */
export const writeIQ1M: BlockWriter = (x, bytes, importance) => {
  const weights = weigh(x, importance);
  const slice = (values: Float32Array, ib: number): Float32Array => values.subarray(16 * ib, 16 * ib + 16);
  const parts = Array.from({ length: 16 }, (_, ib) =>
    fitTernary(cutByHalves, f(1e-7), slice(x, ib), slice(weights, ib)),
  );
  const most = parts.reduce((a, part) => Math.max(a, part?.scale ?? 0), 0);
  parts.forEach((part, ib) =>
    part?.words.forEach((word, k) => {
      const index = indexOf(word);
      bytes[2 * ib + k] = index;
      bytes[32 + ib]! |= (index >> 8) << (4 * k);
    }),
  );
  if (!most) return;
  let d = f(most / 15);
  const inverse = f(1 / d);
  const scales = [0, 0, 0, 0];
  let sums: readonly [number, number] = [0, 0];
  parts.forEach((part, ib) => {
    const code = scaleCode(inverse, part?.scale ?? 0);
    scales[ib >> 2]! |= code << (3 * (ib & 3));
    // A sub-block of zeros has the first vector, shifted up.
    const { words, shifts } = part ?? { words: [0, 0], shifts: [UP, UP] };
    shifts.forEach((levels, k) => (bytes[32 + ib]! |= levels === DOWN ? 8 << (4 * k) : 0));
    sums = levelSums(slice(x, ib), slice(weights, ib), { words, shifts }, 2 * code + 1, sums);
  });
  if (sums[1] > 0) d = f(sums[0] / sums[1]);
  const half = fromF32('f16', Float32Array.of(f(d * f(1.1125))));
  scales.forEach((word, k) => {
    const nibble = (half[k >> 1]! >> (4 * (k & 1))) & 15;
    bytes[48 + 2 * k] = word;
    bytes[49 + 2 * k] = (word >> 8) | (nibble << 4);
  });
};
