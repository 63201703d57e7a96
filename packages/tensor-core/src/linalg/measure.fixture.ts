// What the tests of the factorizations measure with. Not exported by the package.
import type { RealMatrix } from './matrix.ts';
import type { RealDType } from './products.ts';

/** Distance of 1 to the next number. */
export const EPSILON: Readonly<Record<RealDType, number>> = { f32: 2 ** -23, f64: 2 ** -52 };

/** Shapes that no block divides. */
export const SHAPES: readonly (readonly [number, number])[] = [
  [1, 1],
  [2, 2],
  [1, 5],
  [7, 3],
  [3, 7],
  [31, 31],
  [33, 33],
  [129, 129],
  [300, 70],
  [70, 300],
];

/** Numbers between -0.5 and 0.5 from a linear congruence: enough for tests, and independent of the package's own. */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
}

/** A matrix of `element(i, j)`. */
export function build<D extends RealDType>(
  dtype: D,
  rows: number,
  columns: number,
  element: (i: number, j: number) => number,
): RealMatrix<D> {
  const data = dtype === 'f32' ? new Float32Array(rows * columns) : new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) data[i * columns + j] = element(i, j);
  return { dtype, shape: [rows, columns], data } as unknown as RealMatrix<D>;
}

/** The largest element of |Q^T Q - I|. */
export function orthogonalityError({ shape, data }: RealMatrix): number {
  const [rows, columns] = shape;
  const gram = new Float64Array(columns * columns);
  for (let r = 0; r < rows; r++) {
    for (let i = 0; i < columns; i++) {
      const x = data[r * columns + i]!;
      for (let j = 0; j <= i; j++) gram[i * columns + j] += x * data[r * columns + j]!;
    }
  }
  let worst = 0;
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j <= i; j++) worst = Math.max(worst, Math.abs(gram[i * columns + j] - (i === j ? 1 : 0)));
  }
  return worst;
}

/** The largest element of |A - X diag(s) Y^T|. */
export function reconstructionError(a: RealMatrix, x: RealMatrix, s: ArrayLike<number>, y: RealMatrix): number {
  const [rows, columns] = a.shape;
  const inner = s.length;
  let worst = 0;
  const row = new Float64Array(inner);
  for (let i = 0; i < rows; i++) {
    for (let k = 0; k < inner; k++) row[k] = x.data[i * inner + k]! * s[k]!;
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let k = 0; k < inner; k++) sum += row[k] * y.data[j * inner + k]!;
      worst = Math.max(worst, Math.abs(sum - a.data[i * columns + j]!));
    }
  }
  return worst;
}

/** The Frobenius norm. */
export function frobenius(data: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i]! * data[i]!;
  return Math.sqrt(sum);
}

/** The transpose. */
export function transpose<D extends RealDType>(matrix: RealMatrix<D>): RealMatrix<D> {
  const [rows, columns] = matrix.shape;
  return build(matrix.dtype, columns, rows, (i, j) => matrix.data[j * columns + i]!);
}

/** The largest difference of two lists. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let worst = a.length === b.length ? 0 : Infinity;
  for (let i = 0; i < a.length; i++) worst = Math.max(worst, Math.abs(a[i]! - b[i]!));
  return worst;
}
