// Singular value decomposition A = U diag(s) V^T through the Gram matrix: eigenvectors of A^T A are V, and A V is U times
// the singular values. On its own that loses singular values below sqrt(eps) times the largest; so only those well above
// are taken, and what is left of the matrix, which is smaller in norm and in size, is decomposed again. Arithmetic is f64.
import type { Device, HostArrays } from '../device/device.ts';
import type { RunOptions } from '../progress/progress.ts';
import { checkMatrix, matrixOf, scaleToOne, scaledCopy } from './matrix.ts';
import type { RealMatrix } from './matrix.ts';
import { columnNorms, inverses, orthonormalColumns, scaleColumns } from './orthonormal-columns.ts';
import { Products } from './products.ts';
import type { RealDType } from './products.ts';
import { eigenF64 } from './symmetric-eigen.ts';

const EPSILON = 2 ** -52;

/**
 * Share of the largest singular value down to which one pass takes singular values. What a pass neglects is about
 * eps / share of the largest: 2^-32 where f32 is asked for, 16 eps where f64 is.
 */
const TAKEN_SHARE = { f32: 2 ** -20, f64: 2 ** -4 } as const;

/** For f32, columns of A V down to this share are orthogonal as they are, to 2^-26. */
const ORTHOGONAL_SHARE = 2 ** -13;

/** Options of {@link svd}. */
export interface SvdOptions extends RunOptions {
  /** Columns that the eigendecomposition reduces at a time; 64 when left out. Results differ by rounding. */
  readonly panel?: number;
  /** Largest tridiagonal matrix that the eigendecomposition does not divide; 32 when left out. */
  readonly leafSize?: number;
  /** Products of at most this many multiplications run as plain loops. */
  readonly plainWork?: number;
}

/** A = u * diag(s) * v^T, thin: k = min(rows, columns). */
export interface Svd<D extends RealDType = RealDType> {
  /** [rows, k]; column i is left singular vector i. */
  readonly u: RealMatrix<D>;
  /** Singular values, **descending**, k values, none negative. */
  readonly s: HostArrays[D];
  /** [columns, k]; column i is right singular vector i (not transposed). */
  readonly v: RealMatrix<D>;
  /** Passes over what was left of the matrix: 1 for a well-conditioned one. */
  readonly passes: number;
  /** Bases for which Householder's QR took over from Cholesky QR, as for matrices without full rank. */
  readonly rescues: number;
}

/**
 * The thin singular value decomposition of a matrix of f32 or f64, shape [rows, columns], of any rank.
 *
 * Computed in f64, returned in the dtype of the input. The residual is of the order of k * eps * the largest singular value,
 * the loss of orthogonality of k * eps: small singular values are exact in that sense only.
 *
 * @throws PithError `LINALG_SHAPE`, `LINALG_DTYPE`, `LINALG_NOT_FINITE` before any work; `NOT_CONVERGED` (details: index,
 * iterations); `STOPPED`; `KERNEL_MEMORY_UNAVAILABLE`.
 */
export async function svd<D extends RealDType>(
  matrix: RealMatrix<D>,
  device: Device,
  options: SvdOptions = {},
): Promise<Svd<D>> {
  const { rows, columns } = checkMatrix('svd', matrix);
  const { dtype, data } = matrix;
  const products = new Products(device, 'f64', options.plainWork);
  try {
    const scale = scaleToOne(data);
    const wide = rows < columns;
    const [m, n] = wide ? [columns, rows] : [rows, columns];
    const tall = wide ? transposedScaled(data, rows, columns, scale) : scaledCopy(data, scale);
    const { left, values, right, passes, rescues } = await decompose(tall, m, n, dtype, products, options);
    const [u, v] = wide ? [right, left] : [left, right];
    return {
      u: matrixOf(dtype, rows, n, u),
      s: matrixOf(
        dtype,
        1,
        n,
        values.map((value) => value / scale),
      ).data,
      v: matrixOf(dtype, columns, n, v),
      passes,
      rescues,
    };
  } finally {
    await products.dispose();
  }
}

/** @internal What {@link decompose} finds: data (m x n) = left (m x n) * diag(values) * right^T (n x n). */
export interface Decomposition {
  readonly left: Float64Array;
  readonly values: Float64Array;
  readonly right: Float64Array;
  readonly passes: number;
  readonly rescues: number;
}

