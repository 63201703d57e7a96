// The whole weight, block after block: sweep a block of columns, then move its errors onto later columns with a matrix product
// ("lazy batch updates", GPTQ section 3.3). Blocks make up panels: a block's errors go to the rest of its panel, a panel's
// to all that is behind it, so that columns far behind are read and written a few times only.
import type { Device } from '../device/device.ts';
import { throwIfStopped } from '../errors/pith-error.ts';
import type { KernelPool } from '../node/kernel-pool.ts';
import { Products } from '../linalg/products.ts';
import { allocateBlock, sweep, type PoolBlock, type SweepRule } from './sweep.ts';
import { restoreMatrix, transposeMatrix } from './transpose.ts';

/** Columns of a block where nothing asks for another size. */
export const OBS_BLOCK_COLUMNS = 128;
/** Columns of a panel, about. */
const PANEL_COLUMNS = 512;
/** Most columns of one trailing product; fewer shapes mean fewer programs. */
const TRAILING_COLUMNS = 1024;

/** Columns that are rounded by one decision. */
export interface ColumnSpan {
  /** First column. */
  readonly first: number;
  /** One past the last column. */
  readonly last: number;
  /** The columns as they are now, errors of all columns before them moved in: f32 [last - first, rows]. Do not write. */
  readonly weights: Float32Array;
  /** Diagonal of U at these columns, f32 [last - first]: a weight's error counts as (error / diagonal)². */
  readonly diagonal: Float32Array;
  /** Columns of the part of the span that is swept next, counted from `first`: a span longer than a block comes in parts. */
  readonly part: {
    /** First column. */
    readonly from: number;
    /** One past the last column. */
    readonly to: number;
  };
}

/** Decides how spans of columns are rounded. */
export interface ColumnRule {
  /** Columns of a decision: a group of scales, an n:m pattern's m, or all columns. Must divide the columns. */
  readonly span: number;
  /**
   * Says how the part is rounded, after writing `scales`, `zeros` or `mask` of the block from its column `at` on
   * (`block.mask` is u8 [columns, rows], so column c of the block starts at c * rows).
   */
  decide(span: ColumnSpan, block: PoolBlock, at: number): SweepRule | Promise<SweepRule>;
}

/** What {@link solveColumns} works on. */
export interface SolveOptions {
  /** f32 [rows, columns] row-major, or [columns, rows] where `transposed`; not mutated. */
  readonly weights: Float32Array;
  /** Rows of the weight (outputs). */
  readonly rows: number;
  /** Columns of the weight (inputs). */
  readonly columns: number;
  /** Weights lie as the sweep has them: column after column. */
  readonly transposed?: boolean;
  /** Column of the weight at each position of the sweep; in order when left out. */
  readonly order?: Int32Array;
  /** U of H⁻¹ = UᵀU: f32 [columns, columns], upper triangular, in the order of the sweep. */
  readonly factor: Float32Array;
  /** Decides how columns are rounded. */
  readonly rule: ColumnRule;
  /** Runs the matrix products. */
  readonly device: Device;
  /** Runs the sweeps. */
  readonly pool: KernelPool;
  /** Columns of a block; {@link OBS_BLOCK_COLUMNS} or what fits the span when left out. */
  readonly blockColumns?: number;
  /** Stops between blocks. */
  readonly signal?: AbortSignal;
}

/** A weight after all columns were rounded. What is not asked for is not made. */
export interface Solution {
  /** f32 [rows, columns] row-major, columns as in the weight. */
  readonly values: Float32Array;
  /** i8 [rows, columns] row-major, columns as in the weight; all 0 where nothing was quantized. */
  readonly codes: Int8Array;
  /** u8 [rows, columns] row-major, columns as in the weight, 1 keeps; all 1 where nothing was pruned. */
  readonly mask: Uint8Array;
  /** The values as the sweep left them: f32 [columns, rows], in the order of the sweep. */
  readonly swept: Float32Array;
  /** Half the sum of squared errors over U's diagonal, f64. */
  readonly loss: number;
}

/**
 * Block size for a span: at most `limit` columns, so that spans and blocks do not cut each other.
 *
 * @returns the largest multiple of `span` up to `limit`, or for a longer span its largest divisor up to `limit`.
 */
export function blockColumnsFor(span: number, limit: number = OBS_BLOCK_COLUMNS): number {
  if (span <= limit) return limit - (limit % span);
  let size = limit;
  while (span % size !== 0) size--;
  return size;
}

/** Blocks that make up a panel: spans begin where panels do, but for the one span of all columns. */
function panelColumnsFor(span: number, size: number, columns: number): number {
  const unit = span > size && span < columns ? span : size;
  return unit * Math.max(1, Math.floor(PANEL_COLUMNS / unit));
}

/**
 * Rounds every column of a weight in order, each one's error moved onto the columns that are still to come.
 *
 * Products in f32; the loss in f64. The result does not depend on the number of kernel threads.
 * Source: Frantar et al. 2022 (GPTQ), algorithm 1; Frantar and Alistarh 2023 (SparseGPT), algorithm 1.
 *
 * @throws PithError `STOPPED`, `KERNEL_MEMORY_EXHAUSTED`
 */
