// The singular values of a matrix and the left singular vectors that an approximation needs: truncated SVD, which is the
// best approximation of its rank in Frobenius norm (Eckart & Young 1936).
import { randomizedSvd, svd } from '@pith/tensor-core';
import type { Device, RealMatrix } from '@pith/tensor-core';
import { relativeTail, tailEnergy } from '../factors/rank.ts';

/** What decides an approximation. */
export interface SingularBasis {
  /** Left singular vectors as columns, f32 [rows, at least the rank]. */
  readonly u: RealMatrix<'f32'>;
  /** Singular values, descending: all of them, or as many as were looked for. */
  readonly values: Float32Array;
  /** Error of an approximation of some rank, as a share of the whole by Frobenius norm. */
  relativeError(rank: number): number;
}

/** How singular vectors are found. */
export interface SingularOptions {
  /** `exact` finds all of them, `randomized` only as many as are asked for. */
  readonly solver: 'exact' | 'randomized';
  /** Needed with `randomized`. */
  readonly rank?: number;
  /** Of the random vectors. */
  readonly seed: number;
  readonly signal?: AbortSignal;
}

/** Vectors beyond the rank, as a share of it: with slowly falling singular values a few do not do. */
const OVERSAMPLING_SHARE = 1 / 16;

/**
 * Singular values and left singular vectors.
 *
 * @throws PithError as `svd` and `randomizedSvd` do.
 */
export async function singularBasis(
  matrix: RealMatrix<'f32'>,
  device: Device,
  { solver, rank, seed, signal }: SingularOptions,
): Promise<SingularBasis> {
  const run = signal ? { signal } : {};
  if (solver === 'randomized' && rank !== undefined) {
    const oversampling = Math.max(32, Math.ceil(rank * OVERSAMPLING_SHARE));
    const { u, s } = await randomizedSvd(matrix, device, { rank, oversampling, seed, ...run });
    const squares = matrix.data.reduce((sum, value) => sum + value * value, 0);
    const relativeError = (kept: number): number => {
      const rest = squares - (tailEnergy(s, 0) - tailEnergy(s, kept));
      return squares === 0 ? 0 : Math.sqrt(Math.max(0, rest) / squares);
    };
    return { u, values: s, relativeError };
  }
  const { u, s } = await svd(matrix, device, run);
  return { u, values: s, relativeError: (kept) => relativeTail(s, kept) };
}
