// What goes into and comes out of the dense factorizations, and the checks that all of them make first.
import { PithError } from '../errors/pith-error.ts';
import type { HostArrays, HostTensor } from '../device/device.ts';
import type { RealDType } from './products.ts';

/** A dense row-major matrix, shape `[rows, columns]`. */
export type RealMatrix<D extends RealDType = RealDType> = HostTensor<D>;

/** Rows and columns of a checked matrix. */
export interface Dimensions {
  readonly rows: number;
  readonly columns: number;
  /** The sum of the squares of the values, in f64; infinite where f64 cannot hold it. */
  readonly squares: number;
}

/**
 * Checks a matrix before any work.
 *
 * @throws PithError `LINALG_SHAPE` unless it has two axes of at least 1 and as many values, `LINALG_DTYPE` unless it is f32
 * or f64, `LINALG_NOT_FINITE` (details: row, column, value) at the first NaN or infinity. `operation` opens the message.
 */
export function checkMatrix(operation: string, matrix: RealMatrix): Dimensions {
  const { dtype, shape, data } = matrix;
  const [rows, columns] = shape;
  if (dtype !== 'f32' && dtype !== 'f64') {
    const text = `${operation}: the matrix must be f32 or f64, got ${String(dtype)}; convert it first`;
    throw new PithError('LINALG_DTYPE', text, { details: { dtype } });
  }
  const whole = shape.length === 2 && shape.every((axis) => Number.isSafeInteger(axis) && axis > 0);
  if (!whole || data.length !== rows * columns) {
    const text = `${operation}: the matrix must have two axes of at least 1 and one value for each element, got [${shape.join(', ')}] and ${data.length} values`;
    throw new PithError('LINALG_SHAPE', text, { details: { shape, length: data.length } });
  }
  return { rows, columns, squares: checkFinite(operation, data, columns) };
}

/** As {@link checkMatrix}, and `LINALG_SHAPE` unless it is square. */
export function checkSquare(operation: string, matrix: RealMatrix): number {
  const { rows, columns } = checkMatrix(operation, matrix);
  if (rows === columns) return rows;
  const text = `${operation}: the matrix must be square, got [${rows}, ${columns}]`;
  throw new PithError('LINALG_SHAPE', text, { details: { shape: matrix.shape } });
}

// The sum of the squares is finite only where all values are, and tells more than a flag would.
function checkFinite(operation: string, data: HostArrays[RealDType], columns: number): number {
  const squares = sumOfSquares(data);
  if (Number.isFinite(squares)) return squares;
  const at = (data as Float64Array).findIndex((value) => !Number.isFinite(value));
  if (at < 0) return squares; // finite values of f64 whose squares are not
  const [row, column] = [Math.floor(at / columns), at % columns];
  const text = `${operation}: every value must be finite, got ${data[at]} at row ${row}, column ${column}; look for the layer that made it`;
  throw new PithError('LINALG_NOT_FINITE', text, { details: { row, column, value: String(data[at]) } });
}

/** The sum of the squares, in f64. */
export function sumOfSquares(data: HostArrays[RealDType]): number {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i] * data[i];
  return sum;
}

/** The power of two that brings the largest magnitude into [1, 2); 1 for a zero matrix. Scaling by it is exact. */
export function scaleToOne(data: HostArrays[RealDType]): number {
  let largest = 0;
  for (let i = 0; i < data.length; i++) largest = Math.max(largest, Math.abs(data[i]));
  return powerOfTwo(largest);
}

/** {@link scaleToOne} of the lower triangle of a square matrix. */
export function lowerScaleToOne(data: HostArrays[RealDType], n: number): number {
  let largest = 0;
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) largest = Math.max(largest, Math.abs(data[i * n + j]));
  return powerOfTwo(largest);
}

function powerOfTwo(largest: number): number {
  if (largest === 0) return 1;
  // The exponent of 2^-1074 negated would overflow.
  return 2 ** -Math.max(-1022, Math.floor(Math.log2(largest)));
}

/** The values times `scale`, as f64. */
export function scaledCopy(data: HostArrays[RealDType], scale: number): Float64Array {
  const copy = new Float64Array(data.length);
  for (let i = 0; i < data.length; i++) copy[i] = data[i] * scale;
  return copy;
}

/** A matrix of `dtype` with these values; f64 values are not copied. */
export function matrixOf<D extends RealDType>(
  dtype: D,
  rows: number,
  columns: number,
  values: Float64Array,
): RealMatrix<D> {
  const data = (dtype === 'f32' ? new Float32Array(values) : values) as HostArrays[D];
  return { dtype, shape: [rows, columns], data };
}
