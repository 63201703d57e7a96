// Cholesky and triangular inversion one value at a time, in f64. They are the specification of the blocked versions, and
// what these use for the blocks on the diagonal.
import { PithError } from '../errors/pith-error.ts';

/**
 * Overwrites the lower triangle of a symmetric positive definite matrix with its Cholesky factor L, A = L L^T; the upper
 * triangle is neither read nor written. Row by row (Golub & Van Loan 2013, section 4.2.5, with sums in f64).
 *
 * @param a [n, n] row-major.
 * @param offset Added to the index of a pivot in errors: where this block begins in a larger matrix.
 * @throws PithError `NOT_POSITIVE_DEFINITE` with the pivot's index and value; `a` is then half done.
 */
export function choleskyReference(a: Float64Array, n: number, offset = 0): void {
  for (let i = 0; i < n; i++) {
    const rowI = i * n;
    for (let j = 0; j < i; j++) {
      const rowJ = j * n;
      let sum = a[rowI + j]!;
      for (let k = 0; k < j; k++) sum -= a[rowI + k]! * a[rowJ + k]!;
      a[rowI + j] = sum / a[rowJ + j]!;
    }
    let pivot = a[rowI + i]!;
    for (let k = 0; k < i; k++) pivot -= a[rowI + k]! * a[rowI + k]!;
    if (!(pivot > 0 && pivot < Infinity)) throw notPositiveDefinite(offset + i, pivot);
    a[rowI + i] = Math.sqrt(pivot);
  }
}

/**
 * Overwrites a lower triangular matrix with its inverse; the upper triangle is neither read nor written.
 *
 * @param l [n, n] row-major.
 * @param offset Added to the index of a pivot in errors.
 * @throws PithError `SINGULAR_TRIANGLE` with the index and value of a diagonal element that is zero or not finite; `l` is
 * then unchanged.
 */
export function invertLowerReference(l: Float64Array, n: number, offset = 0): void {
  for (let i = 0; i < n; i++) {
    const pivot = l[i * n + i]!;
    if (pivot === 0 || !Number.isFinite(pivot)) throw singular(offset + i, pivot);
  }
  // Row i of the inverse is -(row i of L, left of the diagonal) · (rows above, done already) / L[i, i].
  for (let i = 0; i < n; i++) {
    const inverse = 1 / l[i * n + i]!;
    for (let j = 0; j < i; j++) {
      let sum = 0;
      for (let k = j; k < i; k++) sum += l[i * n + k]! * l[k * n + j]!;
      l[i * n + j] = -sum * inverse;
    }
    l[i * n + i] = inverse;
  }
}

/** The error of a pivot that is not a positive number. */
export function notPositiveDefinite(index: number, pivot: number): PithError {
  return new PithError(
    'NOT_POSITIVE_DEFINITE',
    `cholesky: every pivot must be positive, got ${pivot} at index ${index}; the matrix is not positive definite: add to ` +
      'its diagonal (damping), or factor it in f64',
    { details: { index, pivot } },
  );
}

function singular(index: number, pivot: number): PithError {
  return new PithError(
    'SINGULAR_TRIANGLE',
    `triangular inverse: no diagonal element may be zero or infinite, got ${pivot} at index ${index}`,
    { details: { index, pivot } },
  );
}
