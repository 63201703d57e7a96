// Orders of rows that runtimes want, and how rows in another order are read: runs of neighbours once each.
import type { RowSpan } from '@pith/tensor-core';

/**
 * The order in which llama.cpp wants the rows of rotated heads: it rotates neighbours of a head where Hugging Face rotates its
 * two halves, so that row 2 i of a head is row i of its lower half, and row 2 i + 1 is row i of its upper half.
 *
 * @param rows a multiple of `headDim`.
 * @param headDim even.
 * @returns which row comes i-th, for each i.
 */
export function interleavedRows(rows: number, headDim: number): Int32Array {
  return Int32Array.from({ length: rows }, (_, row) => {
    const within = row % headDim;
    return row - within + (within >> 1) + (within & 1) * (headDim / 2);
  });
}

/** How some rows of an order are read. */
export interface GatheredRows {
  /** Runs of neighbours, in the order of the weight. */
  readonly spans: readonly RowSpan[];
  /** Which of the rows that were read is written i-th, for each i; empty where they are in order. */
  readonly places: Int32Array;
}

/** Reads rows `first` to `first + count` of an order. */
export function gatherRows(order: Int32Array | undefined, first: number, count: number): GatheredRows {
  if (order === undefined) return { spans: [{ start: first, end: first + count }], places: new Int32Array(0) };
  const wanted = order.subarray(first, first + count);
  const sorted = wanted.slice().sort();
  const spans: { start: number; end: number }[] = [];
  const place = new Map<number, number>();
  for (const [i, row] of sorted.entries()) {
    place.set(row, i);
    const last = spans.at(-1);
    if (last?.end === row) last.end = row + 1;
    else spans.push({ start: row, end: row + 1 });
  }
  return { spans, places: wanted.map((row) => place.get(row)!) };
}
