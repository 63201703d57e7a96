// How much each neuron and each key-value group matters. Rows and columns belong to units as `slice-groups.ts` says; sums
// of squares are f64.
//
// `wanda` carries the score of Sun et al. 2023 (|weight| times the norm of its input) from weights to units: with X the
// input of the linear that reads the units and W its weight, a unit's score is sqrt(sum over its columns j of
// ||X_j||^2 ||W_j||^2): for one neuron exactly the norm of what the linear's output loses.
// `taylor` carries |weight x gradient| (Molchanov et al. 2017) from weights to units in the same way: the sum over the unit's
// columns of that linear, with which the unit is gone to first order, of |weight| times the root of the gradient's mean
// square over windows.
// `magnitude` is the product of the norms of the unit's rows and columns: it does not change when a factor moves from the
// linear that feeds a unit into the one that reads it.
import type { WeightTensor } from '@pith/tensor-core';
import type { UnitAxis } from './slice-groups.ts';

/** f32 values that are restored at a time. */
const CHUNK_VALUES = 2 ** 20;

/** Sums of squares of the rows and columns of a matrix, f64. */
export interface MatrixSquares {
  /** [rows]. */
  readonly rows: Float64Array;
  /** [columns]. */
  readonly columns: Float64Array;
}

/** Sums of squares along both axes of a matrix, read by chunks of rows. */
export async function matrixSquares(weight: WeightTensor): Promise<MatrixSquares> {
  const [rowCount, columnCount] = [weight.shape[0]!, weight.shape[1]!];
  const rows = new Float64Array(rowCount);
  const columns = new Float64Array(columnCount);
  const step = weight.kind === 'factored' ? rowCount : Math.max(1, Math.floor(CHUNK_VALUES / columnCount));
  for (let start = 0; start < rowCount; start += step) {
    const end = Math.min(rowCount, start + step);
    const values = await weight.toF32(start, end);
    for (let row = start; row < end; row++) {
      const at = (row - start) * columnCount;
      let sum = 0;
      for (let column = 0; column < columnCount; column++) {
        const value = values[at + column]!;
        const square = value * value;
        sum += square;
        columns[column]! += square;
      }
      rows[row] = sum;
    }
  }
  return { rows, columns };
}

/** Sums over runs of `each` values: one for each unit. */
export function sumsByUnit(values: ArrayLike<number>, each: number): Float64Array {
  const sums = new Float64Array(values.length / each);
  for (let i = 0; i < values.length; i++) sums[Math.floor(i / each)]! += values[i]!;
  return sums;
}

/**
 * `wanda` scores.
 *
 * @param inputSquares Sums of squares of the reader's input per column, f64.
 * @param readerColumns Sums of squares of the reader's columns.
 */
export function wandaScores(axis: UnitAxis, inputSquares: Float64Array, readerColumns: Float64Array): Float64Array {
  const lost = readerColumns.map((square, column) => square * inputSquares[column]!);
  return sumsByUnit(lost, axis.readerColumns).map(Math.sqrt);
}

/**
 * `taylor` scores, sums in f64.
 *
 * @param weights Of the reader, f32 [out features, in features].
 * @param squares Mean squares of their gradients over windows, of the same shape.
 */
export function taylorScores(axis: UnitAxis, weights: Float32Array, squares: Float32Array): Float64Array {
  const columns = new Float64Array(axis.reader.inFeatures);
  for (let i = 0; i < weights.length; i++) {
    columns[i % columns.length]! += Math.abs(weights[i]!) * Math.sqrt(squares[i]!);
  }
  return sumsByUnit(columns, axis.readerColumns);
}

/**
 * `magnitude` scores.
 *
 * @param squares Of each weight of the axis by checkpoint name.
 */
export function magnitudeScores(axis: UnitAxis, squares: ReadonlyMap<string, MatrixSquares>): Float64Array {
  const norms = [
    ...axis.feeders.map(({ linear, rows, order }) => {
      const own = squares.get(linear.name)!.rows;
      return sumsByUnit(
        Float64Array.from(order, (row) => own[row]!),
        rows,
      );
    }),
    sumsByUnit(squares.get(axis.reader.name)!.columns, axis.readerColumns),
  ];
  return Float64Array.from({ length: axis.count }, (_, unit) =>
    norms.reduce((product, norm) => product * Math.sqrt(norm[unit]!), 1),
  );
}