/** @internal {@link svd} of a tall matrix (m >= n) without checks, to the precision of `dtype`. `data` is not changed. */
export async function decompose(
  data: Float64Array,
  m: number,
  n: number,
  dtype: RealDType,
  products: Products<'f64'>,
  options: SvdOptions = {},
): Promise<Decomposition> {
  const values = new Float64Array(n);
  let left: Float64Array = new Float64Array(0);
  let right = left;
  let rest = { data, rows: m, size: n };
  let [passes, rescues, norm, found] = [0, 0, 0, 0];
  for (;;) {
    const pass = await decomposeOnce(rest.data, rest.rows, rest.size, dtype, products, options);
    passes++;
    if (pass.rescued) rescues++;
    const { basis, diagonal, vectors, triangle } = pass;
    const largest = Math.abs(diagonal[0]);
    if (passes === 1) {
      norm = largest;
      left = basis;
      right = vectors;
    } else {
      await rotateLast(left, m, n, basis, rest.size, products);
      await rotateLast(right, n, n, vectors, rest.size, products);
    }
    let taken = rest.size;
    if (triangle !== undefined && largest > n * EPSILON * norm) {
      taken = diagonal.findIndex((value) => Math.abs(value) < TAKEN_SHARE[dtype] * largest);
      if (taken < 0) taken = rest.size;
    }
    values.set(diagonal.subarray(0, taken), found);
    found += taken;
    if (found === n || triangle === undefined) break;
    rest = lowerRight(triangle, rest.size, taken);
  }
  return { ...sorted(left, m, values, right, n), passes, rescues };
}

interface Pass {
  /** Orthonormal, rows x size. */
  readonly basis: Float64Array;
  /** What stands for the singular values; signs may be negative. */
  readonly diagonal: Float64Array;
  /** Orthogonal, size x size. */
  readonly vectors: Float64Array;
  /** basis^T data vectors, where it is not diagonal to the precision asked for. */
  readonly triangle: Float64Array | undefined;
  readonly rescued: boolean;
}

async function decomposeOnce(
  data: Float64Array,
  rows: number,
  size: number,
  dtype: RealDType,
  products: Products<'f64'>,
  options: SvdOptions,
): Promise<Pass> {
  const operand = { data, rows, columns: size };
  const gram = await products.multiply({ ...operand, transpose: true }, operand);
  const { vectors } = await eigenF64(gram, size, products, options);
  const images = await products.multiply(operand, { data: vectors, rows: size, columns: size });
  const norms = columnNorms(images, size);
  if (dtype === 'f32' && norms[0] > 0 && norms.every((norm) => norm >= ORTHOGONAL_SHARE * norms[0])) {
    const basis = scaleColumns(images, size, inverses(norms), images);
    return { basis, diagonal: norms, vectors, triangle: undefined, rescued: false };
  }
  const { q, r, rescued } = await orthonormalColumns(images, rows, size, dtype, products, options.signal);
  const diagonal = Float64Array.from({ length: size }, (_, i) => r[i * size + i]);
  return { basis: q, diagonal, vectors, triangle: r, rescued };
}

// The last `size` columns of `matrix` (rows x columns) times `rotation` (size x size).
async function rotateLast(
  matrix: Float64Array,
  rows: number,
  columns: number,
  rotation: Float64Array,
  size: number,
  products: Products<'f64'>,
): Promise<void> {
  const first = columns - size;
  const part = new Float64Array(rows * size);
  for (let i = 0; i < rows; i++) part.set(matrix.subarray(i * columns + first, (i + 1) * columns), i * size);
  const rotated = await products.multiply(
    { data: part, rows, columns: size },
    { data: rotation, rows: size, columns: size },
  );
  for (let i = 0; i < rows; i++) matrix.set(rotated.subarray(i * size, (i + 1) * size), i * columns + first);
}

function lowerRight(
  triangle: Float64Array,
  size: number,
  first: number,
): { data: Float64Array; rows: number; size: number } {
  const rest = size - first;
  const data = new Float64Array(rest * rest);
  for (let i = 0; i < rest; i++) {
    data.set(triangle.subarray((first + i) * size + first, (first + i + 1) * size), i * rest);
  }
  return { data, rows: rest, size: rest };
}

// Values made positive and put in descending order, with their vectors.
function sorted(
  left: Float64Array,
  m: number,
  values: Float64Array,
  right: Float64Array,
  n: number,
): { left: Float64Array; values: Float64Array; right: Float64Array } {
  if (values.every((value, i) => value >= 0 && (i === 0 || value <= values[i - 1]))) return { left, values, right };
  const order = Array.from(values.keys()).sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]) || a - b);
  const gather = (matrix: Float64Array, rows: number, signs: boolean): Float64Array => {
    const result = new Float64Array(rows * n);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < n; j++) {
        const value = matrix[i * n + order[j]];
        result[i * n + j] = signs && values[order[j]] < 0 ? -value : value;
      }
    }
    return result;
  };
  return {
    left: gather(left, m, true),
    values: Float64Array.from(order, (i) => Math.abs(values[i])),
    right: gather(right, n, false),
  };
}

function transposedScaled(data: HostArrays[RealDType], rows: number, columns: number, scale: number): Float64Array {
  const result = new Float64Array(data.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) result[j * rows + i] = data[i * columns + j] * scale;
  }
  return result;
}
