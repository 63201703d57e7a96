// The whole weight, block after block: sweep a block of columns, then move its errors onto all later columns with one matrix
// product ("lazy batch updates", GPTQ section 3.3).
import * as tf from '@tensorflow/tfjs-core';
import { compile, type Program } from '../compile/compile.ts';
import type { Device } from '../device/device.ts';
import { throwIfStopped } from '../errors/pith-error.ts';
import type { KernelPool } from '../node/kernel-pool.ts';
import { allocateBlock, sweep, type PoolBlock, type SweepRule } from './sweep.ts';

/** Columns of a block where nothing asks for another size. */
export const OBS_BLOCK_COLUMNS = 128;
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
  readonly part: { readonly from: number; readonly to: number };
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
  /** f32 [rows, columns] row-major; not mutated. */
  readonly weights: Float32Array;
  readonly rows: number;
  readonly columns: number;
  /** U of H⁻¹ = UᵀU: f32 [columns, columns], upper triangular. */
  readonly factor: Float32Array;
  readonly rule: ColumnRule;
  readonly device: Device;
  readonly pool: KernelPool;
  /** Columns of a block; {@link OBS_BLOCK_COLUMNS} or what fits the span when left out. */
  readonly blockColumns?: number;
  readonly signal?: AbortSignal;
}

/** A weight after all columns were rounded. */
export interface Solution {
  /** f32 [rows, columns] row-major. */
  readonly values: Float32Array;
  /** i8 [rows, columns] row-major; all 0 where nothing was quantized. */
  readonly codes: Int8Array;
  /** u8 [rows, columns] row-major, 1 keeps; all 1 where nothing was pruned. */
  readonly mask: Uint8Array;
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

/**
 * Rounds every column of a weight in order, each one's error moved onto the columns that are still to come.
 *
 * Products in f32; the loss in f64. The result does not depend on the number of kernel threads.
 * Source: Frantar et al. 2022 (GPTQ), algorithm 1; Frantar and Alistarh 2023 (SparseGPT), algorithm 1.
 *
 * @throws PithError `STOPPED`, `KERNEL_MEMORY_EXHAUSTED`
 */
export async function solveColumns(options: SolveOptions): Promise<Solution> {
  const { weights, rows, columns, factor, rule, device, pool, signal } = options;
  const size = options.blockColumns ?? blockColumnsFor(rule.span);
  const block = allocateBlock(pool, rows, size);
  const products = new TrailingProducts(device, rows);
  let current = transpose(weights, rows, columns);
  let next: Float32Array = new Float32Array(current.length);
  const codes = new Int8Array(rows * columns);
  const mask = new Uint8Array(rows * columns).fill(1);
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
      // Finished columns are in both arrays: a long span looks back at its first columns.
      for (const array of [current, next]) array.set(block.weights.subarray(0, width * rows), start * rows);
      codes.set(block.codes.subarray(0, width * rows), start * rows);
      if (masked) mask.set(block.mask.subarray(0, width * rows), start * rows);
      await products.update(current, next, block.errors, factor, columns, start, width);
      [current, next] = [next, current];
    }
  } finally {
    block.free();
    await products.dispose();
  }
  return {
    values: transpose(current, columns, rows),
    codes: transpose(codes, columns, rows),
    mask: transpose(mask, columns, rows),
    loss,
  };
}

/** Later columns lose errors (outer) factor: next = current - UᵀE, compiled once per shape. */
class TrailingProducts {
  readonly #device: Device;
  readonly #rows: number;
  readonly #programs = new Map<string, Promise<Program>>();

  constructor(device: Device, rows: number) {
    this.#device = device;
    this.#rows = rows;
  }

  /** Writes columns `start + width` onwards of `next`. */
  async update(
    current: Float32Array,
    next: Float32Array,
    errors: Float32Array,
    factor: Float32Array,
    columns: number,
    start: number,
    width: number,
  ): Promise<void> {
    const rows = this.#rows;
    // The runtime cannot be lent memory that is shared between threads.
    const e = { dtype: 'f32' as const, shape: [width, rows], data: errors.slice(0, width * rows) };
    for (let from = start + width; from < columns;) {
      const count = Math.min(TRAILING_COLUMNS, largestPowerOfTwo(columns - from));
      const u = new Float32Array(width * count);
      for (let j = 0; j < width; j++) {
        const row = (start + j) * columns + from;
        u.set(factor.subarray(row, row + count), j * count);
      }
      const part = (array: Float32Array) => ({
        dtype: 'f32' as const,
        shape: [count, rows],
        data: array.subarray(from * rows, (from + count) * rows) as Float32Array<ArrayBuffer>,
      });
      const program = await this.#program(width, count);
      await program.run(
        { w: part(current), u: { dtype: 'f32', shape: [width, count], data: u }, e },
        { w2: part(next) },
      );
      from += count;
    }
  }

  async dispose(): Promise<void> {
    for (const program of this.#programs.values()) await (await program).dispose();
  }

  #program(width: number, count: number): Promise<Program> {
    const key = `${width}x${count}`;
    const known = this.#programs.get(key);
    if (known) return known;
    const program = compile(
      ({ w, u, e }) => ({ w2: tf.sub(w, tf.matMul(u as tf.Tensor2D, e as tf.Tensor2D, true, false)) }),
      { w: { shape: [count, this.#rows] }, u: { shape: [width, count] }, e: { shape: [width, this.#rows] } },
      this.#device,
      { name: `trailing-update-${key}` },
    );
    this.#programs.set(key, program);
    return program;
  }
}

function largestPowerOfTwo(n: number): number {
  return 2 ** Math.floor(Math.log2(n));
}

/** [rows, columns] row-major to [columns, rows], in tiles that stay in the cache. */
function transpose<T extends Float32Array | Int8Array | Uint8Array>(source: T, rows: number, columns: number): T {
  const TILE = 32;
  const target = new (source.constructor as new (length: number) => T)(source.length);
  for (let r0 = 0; r0 < rows; r0 += TILE) {
    for (let c0 = 0; c0 < columns; c0 += TILE) {
      for (let r = r0; r < Math.min(r0 + TILE, rows); r++) {
        for (let c = c0; c < Math.min(c0 + TILE, columns); c++) target[c * rows + r] = source[r * columns + c];
      }
    }
  }
  return target;
}
