// The whole weight by halves: sweep the first half of the columns, move their errors onto the second half with one matrix
// product, sweep that ("lazy batch updates", GPTQ section 3.3, taken to all sizes). Blocks of columns are swept by kernels. Most
// arithmetic is then in large products, and a column is read and written a few times only.
//
// What the errors so far add to a column is kept apart from the weights until the column's block is swept; from then on
// the same place holds the column's own errors. Nothing is written but once for each level of halving.
import type { Device } from '../device/device.ts';
import { throwIfStopped } from '../errors/pith-error.ts';
import type { KernelPool } from '../node/kernel-pool.ts';
import type { MemoryRegion } from '../node/memory-region.ts';
import { splitPoint } from '../linalg/blocks.ts';
import { Products } from '../linalg/products.ts';
import type { SweepFactor } from './sweep-factor.ts';
import type { SweepSums } from './sweep-reference.ts';
import { addOriginals, allocateBlock, jobRows, sweep, type PoolBlock, type SweepRule } from './sweep.ts';
import { restoreMatrix, restoreOnPool, StagedRows, transposeOnPool } from './transpose.ts';

/** Columns of a block where nothing asks for another size. */
export const OBS_BLOCK_COLUMNS = 128;

/** Bytes of weights that are staged together: rows are read in long pieces. */
const STAGED_BYTES = 2 ** 26;

/** Columns that are rounded by one decision. */
export interface ColumnSpan {
  /** First column. */
  readonly first: number;
  /** One past the last column. */
  readonly last: number;
  /**
   * The columns as they are when the span begins, errors of all columns before them moved in: f32 [last - first, rows]. To be
   * asked for with the first part. Do not write.
   */
  readonly weights: () => Promise<Float32Array>;
  /** What a difference of each column counts, f32 [last - first]: the output's squared error grows by (difference * diagonal)². */
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
  /** How errors move, in the order of the sweep. */
  readonly factor: Pick<SweepFactor, 'coupling' | 'pivots'>;
  /** Decides how columns are rounded. */
  readonly rule: ColumnRule;
  /** Runs the matrix products. */
  readonly device: Device;
  /** Runs the sweeps. */
  readonly pool: KernelPool;
  /** Keeps the rounded values, which codes and scales give as well; true when left out. */
  readonly keepValues?: boolean;
  /** Columns of a block; {@link OBS_BLOCK_COLUMNS} or what fits the span when left out. */
  readonly blockColumns?: number;
  /** Stops between blocks. */
  readonly signal?: AbortSignal;
}

/** A weight after all columns were rounded. */
export interface Solution extends SweepSums {
  /** f32 [rows, columns] row-major, columns as in the weight; made when asked for. Empty where they were not kept. */
  readonly values: Float32Array;
  /** i8 [rows, columns] row-major, columns as in the weight; all 0 where nothing was quantized. */
  readonly codes: Int8Array;
  /** u8 [rows, columns] row-major, columns as in the weight, 1 keeps; all 1 where nothing was pruned. Made when asked for. */
  readonly mask: Uint8Array;
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

/** Bytes of the pool's memory that {@link solveColumns} and the choice of scales work in, at most; what `KernelPool.near` asks for. */
export function columnSolveBytes(rows: number, columns: number, blockColumns: number = OBS_BLOCK_COLUMNS): number {
  const block = 22 * rows * blockColumns + 4 * blockColumns ** 2;
  // Staged, moving, and codes of a byte; then a block, and pieces of rows that are turned.
  return 9 * rows * columns + block + 16 * 512 * columns;
}

/**
 * Rounds every column of a weight in order, each one's error moved onto the columns that are still to come.
 *
 * Products in f32; sums in f64. The result does not depend on the number of kernel threads.
 * Source: Frantar et al. 2022 (GPTQ), algorithm 1; Frantar and Alistarh 2023 (SparseGPT), algorithm 1.
 *
 * @throws PithError `STOPPED`, `KERNEL_MEMORY_EXHAUSTED`
 */
export async function solveColumns(options: SolveOptions): Promise<Solution> {
  const solver = new ColumnSolver(options);
  try {
    await solver.solve(0, options.columns);
    return await solver.solution();
  } finally {
    await solver.dispose();
  }
}

class ColumnSolver {
  readonly #options: SolveOptions;
  readonly #products: Products<'f32'>;
  readonly #block: PoolBlock;
  /** Columns of a block. */
  readonly #size: number;
  /** Columns that halving does not cut before all errors from outside have reached them: a span, where that is longer. */
  readonly #unit: number;
  /** Rows on their way to the block; absent where weights lie transposed. */
  readonly #staged: StagedRows | undefined;
  /** Columns that are staged together: whole blocks. */
  readonly #stagedColumns: number;
  /** f32 [columns, rows] in the order of the sweep: what errors add to a column, then the column's own errors. */
  readonly #moving: Float32Array;
  /** Where the pool's memory can be lent to the device, kernels work on whole matrices that lie there. */
  readonly #lent: { readonly moving: MemoryRegion; readonly codes: MemoryRegion } | undefined;
  readonly #values: Float32Array;
  /** i8 [columns, rows] in the order of the sweep. */
  readonly #codes: Int8Array;
  #wholeTurned: Promise<Float32Array> | undefined;
  #mask: Uint8Array | undefined;
  #sums: SweepSums = { loss: 0, squaredDifference: 0, squares: 0 };
  #coupling = new Float32Array(0);

