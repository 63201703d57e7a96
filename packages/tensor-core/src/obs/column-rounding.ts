// The contract between those who sweep columns (GPTQ, SparseGPT) and those who decide what columns are rounded to: scales,
// zero points, codes. A rounding knows nothing of errors that move between columns; a sweep knows nothing of scales.
import type { DType } from '../dtype/dtype.ts';
import type { KernelPool } from '../node/kernel-pool.ts';
import type { IntegerScheme, QuantizedWeight } from '../weight/weight-tensor.ts';
import type { ColumnSpan } from './solve.ts';
import type { PoolBlock, SweepRule } from './sweep.ts';

/** A weight whose columns are about to be rounded. */
export interface RoundingTarget {
  /** Checkpoint name, for errors and for the result. */
  readonly name: string;
  /** Dtype that the weight was stored in: scales have it unless the rounding was told otherwise. */
  readonly dtype: DType;
  /** Output channels. */
  readonly rows: number;
  /** Input channels. */
  readonly columns: number;
  /** f32 [columns, rows] before any column is rounded: column after column, as they lie in the weight. Finite; not mutated. */
  readonly weights: () => Promise<Float32Array>;
  /** Column of the weight at each position of the sweep; absent where they are swept in order. */
  readonly order?: Int32Array;
  /** How much a squared error in each column counts: the Gram matrix's diagonal, [columns] as they lie in the weight. */
  readonly importance?: Float64Array;
}

/** Decides how columns are coded: one for all weights. */
export interface ColumnRounding {
  /** Validated, frozen, JSON only: what the receipt records. */
  readonly config: Readonly<Record<string, unknown>>;
  /** How a weight of this dtype will be coded. */
  scheme(dtype: DType): IntegerScheme;
  /**
   * Begins a weight.
   *
   * @throws PithError `SCALE_OVERFLOW`, `GROUP_DOES_NOT_DIVIDE`, `STOPPED`
   */
  begin(target: RoundingTarget, pool: KernelPool, signal?: AbortSignal): Promise<RoundingRun>;
}

/** One weight's rounding: what a `ColumnRule` asks. */
export interface RoundingRun {
  /** Columns that one decision covers: a group, or all. A rule that uses this rounding has the same span. */
  readonly span: number;
  /**
   * Writes scales and zero points of `span.part` into the block from its column `at` on, and says what codes there are.
   * Called once for each part, in order.
   *
   * @throws PithError `SCALE_OVERFLOW`, `STOPPED`
   */
  decide(span: ColumnSpan, block: PoolBlock, at: number): Promise<NonNullable<SweepRule['quantize']>>;
  /** The quantized weight of these codes: i8 [rows, columns] row-major, columns as they lie in the weight; kept, not copied. */
  finish(codes: Int8Array): QuantizedWeight;
}
