// Scales of columns on kernel threads; column-scales-reference.ts is the specification.
import { PithError } from '@pith/tensor-core';
import type { KernelPool, MemoryRegion } from '@pith/tensor-core/node';
import type { ScaleSearch } from './column-scales-reference.ts';

/** Rows of one job. */
const JOB_ROWS = 256;
/** Bytes of a tile of the kernel's scratch for each column, and for what it keeps beside them. */
const TILE_BYTES = 64;
const TILE_EXTRA = 8 * TILE_BYTES;
const SCALE_DTYPES = { f32: 0, f16: 1, bf16: 2 } as const;

/** Scales and zero points of the rows, f32 [rows] each. */
export interface RowScales {
  readonly scales: Float32Array;
  readonly zeros: Float32Array;
}

/** Where f32 values lie transposed, [columns, rows]: row r of column c at c * rows + r. */
interface TransposedValues {
  readonly rows: number;
  readonly columns: number;
  /** The values; copied to the pool's memory unless they lie there. */
  readonly values: Float32Array;
}

/** Chooses scales of one weight on the pool. Free it when the weight is done. */
export class ColumnScales {
  readonly #pool: KernelPool;
  readonly #search: ScaleSearch;
  readonly #name: string;
  readonly #factors: MemoryRegion;
  readonly #regions: MemoryRegion[] = [];

  /** `name` is the tensor's, for errors. @throws PithError `KERNEL_MEMORY_EXHAUSTED` */
  constructor(pool: KernelPool, search: ScaleSearch, name: string) {
    this.#pool = pool;
    this.#search = search;
    this.#name = name;
    this.#factors = this.#allocate(4 * search.factors.length);
    this.#factors.f32.set(search.factors);
  }

  /**
   * The scales of columns `first` to `last`, one for each row.
   *
   * @param importance f32 [last - first]: what the error of a column is multiplied by.
   * @param into Receives them: f32 [rows] each.
   * @throws PithError `SCALE_OVERFLOW` where a scale is too large for its dtype, `STOPPED`
   */
  async choose(
    { rows, values }: TransposedValues,
    [first, last]: readonly [first: number, last: number],
    importance: Float32Array | undefined,
    into: RowScales,
    signal?: AbortSignal,
  ): Promise<void> {
    const count = last - first;
    const inPool = values.buffer === this.#factors.f32.buffer;
    const jobs: Promise<void>[] = [];
    // Slots are reused by every (threads + 1)th job, which waits for the one before it.
    const slots = Math.min(Math.ceil(rows / JOB_ROWS), this.#pool.threads + 1);
    const bytes = {
      importance: importance ? 4 * count : 0,
      values: inPool ? 0 : 4 * count * JOB_ROWS,
      scratch: count * TILE_BYTES + TILE_EXTRA,
      results: 8 * rows,
    };
    const held = [this.#allocate(bytes.importance), this.#allocate(bytes.results)];
    const [weighting, results] = held as [MemoryRegion, MemoryRegion];
    const work = Array.from(
      { length: slots },
      () => [this.#allocate(bytes.values), this.#allocate(bytes.scratch)] as const,
    );
    if (importance) weighting.f32.set(importance);
    const ends: Promise<void>[] = [];
    const job = async (index: number, from: number): Promise<void> => {
      const slot = index % slots;
      const [copy, scratch] = work[slot]!;
      const to = Math.min(rows, from + JOB_ROWS);
      if (!inPool) {
        const target = copy.f32;
        for (let c = 0; c < count; c++) {
          const at = (first + c) * rows;
          target.set(values.subarray(at + from, at + to), c * JOB_ROWS);
        }
      }
      const place = inPool
        ? [values.byteOffset, rows, from, to, first, last]
        : [copy.at, JOB_ROWS, 0, to - from, 0, count];
      const { scheme, absolute, factors, norm } = this.#search;
      const out = inPool ? 0 : 4 * from;
      const args = [
        ...place,
        importance ? weighting.at : 0,
        ...[scheme.bits, Number(!scheme.symmetric), Number(absolute), SCALE_DTYPES[scheme.scaleDType]],
        ...[this.#factors.at, factors.length, norm],
        ...[results.at + out, results.at + 4 * rows + out, scratch.at],
      ];
      const steps = [{ op: 'call', kernel: 'obsScales', args }] as const;
      await this.#pool.run(steps, { bytes: 4 * count * (to - from) * factors.length, ...(signal && { signal }) });
    };
    try {
      for (let from = 0, index = 0; from < rows; from += JOB_ROWS, index++) {
        if (index >= slots) await ends[index - slots];
        ends[index] = job(index, from);
        jobs.push(ends[index]!);
      }
      await Promise.all(jobs);
      into.scales.set(results.f32.subarray(0, rows));
      into.zeros.set(results.f32.subarray(rows, 2 * rows));
    } finally {
      // Nothing may be freed that a job still writes to.
      await Promise.allSettled(jobs);
      for (const region of [...held, ...work.flat()]) this.#free(region);
    }
    this.#requireFinite(into.scales);
  }

  /** Gives the memory back. */
  free(): void {
    for (const region of this.#regions.splice(0)) this.#pool.free(region);
  }

  #allocate(bytes: number): MemoryRegion {
    const region = this.#pool.allocate(bytes);
    this.#regions.push(region);
    return region;
  }

  #free(region: MemoryRegion): void {
    this.#regions.splice(this.#regions.indexOf(region), 1);
    this.#pool.free(region);
  }

  #requireFinite(scales: Float32Array): void {
    const row = scales.findIndex((scale) => !Number.isFinite(scale));
    if (row < 0) return;
    const { scaleDType } = this.#search.scheme;
    throw new PithError(
      'SCALE_OVERFLOW',
      `quantize ${this.#name}: the scale of row ${row} must be finite in ${scaleDType}, got ${scales[row]}; store scales in ` +
        'f32 or bf16',
      { details: { tensor: this.#name, scaleDType, row } },
    );
  }
}