  constructor(options: SolveOptions) {
    const { rows, columns, rule, pool, device, keepValues = true } = options;
    const size = options.blockColumns ?? blockColumnsFor(rule.span);
    this.#options = options;
    this.#size = size;
    this.#unit = rule.span > size && rule.span < columns ? rule.span : size;
    this.#block = allocateBlock(pool, rows, Math.min(size, columns));
    if (!(this.#block.weights.buffer instanceof SharedArrayBuffer)) {
      this.#lent = { moving: pool.allocate(4 * rows * columns), codes: pool.allocate(rows * columns) };
    }
    this.#moving = this.#lent?.moving.f32 ?? new Float32Array(rows * columns);
    this.#values = new Float32Array(keepValues ? rows * columns : 0);
    this.#codes = this.#lent?.codes.i8 ?? new Int8Array(rows * columns);
    const width = this.#block.columns;
    this.#stagedColumns = Math.min(columns, width * Math.max(1, Math.floor(STAGED_BYTES / (4 * rows * width))));
    this.#staged = options.transposed ? undefined : new StagedRows(pool, rows, this.#stagedColumns);
    this.#products = new Products(device, 'f32');
  }

  /** Columns `start` to `end`, once the errors of all columns before `start` were moved onto them. */
  async solve(start: number, end: number): Promise<void> {
    const count = end - start;
    if (count <= this.#size) return this.#solveBlock(start, end);
    const middle = start + splitPoint(count, count > this.#unit ? this.#unit : this.#size);
    await this.solve(start, middle);
    await this.#move(start, middle, end);
    await this.solve(middle, end);
  }

  async solution(): Promise<Solution> {
    const { rows, columns, order, pool, signal } = this.#options;
    const [values, mask] = [this.#values, this.#mask];
    const codes = await restoreOnPool(pool, this.#codes, rows, columns, { order, signal, at: this.#lent?.codes.at });
    return {
      ...this.#sums,
      codes,
      get values() {
        return values.length === 0 ? values : restoreMatrix(values, rows, columns, order);
      },
      get mask() {
        return mask === undefined ? new Uint8Array(codes.length).fill(1) : restoreMatrix(mask, rows, columns, order);
      },
    };
  }

  dispose(): Promise<void> {
    const { pool } = this.#options;
    this.#block.free();
    this.#staged?.free();
    for (const region of this.#lent ? [this.#lent.moving, this.#lent.codes] : []) pool.free(region);
    return this.#products.dispose();
  }

  async #solveBlock(start: number, end: number): Promise<void> {
    const { rows, columns, rule, pool, keepValues = true, signal } = this.#options;
    const block = this.#block;
    const lent = this.#lent;
    throwIfStopped(signal, 'column solver');
    await this.#fill(start, end);
    const width = end - start;
    let masked = false;
    let quantized = false;
    for (let at = 0; at < width;) {
      const first = start + at - ((start + at) % rule.span);
      const last = first + rule.span;
      const to = Math.min(width, last - start);
      const span: ColumnSpan = {
        first,
        last,
        weights: () => this.#spanWeights(first, last, start, end),
        diagonal: this.#options.factor.pivots.subarray(first, last),
        part: { from: start + at - first, to: start + to - first },
      };
      const sweepRule = await rule.decide(span, block, at);
      masked ||= sweepRule.masked;
      quantized ||= sweepRule.quantize !== undefined;
      if (lent && sweepRule.quantize === undefined) this.#codes.fill(0, (start + at) * rows, (start + to) * rows);
      const into = lent && {
        codes: { at: lent.codes.at + start * rows },
        errors: { at: lent.moving.at + 4 * start * rows },
      };
      const sweepOptions = { end: width, keepValues, ...(into && { into }), ...(signal && { signal }) };
      const sums = await sweep(pool, block, sweepRule, at, to, sweepOptions);
      const { loss, squaredDifference, squares } = this.#sums;
      this.#sums = {
        loss: loss + sums.loss,
        squaredDifference: squaredDifference + sums.squaredDifference,
        squares: squares + sums.squares,
      };
      at = to;
    }
    if (end < columns && !lent) this.#moving.set(block.errors.subarray(0, width * rows), start * rows);
    if (keepValues) this.#values.set(block.weights.subarray(0, width * rows), start * rows);
    if (quantized && !lent) this.#codes.set(block.codes.subarray(0, width * rows), start * rows);
    if (masked) {
      this.#mask ??= new Uint8Array(rows * columns).fill(1);
      this.#mask.set(block.mask.subarray(0, width * rows), start * rows);
    }
  }

  /** Columns `start` to `end` as they are now, and what couples them, into the pool's memory. */
  async #fill(start: number, end: number): Promise<void> {
    const { rows, columns, factor, pool, signal } = this.#options;
    const block = this.#block;
    const width = end - start;
    await this.#fillOriginals(start, end);
    if (start === 0) block.weights.set(block.originals.subarray(0, width * rows));
    else if (this.#lent) await addOriginals(pool, block, width, signal, this.#lent.moving.at + 4 * start * rows);
    else {
      block.weights.set(this.#moving.subarray(start * rows, end * rows));
      await addOriginals(pool, block, width, signal);
    }
    for (let j = 0; j < width; j++) {
      const from = (start + j) * columns + start;
      block.coupling.set(factor.coupling.subarray(from, from + width), j * block.columns);
    }
    block.diagonal.set(factor.pivots.subarray(start, end));
  }

  async #fillOriginals(start: number, end: number): Promise<void> {
    const { weights, rows, columns, order, pool } = this.#options;
    const { originals, regions } = this.#block;
    const width = end - start;
    const staged = this.#staged;
    if (staged === undefined || order !== undefined) {
      const turned = staged === undefined ? weights : await this.#turned();
      for (let j = 0; j < width; j++) {
        const from = (order === undefined ? start + j : order[start + j]) * rows;
        originals.set(turned.subarray(from, from + rows), j * rows);
      }
      return;
    }
    const within = start % this.#stagedColumns;
    if (within === 0) staged.fill(weights, columns, 0, rows, start, Math.min(columns, start + this.#stagedColumns));
    const jobs = jobRows(pool, rows);
    const turns = jobs.map((job) => staged.turn(job, within, width, regions.originals.at + 4 * job[0], rows));
    await Promise.all(turns);
  }

  /** The weights column after column: f32 [columns, rows], columns as in the weight. */
  #turned(): Promise<Float32Array> {
    const { weights, rows, columns, transposed, pool, signal } = this.#options;
    this.#wholeTurned ??= transposed
      ? Promise.resolve(weights)
      : transposeOnPool(pool, weights, rows, columns, signal && { signal });
    return this.#wholeTurned;
  }

  /** Columns of a span as they are now, wherever it lies: in the block, or over several blocks of which this is the first. */
  async #spanWeights(first: number, last: number, start: number, end: number): Promise<Float32Array> {
    const { weights, rows, columns, order, transposed, pool } = this.#options;
    if (first >= start && last <= end)
      return this.#block.weights.subarray((first - start) * rows, (last - start) * rows);
    let now: Float32Array;
    if (order === undefined) {
      now = transposed
        ? weights.slice(first * rows, last * rows)
        : await transposeOnPool(pool, weights, rows, columns, { first, last });
    } else {
      const turned = await this.#turned();
      now = new Float32Array((last - first) * rows);
      for (let j = first; j < last; j++)
        now.set(turned.subarray(order[j] * rows, (order[j] + 1) * rows), (j - first) * rows);
    }
    if (first > 0) {
      const moved = this.#moving.subarray(first * rows, last * rows);
      for (let i = 0; i < now.length; i++) now[i] += moved[i];
    }
    return now;
  }

  /** Errors of columns `start` to `middle` move onto columns `middle` to `end`. */
  async #move(start: number, middle: number, end: number): Promise<void> {
    const { rows, columns, factor } = this.#options;
    const [width, count] = [middle - start, end - middle];
    if (this.#coupling.length < width * count) this.#coupling = new Float32Array(width * count);
    for (let k = 0; k < count; k++) {
      const from = (middle + k) * columns + start;
      this.#coupling.set(factor.coupling.subarray(from, from + width), k * width);
    }
    const part = (from: number, to: number): Float32Array => this.#moving.subarray(from * rows, to * rows);
    const target = part(middle, end);
    await this.#products.multiply(
      { data: this.#coupling.subarray(0, width * count), rows: count, columns: width },
      { data: part(start, middle), rows: width, columns: rows },
      // The first errors that reach a column are those of all columns from 0 on.
      { into: target, ...(start > 0 && { add: target }) },
    );
  }
}
