// How a finished weight differs from that of the source, value by value.
import type { Products, WeightTensor } from '@pith/tensor-core';
import type { WeightError } from '../receipt/types.ts';

/** Values that are compared at a time. */
const CHUNK_VALUES = 2 ** 21;

/** The difference of two weights of one shape; sums in f64, products of factors in f32 on a device. */
export async function weightError(
  source: WeightTensor,
  made: WeightTensor,
  products: Products<'f32'>,
): Promise<WeightError> {
  const rows = source.shape[0] ?? 1;
  const columns = Math.max(
    1,
    source.shape.slice(1).reduce((a, b) => a * b, 1),
  );
  const step = Math.max(1, Math.floor(CHUNK_VALUES / columns));
  const [first, second] = [await rowsOf(source, products), await rowsOf(made, products)];
  let squares = 0;
  let differences = 0;
  let maxError = 0;
  for (let start = 0; start < rows; start += step) {
    const end = Math.min(rows, start + step);
    const [a, b] = [await first(start, end), await second(start, end)];
    for (let i = 0; i < a.length; i++) {
      const difference = b[i]! - a[i]!;
      squares += a[i]! * a[i]!;
      differences += difference * difference;
      if (difference > maxError) maxError = difference;
      else if (-difference > maxError) maxError = -difference;
    }
  }
  return errorOf({ values: rows * columns, squares, differences, maxError });
}

/** Sums over the values of a weight. */
export interface ErrorSums {
  /** How many values there are. */
  readonly values: number;
  /** Of the squares of the values of the source. */
  readonly squares: number;
  /** Of the squares of the differences. */
  readonly differences: number;
  /** The largest difference. */
  readonly maxError: number;
}

/** The error that sums make; no ratio where there is no error, or nothing but error. */
export function errorOf({ values, squares, differences, maxError }: ErrorSums): WeightError {
  const snrDb = differences === 0 || squares === 0 ? null : 10 * Math.log10(squares / differences);
  return { mse: differences / Math.max(1, values), snrDb, maxError };
}

/** Reads rows of a weight as f32; of a factored one they are products. */
async function rowsOf(
  weight: WeightTensor,
  products: Products<'f32'>,
): Promise<(start: number, end: number) => Promise<Float32Array>> {
  if (weight.kind !== 'factored') return (start, end) => weight.toF32(start, end);
  const { left, right, rank, shape } = weight;
  const second = { data: await right.toF32(), rows: rank, columns: shape[1]! };
  return async (start, end) =>
    products.multiply({ data: await left.toF32(start, end), rows: end - start, columns: rank }, second);
}
