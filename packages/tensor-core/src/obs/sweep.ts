// The column sweep on kernel threads; sweep-reference.ts is its specification.
import type { KernelPool } from '../node/kernel-pool.ts';
import type { MemoryRegion } from '../node/memory-region.ts';

/** Rows of one job. Fixed, so that sums do not depend on the number of threads. */
const JOB_ROWS = 256;
/** Rows of the kernel's tile: bytes of scratch per column. */
const TILE_BYTES = 64;

/** A block of columns in the pool's memory, see `SweepBlock` for what the arrays mean. */
export interface PoolBlock {
  /** Rows of the weight (outputs). */
  readonly rows: number;
  /** Columns of the block (inputs). */
  readonly columns: number;
  /** f32 [columns, rows]. */
  readonly weights: Float32Array;
  /** f32 [columns, columns]. */
  readonly factor: Float32Array;
  /** f32 [columns, rows]. */
  readonly errors: Float32Array;
  /** f32 [columns, rows]; the first [rows] alone unless the rule says `perColumn`. */
  readonly scales: Float32Array;
  /** As `scales`. */
  readonly zeros: Float32Array;
  /** i8 [columns, rows]. */
  readonly codes: Int8Array;
  /** u8 [columns, rows]. */
  readonly mask: Uint8Array;
  /** @internal Addresses of the arrays. */
  readonly regions: Readonly<Record<PoolArray | 'scratch', MemoryRegion>>;
  /** Gives the memory back. */
  free(): void;
}

type PoolArray = 'weights' | 'factor' | 'errors' | 'scales' | 'zeros' | 'codes' | 'mask';

/** How the columns of a sweep are rounded. */
export interface SweepRule {
  /** Quantize to codes between `low` and `high`; `perColumn` where each column has scales of its own. */
  readonly quantize?: {
    /** Smallest code. */
    readonly low: number;
    /** Largest code. */
    readonly high: number;
    /** Each column has scales and zero points of its own; one for each row when left out. */
    readonly perColumn?: boolean;
  };
  /** Weights whose mask is 0 become zero. */
  readonly masked: boolean;
  /** The mask is chosen by the sweep: of each `span` columns the `pruned` of least consequence go. */
  readonly pattern?: {
    /** Columns of a span that go. */
    readonly pruned: number;
    /** Neighbouring columns that are compared. */
    readonly span: number;
  };
}

/**
 * Sets memory aside for blocks of up to `columns` columns of a weight with `rows` rows.
 *
 * @throws PithError `KERNEL_MEMORY_EXHAUSTED`
 */
export function allocateBlock(pool: KernelPool, rows: number, columns: number): PoolBlock {
  const jobs = Math.ceil(rows / JOB_ROWS);
  const bytes = {
    weights: 4 * columns * rows,
    factor: 4 * columns * columns,
    // The kernel reads errors a whole tile at a time.
    errors: 4 * columns * rows + TILE_BYTES,
    scales: 4 * columns * rows,
    zeros: 4 * columns * rows,
    codes: columns * rows,
    mask: columns * rows,
    scratch: jobs * columns * TILE_BYTES,
  };
  const regions = Object.fromEntries(
    Object.entries(bytes).map(([name, length]) => [name, pool.allocate(length)]),
  ) as Record<keyof typeof bytes, MemoryRegion>;
  return {
    rows,
    columns,
    weights: regions.weights.f32,
    factor: regions.factor.f32,
    errors: regions.errors.f32.subarray(0, columns * rows),
    scales: regions.scales.f32,
    zeros: regions.zeros.f32,
    codes: regions.codes.i8,
    mask: regions.mask.u8,
    regions,
    free: () => Object.values(regions).forEach((region) => pool.free(region)),
  };
}

/**
 * Rounds columns `first` to `last` of the block in order and moves each one's error onto the columns after it, up to column
 * `end` (the last of the block when left out). Mutates `weights`, writes `errors`, and `codes` and `mask` as the rule says.
 *
 * @returns Half the sum of squared errors, f64; the same for any number of threads.
 * @throws PithError `STOPPED`, `KERNEL_FAILED`
 */
export async function sweep(
  pool: KernelPool,
  block: PoolBlock,
  { quantize, masked, pattern }: SweepRule,
  first: number,
  last: number,
  { end = block.columns, signal }: { end?: number; signal?: AbortSignal } = {},
): Promise<number> {
  const { rows, columns, regions } = block;
  const at = (name: keyof typeof regions): number => regions[name].at;
  const starts = Array.from({ length: Math.ceil(rows / JOB_ROWS) }, (_, i) => i * JOB_ROWS);
  const results = await Promise.all(
    starts.map((from, job) =>
      pool.run(
        [
          {
            op: 'call',
            kernel: 'obsSweep',
            args: [
              ...[at('weights'), rows, from, Math.min(from + JOB_ROWS, rows), first, last, end],
              ...[at('factor'), columns],
              ...[quantize ? 1 : 0, at('scales'), at('zeros'), quantize?.perColumn ? rows : 0],
              ...[quantize?.low ?? 0, quantize?.high ?? 0],
              ...[masked ? at('mask') : 0, pattern?.pruned ?? 0, pattern?.span ?? 1],
              ...[at('codes'), at('errors'), at('scratch') + job * columns * TILE_BYTES],
            ],
          },
        ],
        { bytes: 4 * rows * (end - first), ...(signal && { signal }) },
      ),
    ),
  );
  return results.reduce((total, [loss]) => total + (loss as number), 0);
}
