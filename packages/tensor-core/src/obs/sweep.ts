// The column sweep on kernel threads; sweep-reference.ts is its specification.
import type { KernelPool } from '../node/kernel-pool.ts';
import { localKernels } from '../kernels/local-kernels.ts';
import type { KernelName } from '../node/kernel-job.ts';
import type { MemoryRegion } from '../node/memory-region.ts';
import type { SweepSums } from './sweep-reference.ts';

/** Rows that share sums, as in the kernel: these do not depend on how rows are spread over threads. */
const SUM_ROWS = 256;
/** Jobs for each thread: a thread that is held up does not hold up the others for long. */
const JOBS_PER_THREAD = 2;

/** A block of columns in the pool's memory, see `SweepBlock` for what the arrays mean. */
export interface PoolBlock {
  /** Rows of the weight (outputs). */
  readonly rows: number;
  /** Columns of the block (inputs). */
  readonly columns: number;
  /** f32 [columns, rows]. */
  readonly weights: Float32Array;
  /** f32 [columns, rows]: the weights before any column moved them. */
  readonly originals: Float32Array;
  /** f32 [columns, columns]. */
  readonly coupling: Float32Array;
  /** f32 [columns]. */
  readonly diagonal: Float32Array;
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
  readonly regions: Readonly<Record<PoolArray | 'sums' | 'scratch', MemoryRegion>>;
  /** Gives the memory back. */
  free(): void;
}

type PoolArray = 'weights' | 'originals' | 'coupling' | 'diagonal' | 'errors' | 'scales' | 'zeros' | 'codes' | 'mask';

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

/** How {@link sweep} goes over a block. */
export interface SweepOptions {
  /** One past the last column that errors are moved onto; the last of the block when left out. */
  readonly end?: number;
  /** Leaves rounded values in `weights`; true when left out. */
  readonly keepValues?: boolean;
  /** Stops before the sweep. */
  readonly signal?: AbortSignal;
  /** Where codes and errors go, as from the first column of the block on; into the block when left out. */
  readonly into?: { readonly codes: { readonly at: number }; readonly errors: { readonly at: number } };
}

/**
 * Sets memory aside for blocks of up to `columns` columns of a weight with `rows` rows.
 *
 * @throws PithError `KERNEL_MEMORY_EXHAUSTED`
 */
export function allocateBlock(pool: KernelPool, rows: number, columns: number): PoolBlock {
  const bytes = {
    weights: 4 * columns * rows,
    originals: 4 * columns * rows,
    coupling: 4 * columns * columns,
    diagonal: 4 * columns,
    errors: 4 * columns * rows,
    scales: 4 * columns * rows,
    zeros: 4 * columns * rows,
    codes: columns * rows,
    mask: columns * rows,
    sums: 24 * Math.ceil(rows / SUM_ROWS),
    scratch: jobRows(pool, rows).length * scratchBytes(columns),
  };
  const regions = Object.fromEntries(
    Object.entries(bytes).map(([name, length]) => [name, pool.allocate(length)]),
  ) as Record<keyof typeof bytes, MemoryRegion>;
  return {
    rows,
    columns,
    weights: regions.weights.f32,
    originals: regions.originals.f32,
    coupling: regions.coupling.f32,
    diagonal: regions.diagonal.f32,
    errors: regions.errors.f32,
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
 * `end` (the last of the block when left out). Mutates `weights`, writes `errors`, and `codes` and `mask` as the rule says. Without
 * `keepValues` what `weights` then has at the swept columns is left open.
 *
 * @returns Sums in f64; the same for any number of threads.
 * @throws PithError `STOPPED`, `KERNEL_FAILED`
 */
export async function sweep(
  pool: KernelPool,
  block: PoolBlock,
  { quantize, masked, pattern }: SweepRule,
  first: number,
  last: number,
  { end = block.columns, keepValues = true, signal, into = block.regions }: SweepOptions = {},
): Promise<SweepSums> {
  const { rows, columns, regions } = block;
  const at = (name: keyof typeof regions): number => regions[name].at;
  await onRows(pool, rows, 4 * (end - first), signal, ([from, to], job) => [
    'obsSweep',
    ...[at('weights'), at('originals'), rows, from, to, first, last, end],
    ...[at('coupling'), columns, at('diagonal')],
    ...[quantize ? 1 : 0, at('scales'), at('zeros'), quantize?.perColumn ? rows : 0],
    ...[quantize?.low ?? 0, quantize?.high ?? 0],
    ...[masked ? at('mask') : 0, pattern?.pruned ?? 0, pattern?.span ?? 1],
    ...[into.codes.at, into.errors.at, at('sums'), Number(keepValues), at('scratch') + job * scratchBytes(columns)],
  ]);
  const sums = regions.sums.f64;
  let [loss, squaredDifference, squares] = [0, 0, 0];
  for (let i = 0; i < sums.length; i += 3) {
    loss += sums[i];
    squaredDifference += sums[i + 1];
    squares += sums[i + 2];
  }
  return { loss: loss / 2, squaredDifference, squares };
}

/**
 * The first `columns` columns of `weights` become the sum of `originals` and what earlier columns add to them: f32 [columns, rows] at an
 * address of the pool, `weights` themselves when left out.
 */
export async function addOriginals(
  pool: KernelPool,
  { rows, regions }: PoolBlock,
  columns: number,
  signal?: AbortSignal,
  added: number = regions.weights.at,
): Promise<void> {
  // Columns lie one behind the other: any cut will do.
  const count = columns * rows;
  const part = Math.ceil(count / Math.max(1, pool.threads) / 64) * 64;
  const starts = Array.from({ length: Math.ceil(count / part) }, (_, i) => i * part);
  await Promise.all(
    starts.map((from) => {
      const at = (address: number): number => address + 4 * from;
      const args = [at(regions.weights.at), at(added), at(regions.originals.at), Math.min(part, count - from)];
      return pool.run([{ op: 'call', kernel: 'addF32', args }], { bytes: 4 * part, ...(signal && { signal }) });
    }),
  );
}

/** Scratch of one job, kept apart by whole cache lines. */
function scratchBytes(columns: number): number {
  return Math.ceil(localKernels().kernels.obsScratchBytes(columns) / 64) * 64;
}

/** Rows of each job on a block: whole runs of {@link SUM_ROWS}. */
export function jobRows(pool: KernelPool, rows: number): (readonly [from: number, to: number])[] {
  const units = Math.ceil(rows / SUM_ROWS);
  const jobs = pool.threads < 2 ? 1 : Math.min(units, JOBS_PER_THREAD * pool.threads);
  return Array.from({ length: jobs }, (_, job) => {
    const at = (index: number): number => Math.min(rows, Math.floor((index * units) / jobs) * SUM_ROWS);
    return [at(job), at(job + 1)] as const;
  });
}

async function onRows(
  pool: KernelPool,
  rows: number,
  bytesPerRow: number,
  signal: AbortSignal | undefined,
  call: (rows: readonly [from: number, to: number], job: number) => readonly [kernel: KernelName, ...args: number[]],
): Promise<void> {
  await Promise.all(
    jobRows(pool, rows).map((range, job) => {
      const [kernel, ...args] = call(range, job);
      const bytes = bytesPerRow * (range[1] - range[0]);
      return pool.run([{ op: 'call', kernel, args }], { bytes, ...(signal && { signal }) });
    }),
  );
}
