// Randomized SVD: the range of A is found by multiplying it with a few random vectors, and only what A is on that range is
// decomposed (Halko, Martinsson & Tropp, Finding Structure with Randomness, 2011: algorithms 4.4 and 5.1). To a tolerance,
// the range grows by blocks that are taken off the matrix (Martinsson & Voronin 2016, randQB_b), so that the error is
// measured and not estimated.
//
// Products with A run in its dtype; orthonormal bases and the small decomposition are f64.
import { z } from 'zod';
import type { Device, HostArrays } from '../device/device.ts';
import type { RunOptions } from '../progress/progress.ts';
import { randomStream } from '../random/random-stream.ts';
import { validate } from '../validation/validate.ts';
import { checkMatrix, matrixOf, scaleToOne, sumOfSquares } from './matrix.ts';
import type { RealMatrix } from './matrix.ts';
import { Products } from './products.ts';
import type { RealDType } from './products.ts';
import { fixedRange, growRange, toDType } from './random-range.ts';
import type { Range, RangeContext } from './random-range.ts';
import { decompose } from './svd.ts';

/** Options of {@link randomizedSvd}: exactly one of `rank` and `tolerance`. */
export interface RandomizedSvdOptions extends RunOptions {
  /** Singular triplets to find, 1 to min(rows, columns). */
  readonly rank?: number;
  /**
   * Finds as few triplets as keep the Frobenius norm of the error at or below this share of the norm of the matrix, from 0
   * to below 1. Rounding bounds what can be reached: about 1e-6 for f32, 1e-14 for f64.
   */
  readonly tolerance?: number;
  /** With `tolerance`: most triplets, min(rows, columns) when left out. */
  readonly maxRank?: number;
  /** With `tolerance`: random vectors added at a time; an eighth of the smaller side, 16 to 256, when left out. */
  readonly blockSize?: number;
  /** With `rank`: random vectors beyond the rank; 32 when left out. */
  readonly oversampling?: number;
  /** Times that the range is multiplied by A A^T; 2 when left out. For slowly falling singular values 3 or 4. */
  readonly powerIterations?: number;
  /** Seed of the random vectors; 0 when left out. */
  readonly seed?: number;
  /** Products of at most this many multiplications run as plain loops. */
  readonly plainWork?: number;
}

/** The leading part of a singular value decomposition: A is about u * diag(s) * v^T. */
export interface RandomizedSvd<D extends RealDType = RealDType> {
  /** Triplets found. */
  readonly rank: number;
  /** [rows, rank]; column i is left singular vector i. */
  readonly u: RealMatrix<D>;
  /** Leading singular values, **descending**, `rank` values. Never above the true ones, but for rounding. */
  readonly s: HostArrays[D];
  /** [columns, rank]; column i is right singular vector i (not transposed). */
  readonly v: RealMatrix<D>;
  /**
   * Frobenius norm of the error as a share of that of the matrix, from the difference of the squares: for f32, values below
   * 1e-3 say no more than that. With `tolerance` it is measured on what is left of the matrix.
   */
  readonly relativeError: number;
  /** With `tolerance`: whether it was reached within `maxRank`. With `rank`: true. */
  readonly toleranceReached: boolean;
  /** Times that a Gram matrix was moved further from singular than rounding asks for, to factor it. */
  readonly shifts: number;
  /** Bases for which Householder's QR took over from Cholesky QR. */
  readonly rescues: number;
}

/** The options that are data, for a matrix with this smaller side. */
const optionsSchema = (smaller: number) =>
  z
    .strictObject({
      rank: z.int().min(1).max(smaller).optional(),
      tolerance: z.number().min(0).lt(1).optional(),
      maxRank: z.int().min(1).max(smaller).optional(),
      blockSize: z.int().min(1).optional(),
      oversampling: z.int().min(0).optional(),
      powerIterations: z.int().min(0).max(100).optional(),
      seed: z.int().min(0).optional(),
      plainWork: z.number().min(0).optional(),
    })
    .refine(({ rank, tolerance }) => (rank === undefined) !== (tolerance === undefined), {
      error: 'give either rank or tolerance',
    })
    .refine(({ rank, maxRank, blockSize }) => rank === undefined || (maxRank ?? blockSize) === undefined, {
      error: 'maxRank and blockSize go with tolerance',
    })
    .refine(({ tolerance, oversampling }) => tolerance === undefined || oversampling === undefined, {
      error: 'oversampling goes with rank',
    });

