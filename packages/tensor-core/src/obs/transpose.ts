// Matrices turned between the order of the checkpoint and that of the column sweep.
import { throwIfStopped } from '../errors/pith-error.ts';
import type { KernelPool } from '../node/kernel-pool.ts';
import type { MemoryRegion } from '../node/memory-region.ts';

/** Rows and columns of a tile. Not square: columns often lie a power of two apart, and then share few cache lines. */
const TILE_ROWS = 16;
const TILE_COLUMNS = 8;

/**
 * [rows, columns] row-major to [columns, rows].
 *
 * @param order Row i of the result is column `order[i]`; in order when left out.
 */
export function transposeMatrix<T extends Float32Array | Int8Array | Uint8Array>(
  source: T,
  rows: number,
  columns: number,
  order?: Int32Array,
): T {
  const target = new (source.constructor as new (length: number) => T)(source.length);
  for (let r0 = 0; r0 < rows; r0 += TILE_ROWS) {
    const r1 = Math.min(r0 + TILE_ROWS, rows);
    for (let c0 = 0; c0 < columns; c0 += TILE_COLUMNS) {
      const c1 = Math.min(c0 + TILE_COLUMNS, columns);
      for (let c = c0; c < c1; c++) {
        let from = r0 * columns + (order === undefined ? c : order[c]);
        const at = c * rows;
        for (let r = r0; r < r1; r++, from += columns) target[at + r] = source[from];
      }
    }
  }
  return target;
}

/** Undoes {@link transposeMatrix}: [columns, rows] to [rows, columns], row i of the source going to column `order[i]`. */
export function restoreMatrix<T extends Float32Array | Int8Array | Uint8Array>(
  source: T,
  rows: number,
  columns: number,
  order?: Int32Array,
): T {
  const target = new (source.constructor as new (length: number) => T)(source.length);
  for (let r0 = 0; r0 < rows; r0 += TILE_ROWS) {
    const r1 = Math.min(r0 + TILE_ROWS, rows);
    for (let c0 = 0; c0 < columns; c0 += TILE_COLUMNS) {
      const c1 = Math.min(c0 + TILE_COLUMNS, columns);
      for (let c = c0; c < c1; c++) {
        let at = r0 * columns + (order === undefined ? c : order[c]);
        const from = c * rows;
        for (let r = r0; r < r1; r++, at += columns) target[at] = source[from + r];
      }
    }
  }
  return target;
}

/** Rows that are turned together on the pool, and the values that keep their columns off the same cache lines. */
const POOL_ROWS = 512;
const PADDING = 16;

/** f32 [rows, columns] row-major in the pool's memory, lines some values apart, to be turned by its threads. */
export class StagedRows {
  readonly #pool: KernelPool;
  readonly #region: MemoryRegion;
  readonly #stride: number;

  /** Room for up to `rows` rows of `columns` columns. @throws PithError `KERNEL_MEMORY_EXHAUSTED` */
  constructor(pool: KernelPool, rows: number, columns: number) {
    this.#pool = pool;
    this.#stride = columns + PADDING;
    this.#region = pool.allocate(4 * rows * this.#stride);
  }

  /** Copies columns `first` to `last` of `count` rows of [.., columns] from row `row` on. */
  fill(source: Float32Array, columns: number, row: number, count: number, first: number, last: number): void {
    const target = this.#region.f32;
    const width = last - first;
    for (let r = 0; r < count; r++) {
      const from = (row + r) * columns + first;
      const to = r * this.#stride;
      // Views of short pieces cost more than their values.
      if (width > 512) target.set(source.subarray(from, from + width), to);
      else for (let c = 0; c < width; c++) target[to + c] = source[from + c];
    }
  }

