// What a sparse weight weighs in storage, known before any value is. The layouts are those of compressed-tensors:
//
// bitmask  kept values, row after row; one bit per weight, rows padded to bytes; for each row where its values begin (i64);
//          the shape (i64 [2])
// 2:4      exactly two values of each four columns, zeros among them where a run has fewer; one bit per weight; the shape
import { byteLengthOf } from '../dtype/byte-length.ts';
import type { ByteDType } from '../dtype/convert.ts';
import type { SparseWeight } from './weight-tensor.ts';

/** Bytes of the stored shape: two 64-bit integers. */
const SHAPE_BYTES = 16;

/** A sparse matrix as far as its size goes. */
export interface SparseSize {
  /** How it is stored. */
  readonly layout: SparseWeight['layout'];
  /** Format of the values. */
  readonly dtype: ByteDType;
  /** Rows. */
  readonly rows: number;
  /** Columns. */
  readonly columns: number;
  /** Values that are stored; half of all for 2:4. */
  readonly kept: number;
}

/** Exact bytes of a sparse weight, metadata tensors included. */
export function sparseByteLength({ layout, dtype, rows, columns, kept }: SparseSize): number {
  const values = byteLengthOf(dtype, kept);
  const bits = rows * Math.ceil(columns / 8);
  return values + bits + SHAPE_BYTES + (layout === 'bitmask' ? 8 * rows : 0);
}
