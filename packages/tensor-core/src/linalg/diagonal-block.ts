// Cholesky and triangular inversion of one block on the diagonal, in f64, by the kernels for lines of f64. They do what
// cholesky-reference.ts does, with sums in another order.
import { SCRATCH_BYTES, localKernels } from '../kernels/local-kernels.ts';
import { choleskyReference, invertLowerReference, notPositiveDefinite } from './cholesky-reference.ts';

/** Most rows that the scratch memory of the kernels has room for: a block, its inverse and a line. */
const MAX_ROWS = 170;

/** Blocks of fewer rows are done faster by plain loops. */
const MIN_ROWS = 16;

/**
 * Overwrites the lower triangle of a symmetric positive definite block with its Cholesky factor L, A = L L^T.
 *
 * @param a [n, n] row-major; the upper triangle becomes zero.
 * @param inverse Receives L^-1, [n, n], zero above the diagonal.
 * @param offset Added to the index of a pivot in errors.
 * @throws PithError `NOT_POSITIVE_DEFINITE`
 */
export function factorDiagonalBlock(a: Float64Array, inverse: Float64Array, n: number, offset: number): void {
  if (n < MIN_ROWS || n > MAX_ROWS) {
    choleskyReference(a, n, offset);
    clearUpper(a, n);
    inverse.set(a);
    invertLowerReference(inverse, n, offset);
    return;
  }
  const { kernels, scratch, bytes } = localKernels();
  const lines = new Float64Array(bytes.buffer, scratch, SCRATCH_BYTES / 8);
  const at = (index: number): number => scratch + 8 * index;
  const [l, x, dots] = [0, n * n, 2 * n * n];
  lines.set(a, l);
  for (let j = 0; j < n; j++) {
    // What the columns before j have to do with column j, for row j and all rows below it.
    kernels.lineDotsF64(at(l + j * n), n, n - j, at(l + j * n), j, at(dots));
    const pivot = lines[l + j * n + j] - lines[dots];
    if (!(pivot > 0 && pivot < Infinity)) throw notPositiveDefinite(offset + j, pivot);
    const root = Math.sqrt(pivot);
    lines[l + j * n + j] = root;
    for (let i = j + 1, to = l + i * n + j; i < n; i++, to += n) lines[to] = (lines[to] - lines[dots + i - j]) / root;
  }
  // Row i of the inverse is -(row i of L, left of the diagonal) · (rows above, done already) / L[i, i].
  lines.fill(0, x, x + n * n);
  for (let i = 0; i < n; i++) {
    kernels.combineLinesF64(at(x), n, i, at(l + i * n), at(x + i * n), i);
    const diagonal = 1 / lines[l + i * n + i];
    for (let j = x + i * n; j < x + i * n + i; j++) lines[j] *= -diagonal;
    lines[x + i * n + i] = diagonal;
  }
  a.set(lines.subarray(l, l + n * n));
  clearUpper(a, n);
  inverse.set(lines.subarray(x, x + n * n));
}

function clearUpper(a: Float64Array, n: number): void {
  for (let i = 0; i < n; i++) a.fill(0, i * n + i + 1, (i + 1) * n);
}