  /** Rows `from` to `to`, `width` columns from `first` on, turned to [width, targetStride] at an address in the pool. */
  async turn(
    [from, to]: readonly [from: number, to: number],
    first: number,
    width: number,
    target: number,
    targetStride: number,
  ): Promise<void> {
    const at = this.#region.at + 4 * (from * this.#stride + first);
    const args = [at, to - from, width, this.#stride, target, targetStride];
    await this.#pool.run([{ op: 'call', kernel: 'transposeF32', args }], { bytes: 8 * (to - from) * width });
  }

  /** Gives the memory back. */
  free(): void {
    this.#pool.free(this.#region);
  }
}

/**
 * {@link transposeMatrix} of columns `first` to `last` of f32 on kernel threads.
 *
 * @returns [last - first, rows].
 * @throws PithError `STOPPED`, `KERNEL_MEMORY_EXHAUSTED`
 */
export async function transposeOnPool(
  pool: KernelPool,
  source: Float32Array,
  rows: number,
  columns: number,
  { first = 0, last = columns, signal }: { first?: number; last?: number; signal?: AbortSignal } = {},
): Promise<Float32Array> {
  const width = last - first;
  const values = new Float32Array(width * rows);
  await inPieces(pool, rows, signal, (most) => {
    const staged = new StagedRows(pool, most, width);
    const output = pool.allocate(4 * width * most);
    return {
      async piece(row, count) {
        staged.fill(source, columns, row, count, first, last);
        await staged.turn([0, count], 0, width, output.at, count);
        const turned = output.f32;
        for (let c = 0; c < width; c++) values.set(turned.subarray(c * count, (c + 1) * count), c * rows + row);
      },
      free() {
        staged.free();
        pool.free(output);
      },
    };
  });
  return values;
}

/** How {@link restoreOnPool} runs. */
export interface RestoreOptions {
  /** Row i of the source goes to column `order[i]`; in order when left out. */
  readonly order?: Int32Array | undefined;
  /** Stops between pieces. */
  readonly signal?: AbortSignal | undefined;
  /** Address of the source, where it lies in the pool's memory. */
  readonly at?: number | undefined;
}

/**
 * {@link restoreMatrix} of i8 on kernel threads.
 *
 * @throws PithError `STOPPED`, `KERNEL_MEMORY_EXHAUSTED`
 */
export async function restoreOnPool(
  pool: KernelPool,
  source: Int8Array,
  rows: number,
  columns: number,
  { order, signal, at }: RestoreOptions = {},
): Promise<Int8Array> {
  const values = new Int8Array(source.length);
  await inPieces(pool, rows, signal, (most) => {
    const within = order === undefined ? at : undefined;
    const [input, output] = [pool.allocate(within === undefined ? columns * most : 0), pool.allocate(columns * most)];
    return {
      async piece(first, count) {
        const given = input.i8;
        for (let c = 0; within === undefined && c < columns; c++) {
          const from = c * rows + first;
          given.set(source.subarray(from, from + count), (order === undefined ? c : order[c]) * count);
        }
        const place = within === undefined ? [input.at, columns, count] : [within + first, columns, rows];
        const args = [...place, 0, count, output.at];
        await pool.run([{ op: 'call', kernel: 'transposeI8', args }], { bytes: 2 * count * columns });
        values.set(output.i8.subarray(0, count * columns), first * columns);
      },
      free() {
        pool.free(input);
        pool.free(output);
      },
    };
  });
  return values;
}

/** One of several that work on pieces of rows at the same time. */
interface Lane {
  piece(first: number, count: number): Promise<void>;
  free(): void;
}

/** Takes all rows in pieces, one more at a time than there are threads: the next is filled while they work. */
async function inPieces(
  pool: KernelPool,
  rows: number,
  signal: AbortSignal | undefined,
  open: (rows: number) => Lane,
): Promise<void> {
  const starts = Array.from({ length: Math.ceil(rows / POOL_ROWS) }, (_, i) => i * POOL_ROWS);
  const work = async (): Promise<void> => {
    const lane = open(Math.min(POOL_ROWS, rows));
    try {
      for (let first = starts.shift(); first !== undefined; first = starts.shift()) {
        throwIfStopped(signal, 'transpose');
        await lane.piece(first, Math.min(POOL_ROWS, rows - first));
      }
    } finally {
      lane.free();
    }
  };
  const lanes = await Promise.allSettled(Array.from({ length: Math.min(starts.length, pool.threads + 1) }, work));
  const failed = lanes.find((one) => one.status === 'rejected');
  if (failed) throw failed.reason as Error;
}
