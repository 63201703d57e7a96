// Tensors with three axes and what decompositions do with them: unfoldings and products along an axis (Kolda & Bader 2009,
// sections 2.4 and 2.5). All in f64.
import type { Products } from '@pith/tensor-core';
import { PithError } from '@pith/tensor-core';

/** An axis of a tensor. */
export type Mode = 0 | 1 | 2;

/** All axes. */
export const MODES: readonly Mode[] = [0, 1, 2];

/** A tensor, row-major: element (i, j, k) at (i n2 + j) n3 + k. */
export interface Tensor3 {
  /** Lengths of the axes. */
  readonly shape: readonly [number, number, number];
  /** Values. */
  readonly data: Float64Array;
}

/** A matrix for products, row-major. */
export interface Matrix {
  /** Values. */
  readonly data: Float64Array;
  /** Axis 0. */
  readonly rows: number;
  /** Axis 1. */
  readonly columns: number;
}

/**
 * Refuses what is no tensor, or has NaN or infinities.
 *
 * @throws PithError `TENSOR_SHAPE`, `TENSOR_NOT_FINITE`
 */
export function checkTensor(operation: string, { shape, data }: Tensor3): void {
  const whole = shape.length === 3 && shape.every((axis) => Number.isSafeInteger(axis) && axis > 0);
  if (!whole || data.length !== shape[0] * shape[1] * shape[2]) {
    const text = `${operation}: the tensor must have three axes of at least 1 and one value for each element, got [${shape.join(', ')}] and ${data.length} values`;
    throw new PithError('TENSOR_SHAPE', text, { details: { shape, length: data.length } });
  }
  const at = data.findIndex((value) => !Number.isFinite(value));
  if (at < 0) return;
  const text = `${operation}: every value must be finite, got ${data[at]} at index ${at}; look for the weight that it comes from`;
  throw new PithError('TENSOR_NOT_FINITE', text, { details: { index: at } });
}

/** Sum of the squares. */
export function squaresOf(data: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i] * data[i];
  return sum;
}

/** The matrix whose rows are indexed by one axis, its columns by the other two in their order. */
export function unfold({ shape, data }: Tensor3, mode: Mode): Matrix {
  const [n1, n2, n3] = shape;
  const rows = shape[mode];
  const columns = data.length / rows;
  if (mode === 0) return { data, rows, columns };
  const unfolded = new Float64Array(data.length);
  for (let i = 0; i < n1; i++) {
    for (let j = 0; j < n2; j++) {
      const from = (i * n2 + j) * n3;
      if (mode === 1) unfolded.set(data.subarray(from, from + n3), j * columns + i * n3);
      else for (let k = 0; k < n3; k++) unfolded[k * columns + i * n2 + j] = data[from + k];
    }
  }
  return { data: unfolded, rows, columns };
}

/** Undoes {@link unfold}; `shape` is that of the tensor. */
export function fold(matrix: Float64Array, shape: readonly [number, number, number], mode: Mode): Tensor3 {
  if (mode === 0) return { shape, data: matrix };
  const [n1, n2, n3] = shape;
  const columns = matrix.length / shape[mode];
  const data = new Float64Array(matrix.length);
  for (let i = 0; i < n1; i++) {
    for (let j = 0; j < n2; j++) {
      const to = (i * n2 + j) * n3;
      if (mode === 1) data.set(matrix.subarray(j * columns + i * n3, j * columns + (i + 1) * n3), to);
      else for (let k = 0; k < n3; k++) data[to + k] = matrix[k * columns + i * n2 + j];
    }
  }
  return { shape, data };
}

/** The tensor with one axis multiplied by a matrix [rows, length of the axis], or by its transpose. */
export async function modeProduct(
  tensor: Tensor3,
  matrix: Matrix,
  mode: Mode,
  products: Products<'f64'>,
  transpose = false,
): Promise<Tensor3> {
  const rows = transpose ? matrix.columns : matrix.rows;
  const result = await products.multiply({ ...matrix, transpose }, unfold(tensor, mode));
  const shape = tensor.shape.map((length, axis) => (axis === mode ? rows : length));
  return fold(result, shape as [number, number, number], mode);
}
