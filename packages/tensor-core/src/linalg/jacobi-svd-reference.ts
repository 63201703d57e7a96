// One-sided Jacobi SVD (Hestenes 1958; Demmel & Veselic 1992) in f64: rotates pairs of columns until all are orthogonal.
// Slow and exact: the specification that tests hold the fast decompositions to.
import { PithError } from '../errors/pith-error.ts';

/** Sweeps over all pairs; six to ten are usual. */
const MAX_SWEEPS = 60;

/**
 * Singular values of `data` (rows x columns, row-major, rows >= columns), descending; small ones to high relative accuracy,
 * below 2^-100 of the largest as they come.
 *
 * @throws PithError `NOT_CONVERGED` (details: iterations).
 */
export function jacobiSingularValues(data: ArrayLike<number>, rows: number, columns: number): Float64Array {
  const lines = Array.from({ length: columns }, (_, j) =>
    Float64Array.from({ length: rows }, (_, i) => data[i * columns + j]!),
  );
  // The square of what counts as a zero column: rotations would halve its exponent until it underflows.
  const zero = 2 ** -200 * Math.max(...lines.map((line) => dot(line, line)));
  for (let sweep = 0; sweep < MAX_SWEEPS; sweep++) {
    let rotated = false;
    for (let p = 0; p < columns; p++) {
      for (let q = p + 1; q < columns; q++) if (rotatePair(lines[p], lines[q], zero)) rotated = true;
    }
    if (!rotated)
      return Float64Array.from(lines, (line) => Math.sqrt(dot(line, line)))
        .sort()
        .reverse();
  }
  throw new PithError('NOT_CONVERGED', `jacobi svd: must converge within ${MAX_SWEEPS} sweeps, and did not`, {
    kind: 'internal',
    details: { iterations: MAX_SWEEPS },
  });
}

function rotatePair(x: Float64Array, y: Float64Array, zero: number): boolean {
  const [a, b, c] = [dot(x, x), dot(y, y), dot(x, y)];
  if (a <= zero || b <= zero) return false;
  // Rounding of the dot product itself.
  if (Math.abs(c) <= x.length * 2 ** -52 * Math.sqrt(a) * Math.sqrt(b)) return false;
  const zeta = (b - a) / (2 * c);
  const tangent = Math.sign(zeta || 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
  const cosine = 1 / Math.hypot(1, tangent);
  const sine = cosine * tangent;
  for (let i = 0; i < x.length; i++) {
    const value = x[i];
    x[i] = cosine * value - sine * y[i];
    y[i] = sine * value + cosine * y[i];
  }
  return true;
}

function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * y[i];
  return sum;
}