export async function solveColumns(options: SolveOptions): Promise<Solution> {
  const { rows, columns, order, factor, rule, device, pool, signal } = options;
  const size = options.blockColumns ?? blockColumnsFor(rule.span);
  const panel = panelColumnsFor(rule.span, size, columns);
  const block = allocateBlock(pool, rows, size);
  const current = inSweepOrder(options);
  const codes = new Int8Array(rows * columns);
  const trailing = new TrailingColumns(device, current, factor, rows, columns);
  // Errors of the panel so far. The runtime cannot be lent memory that is shared between threads.
  const errors = new Float32Array(Math.min(panel, columns) * rows);
  let mask: Uint8Array | undefined;
  let loss = 0;
  try {
    for (let start = 0; start < columns; start += size) {
      throwIfStopped(signal, 'column solver');
      const width = Math.min(size, columns - start);
      block.weights.set(current.subarray(start * rows, (start + width) * rows));
      for (let j = 0; j < width; j++) {
        const row = (start + j) * columns + start;
        block.factor.set(factor.subarray(row, row + width), j * size);
      }
      let masked = false;
      for (let at = 0; at < width;) {
        const first = start + at - ((start + at) % rule.span);
        const last = first + rule.span;
        const to = Math.min(width, last - start);
        const inBlock = first >= start && last <= start + width;
        const span: ColumnSpan = {
          first,
          last,
          weights: inBlock
            ? block.weights.subarray((first - start) * rows, (last - start) * rows)
            : current.subarray(first * rows, last * rows),
          diagonal: Float32Array.from({ length: rule.span }, (_, j) => factor[(first + j) * (columns + 1)]),
          part: { from: start + at - first, to: start + to - first },
        };
        const sweepRule = await rule.decide(span, block, at);
        masked ||= sweepRule.masked;
        loss += await sweep(pool, block, sweepRule, at, to, { end: width, ...(signal && { signal }) });
        at = to;
      }
      current.set(block.weights.subarray(0, width * rows), start * rows);
      codes.set(block.codes.subarray(0, width * rows), start * rows);
      if (masked) {
        mask ??= new Uint8Array(rows * columns).fill(1);
        mask.set(block.mask.subarray(0, width * rows), start * rows);
      }
      const panelStart = start - (start % panel);
      const panelEnd = Math.min(panelStart + panel, columns);
      const done = start + width;
      errors.set(block.errors.subarray(0, width * rows), (start - panelStart) * rows);
      const own = errors.subarray((start - panelStart) * rows, (done - panelStart) * rows);
      if (done < panelEnd) await trailing.update(own, start, width, done, panelEnd);
      else await trailing.update(errors, panelStart, panelEnd - panelStart, panelEnd, columns);
    }
  } finally {
    block.free();
    await trailing.dispose();
  }
  return {
    get values() {
      return restoreMatrix(current, rows, columns, order);
    },
    get codes() {
      return restoreMatrix(codes, rows, columns, order);
    },
    get mask() {
      return mask === undefined ? new Uint8Array(codes.length).fill(1) : restoreMatrix(mask, rows, columns, order);
    },
    swept: current,
    loss,
  };
}

/** A copy of the weights, column after column in the order of the sweep. */
function inSweepOrder({ weights, rows, columns, transposed = false, order }: SolveOptions): Float32Array<ArrayBuffer> {
  if (!transposed) return transposeMatrix(weights, rows, columns, order) as Float32Array<ArrayBuffer>;
  const current = new Float32Array(weights.length);
  if (order === undefined) current.set(weights);
  else order.forEach((column, i) => current.set(weights.subarray(column * rows, (column + 1) * rows), i * rows));
  return current;
}

/** Columns that are still to come lose errors: columns -= Uᵀ errors, in place. */
class TrailingColumns {
  readonly #products: Products<'f32'>;
  readonly #current: Float32Array<ArrayBuffer>;
  readonly #factor: Float32Array;
  readonly #rows: number;
  readonly #columns: number;
  readonly #updated: Float32Array<ArrayBuffer>;

  constructor(device: Device, current: Float32Array<ArrayBuffer>, factor: Float32Array, rows: number, columns: number) {
    this.#products = new Products(device, 'f32');
    this.#current = current;
    this.#factor = factor;
    this.#rows = rows;
    this.#columns = columns;
    this.#updated = new Float32Array(Math.min(TRAILING_COLUMNS, columns) * rows);
  }

  /** Moves the errors of `width` columns from `start` on, f32 [width, rows], onto columns `from` to `to`. */
  async update(
    errors: Float32Array<ArrayBuffer>,
    start: number,
    width: number,
    from: number,
    to: number,
  ): Promise<void> {
    const rows = this.#rows;
    const e = { data: errors.subarray(0, width * rows), rows: width, columns: rows };
    while (from < to) {
      const count = Math.min(TRAILING_COLUMNS, largestPowerOfTwo(to - from));
      // Turned around here: products read their left side row by row.
      const u = new Float32Array(width * count);
      for (let j = 0; j < width; j++) {
        const row = (start + j) * this.#columns + from;
        for (let c = 0; c < count; c++) u[c * width + j] = this.#factor[row + c];
      }
      const target = this.#current.subarray(from * rows, (from + count) * rows);
      const into = this.#updated.subarray(0, count * rows);
      const factors = { data: u, rows: count, columns: width };
      await this.#products.multiply(factors, e, { scale: -1, add: target, into });
      target.set(into);
      from += count;
    }
  }

  dispose(): Promise<void> {
    return this.#products.dispose();
  }
}

function largestPowerOfTwo(n: number): number {
  return 2 ** Math.floor(Math.log2(n));
}
