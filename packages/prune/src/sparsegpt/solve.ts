// SparseGPT: Optimal Brain Surgeon over the columns of a weight. In each block of columns the weights that the output misses
// least go, and the columns behind each one make up for it.
//
// Source: Frantar and Alistarh 2023, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot", algorithm 1
// and section 3.4 (the mask is chosen block by block, from weights that earlier blocks have already moved).
import {
  blockColumnsFor,
  columnSolveBytes,
  solveColumns,
  sweepFactor,
  transposeOnPool,
  type ColumnRounding,
  type ColumnRule,
  type Device,
  type DType,
  type QuantizedWeight,
  type SweepFactor,
} from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';
import { prunedCount, type SparsityPattern } from '../pattern/pattern.ts';
import { blockSelection } from './block-selection.ts';

/** A weight to make sparse. */
export interface SparsifyTarget {
  /** Checkpoint name. */
  readonly name: string;
  /** Dtype that it is stored in, for the scales of a rounding. */
  readonly dtype: DType;
  /** Output channels. */
  readonly rows: number;
  /** Input channels. */
  readonly columns: number;
  /** f32 [rows, columns] row-major, finite; not mutated. */
  readonly weights: Float32Array;
  /** XᵀX of its inputs, f64 [columns, columns]; not mutated. */
  readonly gram: Float64Array;
}

/** How {@link sparsify} works. */
export interface SparsifyOptions {
  /** What is to go. */
  readonly pattern: SparsityPattern;
  /** Share of the mean of the diagonal that is added to it. */
  readonly damping: number;
  /** Columns of a block, about: blocks do not cut groups or runs. */
  readonly blockColumns: number;
  /** Quantizes what stays. */
  readonly rounding?: ColumnRounding;
  /** Where products run. */
  readonly device: Device;
  /** Threads of the sweep. */
  readonly pool: KernelPool;
  /** Stops the work between two blocks. */
  readonly signal?: AbortSignal;
}

/** A sparse weight. */
export interface Sparsified {
  /** f32 [rows, columns] row-major; +0 where pruned. */
  readonly values: Float32Array;
  /** u8 [rows, columns], 1 where a weight stays. */
  readonly mask: Uint8Array;
  /** With a rounding: the quantized weight. */
  readonly quantized?: QuantizedWeight;
  /** Squared error of the output over the calibration tokens, damping included: tr((W - W') H (W - W')ᵀ). f64. */
  readonly squaredError: number;
  /** How the Gram matrix was factored. */
  readonly factor: SweepFactor;
}

/**
 * Makes a weight sparse and moves what is left so that the output changes least.
 *
 * Weights of columns that no token reached become zero, unless no token reached any. Products in f32, the error in f64.
 *
 * @throws PithError `GRAM_NOT_FINITE`, `GRAM_NOT_POSITIVE`, `STOPPED`, and what the rounding throws.
 */
export async function sparsify(target: SparsifyTarget, options: SparsifyOptions): Promise<Sparsified> {
  const { name, rows, columns } = target;
  const { damping, device, pool, signal } = options;
  const stop = signal && { signal };
  const factor = await sweepFactor(target.gram, columns, device, { damping, label: name, ...stop });
  const bytes = columnSolveBytes(rows, columns, Math.min(columns, 2 * options.blockColumns));
  return pool.near(bytes, (near) => sparsifyOn(target, factor, { ...options, pool: near }));
}

async function sparsifyOn(target: SparsifyTarget, factor: SweepFactor, options: SparsifyOptions): Promise<Sparsified> {
  const { name, dtype, rows, columns } = target;
  const { pattern, rounding, device, pool, signal } = options;
  const stop = signal && { signal };
  const weights = withoutDead(target, factor.deadColumns);
  const importance = Float64Array.from({ length: columns }, (_, i) => target.gram[i * (columns + 1)]!);
  const turned = () => transposeOnPool(pool, weights, rows, columns, stop);
  const run =
    rounding && (await rounding.begin({ name, dtype, rows, columns, weights: turned, importance }, pool, signal));
  const runLength = pattern.kind === 'n:m' ? pattern.of : 1;
  const span = run?.span ?? columns;
  const blockColumns = Math.min(columns, blockSize(options.blockColumns, span === columns ? 1 : span, runLength));
  const choose = pattern.kind === 'unstructured' ? blockSelection(pool, rows, blockColumns) : undefined;
  const rule: ColumnRule = {
    span,
    async decide(columnsOf, block, at) {
      const start = columnsOf.first + columnsOf.part.from - at;
      if (pattern.kind === 'unstructured' && at === 0) {
        const width = Math.min(blockColumns, columns - start);
        await choose!.mask(
          block,
          factor.pivots.subarray(start, start + width),
          prunedCount(rows * width, pattern.sparsity),
          signal,
        );
      }
      const quantize = await run?.decide(columnsOf, block, at);
      return {
        masked: true,
        ...(quantize && { quantize }),
        ...(pattern.kind === 'n:m' && { pattern: { pruned: pattern.of - pattern.kept, span: pattern.of } }),
      };
    },
  };
  try {
    const solution = await solveColumns({
      ...{ weights, rows, columns, factor, rule, device, pool, blockColumns },
      ...stop,
    });
    return {
      values: solution.values,
      mask: solution.mask,
      ...(run && { quantized: run.finish(solution.codes) }),
      squaredError: 2 * solution.loss,
      factor,
    };
  } finally {
    choose?.free();
  }
}

/** Largest block up to `limit` that neither groups nor runs cut. */
function blockSize(limit: number, span: number, run: number): number {
  const unit = (span / gcd(span, run)) * run;
  return unit > limit ? unit : blockColumnsFor(unit, limit);
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

function withoutDead({ weights, columns }: SparsifyTarget, dead: readonly number[]): Float32Array {
  if (dead.length === 0 || dead.length === columns) return weights;
  const cleared = weights.slice();
  for (const column of dead) for (let i = column; i < cleared.length; i += columns) cleared[i] = 0;
  return cleared;
}