/**
 * The leading singular triplets of a matrix of f32 or f64, shape [rows, columns], by random projection.
 *
 * The same seed gives the same result; random vectors come from the stream `randomized-svd` of the seed. The matrix is not
 * changed; with `tolerance` a copy of it is.
 *
 * @throws PithError `RANDOMIZED_SVD_OPTIONS` naming every bad option, `LINALG_SHAPE`, `LINALG_DTYPE`, `LINALG_NOT_FINITE`
 * before any work; `NOT_CONVERGED` (details: index, iterations); `STOPPED`; `KERNEL_MEMORY_UNAVAILABLE`.
 */
export async function randomizedSvd<D extends RealDType>(
  matrix: RealMatrix<D>,
  device: Device,
  options: RandomizedSvdOptions,
): Promise<RandomizedSvd<D>> {
  const { rows, columns, squares: given } = checkMatrix('randomized svd', matrix);
  const smaller = Math.min(rows, columns);
  const { signal: _signal, progress: _progress, ...plain } = options;
  const checked = validate(optionsSchema(smaller), plain, {
    operation: 'randomized svd options',
    code: 'RANDOMIZED_SVD_OPTIONS',
  });
  const { dtype } = matrix;
  const scale = scaleIntoRange(matrix.data, given);
  const data = scale === 1 ? matrix.data : scaled(matrix.data, scale);
  const squares = scale === 1 ? given : sumOfSquares(data);
  const context: RangeContext<D> = {
    rows,
    columns,
    products: new Products(device, dtype, options.plainWork),
    exact: new Products(device, 'f64', options.plainWork),
    powerIterations: checked.powerIterations ?? 2,
    random: randomStream(checked.seed ?? 0, 'randomized-svd'),
    options,
    counts: { shifts: 0, rescues: 0 },
  };
  try {
    const { rank, tolerance } = checked;
    const range =
      rank === undefined
        ? await growRange(data, tolerance!, checked.maxRank ?? smaller, checked.blockSize, context)
        : await fixedRange(data, Math.min(smaller, rank + (checked.oversampling ?? 32)), context);
    return await triplets(range, rank, tolerance, checked.maxRank, Math.sqrt(squares), scale, dtype, context);
  } finally {
    await context.products.dispose();
    await context.exact.dispose();
  }
}

// Decomposes A on the range: images^T = basis^T A.
async function triplets<D extends RealDType>(
  range: Range,
  wanted: number | undefined,
  tolerance: number | undefined,
  maxRank: number | undefined,
  norm: number,
  unit: number,
  dtype: D,
  { rows, columns, products, exact, options, counts }: RangeContext<D>,
): Promise<RandomizedSvd<D>> {
  const { size, basis, images, rest } = range;
  const { signal } = options;
  const found = await decompose(images, columns, size, dtype, exact, signal === undefined ? {} : { signal });
  const { values } = found;
  const total = norm * norm;
  const target = tolerance === undefined ? 0 : tolerance * tolerance * total;
  const missed = rest ?? total - values.reduce((sum, value) => sum + value * value, 0);
  let error = Math.max(0, missed);
  let rank = size;
  const most = wanted ?? Math.min(size, maxRank ?? size);
  while (rank > most || (tolerance !== undefined && rank > 1 && error + values[rank - 1] ** 2 <= target)) {
    rank--;
    error += values[rank] ** 2;
  }
  const leading = firstColumns(found.right, size, size, rank);
  const u = await products.multiply(
    { data: toDType(dtype, basis), rows, columns: size },
    { data: toDType(dtype, leading), rows: size, columns: rank },
  );
  return {
    rank,
    u: { dtype, shape: [rows, rank], data: u },
    s: matrixOf(
      dtype,
      1,
      rank,
      values.slice(0, rank).map((value) => value / unit),
    ).data,
    v: matrixOf(dtype, columns, rank, firstColumns(found.left, columns, size, rank)),
    relativeError: norm === 0 ? 0 : Math.sqrt(error) / norm,
    toleranceReached: tolerance === undefined || error <= target,
    shifts: counts.shifts,
    rescues: counts.rescues + found.rescues,
  };
}

// 1, or a power of two where the norm is not about 1: fourth powers of it and of what is left of the matrix must stay within
// the range of f32.
function scaleIntoRange(data: HostArrays[RealDType], squares: number): number {
  return squares > 2 ** -20 && squares < 2 ** 32 ? 1 : scaleToOne(data);
}

function firstColumns(data: Float64Array, rows: number, columns: number, count: number): Float64Array {
  if (count === columns) return data;
  const result = new Float64Array(rows * count);
  for (let i = 0; i < rows; i++) result.set(data.subarray(i * columns, i * columns + count), i * count);
  return result;
}

function scaled<D extends RealDType>(data: HostArrays[D], factor: number): HostArrays[D] {
  const result = data.slice() as HostArrays[D];
  for (let i = 0; i < result.length; i++) result[i] *= factor;
  return result;
}
