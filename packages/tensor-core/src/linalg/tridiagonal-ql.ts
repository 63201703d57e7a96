// Eigenvalues and eigenvectors of a small symmetric tridiagonal matrix by the implicit QL method with Wilkinson's shift
// (Parlett, The Symmetric Eigenvalue Problem, ch. 8): n^3 rotations of rows, so only for the leaves of divide and conquer
// and for eigenvalues alone, which take n^2.
import { PithError } from '../errors/pith-error.ts';

/** Shifts tried for one eigenvalue; three are usual. */
const MAX_SHIFTS = 50;

/** Machine epsilon of f64. */
const EPSILON = 2 ** -52;

/**
 * Diagonalizes the tridiagonal matrix with `diagonal` (n values) and `offDiagonal` (n - 1 values), in f64.
 *
 * `diagonal` is overwritten with the eigenvalues, ascending; `offDiagonal` is destroyed. `vectors` (n x n, row i is to
 * become eigenvector i) must be the identity; left out, only eigenvalues are found.
 *
 * @throws PithError `NOT_CONVERGED` (details: index, iterations) when an eigenvalue takes more than 50 shifts.
 */
export function tridiagonalQl(diagonal: Float64Array, offDiagonal: Float64Array, vectors?: Float64Array): void {
  const n = diagonal.length;
  const e = new Float64Array(n);
  e.set(offDiagonal.subarray(0, n - 1));
  for (let low = 0; low < n; low++) {
    for (let shifts = 0; ; shifts++) {
      const high = endOfBlock(diagonal, e, low);
      if (high === low) break;
      if (shifts === MAX_SHIFTS) throw notConverged(low, shifts);
      sweep(diagonal, e, low, high, vectors);
    }
  }
  sortAscending(diagonal, vectors);
}

// The last row of the unreduced block that starts at `low`; the off-diagonal element after it counts as zero.
function endOfBlock(d: Float64Array, e: Float64Array, low: number): number {
  let high = low;
  for (; high < d.length - 1; high++) {
    const scale = Math.abs(d[high]) + Math.abs(d[high + 1]);
    if (Math.abs(e[high]) <= EPSILON * scale) {
      e[high] = 0;
      break;
    }
  }
  return high;
}

// One QL step with implicit shift on rows low..high: chases the bulge from the bottom to the top.
function sweep(d: Float64Array, e: Float64Array, low: number, high: number, vectors: Float64Array | undefined): void {
  const slope = (d[low + 1] - d[low]) / (2 * e[low]);
  const radius = Math.hypot(slope, 1);
  let g = d[high] - d[low] + e[low] / (slope + (slope >= 0 ? radius : -radius));
  let sine = 1;
  let cosine = 1;
  let shift = 0;
  for (let i = high - 1; i >= low; i--) {
    const f = sine * e[i];
    const b = cosine * e[i];
    const r = Math.hypot(f, g);
    e[i + 1] = r;
    if (r === 0) {
      // The bulge vanished: the block splits here.
      d[i + 1] -= shift;
      e[high] = 0;
      return;
    }
    sine = f / r;
    cosine = g / r;
    g = d[i + 1] - shift;
    const t = (d[i] - g) * sine + 2 * cosine * b;
    shift = sine * t;
    d[i + 1] = g + shift;
    g = cosine * t - b;
    if (vectors !== undefined) rotateRows(vectors, d.length, i, cosine, sine);
  }
  d[low] -= shift;
  e[low] = g;
  e[high] = 0;
}

function rotateRows(vectors: Float64Array, n: number, i: number, cosine: number, sine: number): void {
  const above = i * n;
  const below = above + n;
  for (let k = 0; k < n; k++) {
    const f = vectors[below + k];
    vectors[below + k] = sine * vectors[above + k] + cosine * f;
    vectors[above + k] = cosine * vectors[above + k] - sine * f;
  }
}

function sortAscending(d: Float64Array, vectors: Float64Array | undefined): void {
  const n = d.length;
  if (vectors === undefined) {
    d.sort();
    return;
  }
  const order = Array.from(d.keys()).sort((a, b) => d[a] - d[b] || a - b);
  const values = d.slice();
  const rows = vectors.slice();
  order.forEach((from, to) => {
    d[to] = values[from];
    vectors.set(rows.subarray(from * n, from * n + n), to * n);
  });
}

function notConverged(index: number, iterations: number): PithError {
  return new PithError(
    'NOT_CONVERGED',
    `tridiagonal eigenvalues: eigenvalue ${index} must settle within ${iterations} shifts, and did not; ` +
      'check the matrix for values near the limits of f64',
    { kind: 'internal', details: { index, iterations } },
  );
}
