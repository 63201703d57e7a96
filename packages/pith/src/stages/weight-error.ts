// How a finished weight differs from that of the source, value by value.
import type { WeightTensor } from '@pith/tensor-core';
import type { WeightError } from '../receipt/types.ts';

/** Values that are compared at a time. */
const CHUNK_VALUES = 2 ** 21;

/** The difference of two weights of one shape; sums in f64. */
export async function weightError(source: WeightTensor, made: WeightTensor): Promise<WeightError> {
  const rows = source.shape[0] ?? 1;
  const columns = Math.max(
    1,
    source.shape.slice(1).reduce((a, b) => a * b, 1),
  );
  const step = Math.max(1, Math.floor(CHUNK_VALUES / columns));
  let squares = 0;
  let differences = 0;
  let maxError = 0;
  for (let start = 0; start < rows; start += step) {
    const end = Math.min(rows, start + step);
    const [a, b] = [await source.toF32(start, end), await made.toF32(start, end)];
    for (let i = 0; i < a.length; i++) {
      const difference = b[i]! - a[i]!;
      squares += a[i]! * a[i]!;
      differences += difference * difference;
      if (difference > maxError) maxError = difference;
      else if (-difference > maxError) maxError = -difference;
    }
  }
  const snrDb = differences === 0 || squares === 0 ? null : 10 * Math.log10(squares / differences);
  return { mse: differences / Math.max(1, rows * columns), snrDb, maxError };
}
