// GPTQ as the paper writes it (Frantar et al. 2022, algorithm 1 without blocks), one weight at a time in f64: the inverse is
// formed, every error reaches every later column at once. Slow; tests hold the solver to it.
import { roundHalfToEven } from '@pith/tensor-core';
import { codeRange } from '../rtn/codec.ts';
import { rowScaleReference, type ScaleSearch } from './column-scales-reference.ts';

/** What {@link gptqReference} works on. */
export interface GptqReferenceOptions {
  /** f32 or f64 [rows, columns] row-major. */
  readonly weights: ArrayLike<number>;
  readonly rows: number;
  readonly columns: number;
  /** [columns, columns]. */
  readonly gram: Float64Array;
  /** Share of the mean of the diagonal over live columns. */
  readonly damping: number;
  /** Columns in the order in which they are rounded. */
  readonly order: ArrayLike<number>;
  /** Columns of a group; all for one scale per row. */
  readonly groupSize: number;
  /** Groups follow each other in the order of the sweep (`moving`) or lie as in the checkpoint, with frozen scales (`lying`). */
  readonly groups: 'moving' | 'lying';
  readonly search: ScaleSearch;
  /** Errors of the search count by the diagonal of the Gram matrix. */
  readonly weighted?: boolean;
}

/** What it found, in the order of the checkpoint. */
export interface GptqReferenceResult {
  /** [rows, columns]. */
  readonly codes: Int8Array;
  /** Restored values, [rows, columns]. */
  readonly values: Float64Array;
  /** How far each weight was from a tie between two codes, in steps: 0 to 0.5. */
  readonly margins: Float64Array;
}

/** GPTQ in f64; scales as the f32 specification gives them. */
export function gptqReference(options: GptqReferenceOptions): GptqReferenceResult {
  const { rows, columns, gram, order, groupSize, groups, search, weighted = false } = options;
  const { scheme } = search;
  const { lowest, highest } = codeRange(scheme);
  const inverse = dampedInverse(options);
  const w = Float64Array.from(options.weights);
  for (let at = 0; at < w.length; at++) if (gram[(at % columns) * (columns + 1)] === 0) w[at] = 0;
  const original = w.slice();
  const largest = Math.max(...Array.from({ length: columns }, (_, c) => gram[c * (columns + 1)]!));
  const scaleOf = (row: number, members: readonly number[], from: Float64Array) => {
    const values = Float32Array.from(members, (c) => from[row * columns + c]!);
    const importance = weighted && Float32Array.from(members, (c) => gram[c * (columns + 1)]! / largest);
    return rowScaleReference(values, search, importance || undefined);
  };
  const count = Math.ceil(columns / groupSize);
  const chosen = Array.from({ length: rows * count }, (_, at) =>
    groups === 'lying'
      ? scaleOf(Math.floor(at / count), run((at % count) * groupSize, groupSize), original)
      : undefined,
  );
  const result = {
    codes: new Int8Array(w.length),
    values: new Float64Array(w.length),
    margins: new Float64Array(w.length),
  };
  for (let i = 0; i < columns; i++) {
    const column = order[i]!;
    const group = Math.floor((groups === 'lying' ? column : i) / groupSize);
    const pivot = inverse[column * (columns + 1)]!;
    for (let r = 0; r < rows; r++) {
      if (groups === 'moving' && i % groupSize === 0) {
        const members = run(i, groupSize).map((position) => order[position]!);
        chosen[r * count + group] = scaleOf(r, members, w);
      }
      const { scale, zeroPoint } = chosen[r * count + group]!;
      const at = r * columns + column;
      const place = w[at]! / scale + zeroPoint;
      const code = roundHalfToEven(Math.min(Math.max(place, lowest), highest));
      result.codes[at] = code;
      result.values[at] = (code - zeroPoint) * scale;
      result.margins[at] = place < lowest || place > highest ? 0.5 : 0.5 - Math.abs(place - code);
      const error = (w[at]! - result.values[at]!) / pivot;
      for (let k = i + 1; k < columns; k++)
        w[r * columns + order[k]!]! -= error * inverse[column * columns + order[k]!]!;
    }
    // What is left of the inverse once this column takes part no more (Frantar et al. 2022, equation 3).
    for (let a = 0; a < columns; a++) {
      if (a === column) continue;
      const factor = inverse[a * columns + column]! / pivot;
      for (let b = 0; b < columns; b++) {
        if (b !== column) inverse[a * columns + b]! -= factor * inverse[column * columns + b]!;
      }
    }
    for (let b = 0; b < columns; b++) inverse[column * columns + b] = inverse[b * columns + column] = 0;
  }
  return result;
}

const run = (first: number, count: number): number[] => Array.from({ length: count }, (_, i) => first + i);

/** (gram + damping)⁻¹ by Gauss-Jordan elimination; dead columns have the mean of the others. */
function dampedInverse({ gram, columns: n, damping }: GptqReferenceOptions): Float64Array {
  const diagonal = Array.from({ length: n }, (_, i) => gram[i * (n + 1)]!);
  const live = diagonal.filter((value) => value > 0);
  const mean = live.reduce((sum, value) => sum + value, 0) / live.length;
  const a = gram.slice();
  for (let i = 0; i < n; i++) a[i * (n + 1)] = (diagonal[i] || mean) + damping * mean;
  const inverse = Float64Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0));
  for (let i = 0; i < n; i++) {
    const pivot = a[i * (n + 1)]!;
    for (let j = 0; j < n; j++) {
      a[i * n + j]! /= pivot;
      inverse[i * n + j]! /= pivot;
    }
    for (let k = 0; k < n; k++) {
      const factor = a[k * n + i]!;
      if (k === i || factor === 0) continue;
      for (let j = 0; j < n; j++) {
        a[k * n + j]! -= factor * a[i * n + j]!;
        inverse[k * n + j]! -= factor * inverse[i * n + j]!;
      }
    }
  }
  return inverse;
}
