// Truncation-aware whitening (Wang et al. 2024, SVD-LLM, section 3.1): with X^T X = S S^T, the error that leaving out singular
// values of W S makes in the outputs W X^T is exactly the norm of those values.
//
// S is the Cholesky factor. Where inputs span less than their space (dead channels, fewer tokens than channels) there is none;
// then S = Q sqrt(Lambda) from the eigendecomposition, which serves as well: any S with S S^T = X^T X does.
import { cholesky, isPithError, Products, symmetricEigen } from '@pith/tensor-core';
import type { Device, RealMatrix } from '@pith/tensor-core';

/** A square root of a Gram matrix. */
export interface Whitening {
  /** f64 [in features, in features] row-major, S with S S^T = X^T X. */
  readonly root: RealMatrix<'f64'>;
  /** Set where Cholesky's factorization broke down. */
  readonly rescue?: WhiteningRescue;
}

/** What had to be done where the Gram matrix is singular. */
export interface WhiteningRescue {
  /** The pivot that was not positive, counted from 0. */
  readonly pivot: number;
  /** Eigenvalues below the rounding of the Gram matrix, which count as zero. */
  readonly zeroEigenvalues: number;
  /** Of the Gram matrix. */
  readonly largestEigenvalue: number;
}

/**
 * Whitening of inputs with this Gram matrix.
 *
 * @param gram X^T X, f64 [n, n] row-major, symmetric to f32 rounding. Not changed.
 * @throws PithError `LINALG_NOT_FINITE`, `NOT_CONVERGED`, `STOPPED`.
 */
export async function whitening(
  gram: Float64Array,
  n: number,
  device: Device,
  signal?: AbortSignal,
): Promise<Whitening> {
  const options = signal ? { signal } : {};
  const matrix = { dtype: 'f64' as const, shape: [n, n], data: gram as Float64Array };
  try {
    return { root: await cholesky(matrix, device, options) };
  } catch (error) {
    if (!isPithError(error) || error.code !== 'NOT_POSITIVE_DEFINITE') throw error;
    const { values, vectors } = await symmetricEigen(matrix, device, options);
    const largest = Math.max(0, values[0]);
    // The Gram matrix comes from f32 products.
    const least = largest * n * 2 ** -24;
    const roots = values.map((value) => (value > least ? Math.sqrt(value) : 0));
    // Inputs that are all zero say nothing: the weight is taken as it is.
    const root = vectors.data.map((value, i) => value * (largest > 0 ? roots[i % n] : 1));
    const zeroEigenvalues = roots.reduce((count, value) => count + (value === 0 ? 1 : 0), 0);
    const pivot = Number(error.details?.['index'] ?? 0);
    return {
      root: { ...matrix, data: root },
      rescue: { pivot, zeroEigenvalues, largestEigenvalue: largest },
    };
  }
}

/** W S by a power of two. */
export interface Whitened {
  /** f32 [rows, n]. */
  readonly matrix: RealMatrix<'f32'>;
  /** What W S was multiplied by. */
  readonly scale: number;
}

/** W S, products in f64. */
export async function whiten(matrix: RealMatrix<'f32'>, { root }: Whitening, device: Device): Promise<Whitened> {
  const [rows, columns] = matrix.shape;
  const products = new Products(device, 'f64');
  try {
    const result = await products.multiply(
      { data: Float64Array.from(matrix.data), rows, columns },
      { data: root.data, rows: columns, columns },
    );
    // Inputs in the millions would leave the range of f32; the power of two is taken out of all values alike.
    const largest = result.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const scale = largest === 0 ? 1 : 2 ** -Math.max(-1022, Math.floor(Math.log2(largest)));
    const data = Float32Array.from(result, (value) => value * scale);
    return { matrix: { dtype: 'f32', shape: [rows, columns], data }, scale };
  } finally {
    await products.dispose();
  }
}
