// Symmetric eigendecomposition A = V diag(values) V^T: blocked tridiagonalization, divide and conquer, and the reflections
// applied back. Everything is f64 inside. docs/decisions/0003-dense-factorizations.md says why this method.
import type { Device, HostArrays } from '../device/device.ts';
import type { RunOptions } from '../progress/progress.ts';
import { checkSquare, lowerScaleToOne, matrixOf } from './matrix.ts';
import type { RealMatrix } from './matrix.ts';
import { Products } from './products.ts';
import type { RealDType } from './products.ts';
import { tridiagonalEigen } from './tridiagonal-eigen.ts';
import { tridiagonalQl } from './tridiagonal-ql.ts';
import { applyReflections, tridiagonalize } from './tridiagonalize.ts';

/** Options of {@link symmetricEigen}. */
export interface SymmetricEigenOptions extends RunOptions {
  /** Columns that are reduced at a time; 64 when left out. Results differ by rounding. */
  readonly panel?: number;
  /** Largest tridiagonal matrix that is not divided; 32 when left out. Results differ by rounding. */
  readonly leafSize?: number;
  /** Products of at most this many multiplications run as plain loops. */
  readonly plainWork?: number;
}

/** A = vectors * diag(values) * vectors^T. */
export interface SymmetricEigen<D extends RealDType = RealDType> {
  /** Eigenvalues, **descending**: the largest first, as singular values come. n values. */
  readonly values: HostArrays[D];
  /** [n, n]; column i is the eigenvector of value i. The sign of a column has no meaning. */
  readonly vectors: RealMatrix<D>;
  /** Eigenvectors that divide and conquer took over unchanged, to rounding. */
  readonly deflated: number;
}

/**
 * Eigenvalues and eigenvectors of a symmetric matrix of f32 or f64, shape [n, n], of which only the lower triangle is used
 * (all values must be finite).
 *
 * Computed in f64, returned in the dtype of the input. Residual and loss of orthogonality are of the order of
 * n * eps * the largest absolute eigenvalue: small eigenvalues of a graded matrix are exact in that sense only.
 *
 * @throws PithError `LINALG_SHAPE`, `LINALG_DTYPE`, `LINALG_NOT_FINITE` before any work; `NOT_CONVERGED` (details: index,
 * iterations); `STOPPED`; `KERNEL_MEMORY_UNAVAILABLE`.
 */
export async function symmetricEigen<D extends RealDType>(
  matrix: RealMatrix<D>,
  device: Device,
  options: SymmetricEigenOptions = {},
): Promise<SymmetricEigen<D>> {
  const n = checkSquare('symmetric eigendecomposition', matrix);
  const products = new Products(device, 'f64', options.plainWork);
  try {
    const { data, dtype } = matrix;
    const { values, vectors, deflated } = await eigenF64(data, n, products, options);
    const result = matrixOf(dtype, n, n, vectors);
    return { values: matrixOf(dtype, 1, n, values).data, vectors: result, deflated };
  } finally {
    await products.dispose();
  }
}

/**
 * The eigenvalues alone, **descending**, in f64: the order of a third of the work.
 *
 * @throws PithError as {@link symmetricEigen}.
 */
export async function symmetricEigenvalues(
  matrix: RealMatrix,
  device: Device,
  options: SymmetricEigenOptions = {},
): Promise<Float64Array> {
  const n = checkSquare('symmetric eigenvalues', matrix);
  const products = new Products(device, 'f64', options.plainWork);
  try {
    const scale = lowerScaleToOne(matrix.data, n);
    const { diagonal, offDiagonal } = await tridiagonalize(
      (i, j) => matrix.data[i * n + j] * scale,
      n,
      products,
      options,
    );
    tridiagonalQl(diagonal, offDiagonal);
    return diagonal.map((value) => value / scale).reverse();
  } finally {
    await products.dispose();
  }
}

/** @internal {@link symmetricEigen} without checks, on given products. Values descending, vectors in columns. */
export async function eigenF64(
  data: HostArrays[RealDType],
  n: number,
  products: Products<'f64'>,
  options: SymmetricEigenOptions = {},
): Promise<{ values: Float64Array; vectors: Float64Array; deflated: number }> {
  const scale = lowerScaleToOne(data, n);
  const reduced = await tridiagonalize((i, j) => data[i * n + j] * scale, n, products, options);
  const { diagonal, offDiagonal } = reduced;
  const { values, vectors, deflated } = await tridiagonalEigen(diagonal, offDiagonal, products, options);
  const columns = transposeReversed(vectors, n);
  await applyReflections(reduced, columns, n, products, options.signal);
  return { values: values.map((value) => value / scale).reverse(), vectors: columns, deflated };
}

// Row i becomes column n - 1 - i, tile by tile.
function transposeReversed(rows: Float64Array, n: number): Float64Array {
  const tile = 32;
  const columns = new Float64Array(n * n);
  for (let i0 = 0; i0 < n; i0 += tile) {
    for (let j0 = 0; j0 < n; j0 += tile) {
      for (let i = i0; i < Math.min(n, i0 + tile); i++) {
        for (let j = j0; j < Math.min(n, j0 + tile); j++) columns[j * n + n - 1 - i] = rows[i * n + j];
      }
    }
  }
  return columns;
}
