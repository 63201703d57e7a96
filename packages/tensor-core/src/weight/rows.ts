// Rows of a weight: axis 0 of its shape, a scalar being one row.
import { PithError } from '../errors/pith-error.ts';
import { elementCount } from '../tensor/shape.ts';

/** A weight's shape as a matrix: `columns` is the product of the axes behind the first. */
export function matrixShape(shape: readonly number[], name: string): { rows: number; columns: number } {
  elementCount(shape, name);
  return { rows: shape[0] ?? 1, columns: elementCount(shape.slice(1), name) };
}

/**
 * Refuses rows that a weight does not have.
 *
 * @throws PithError `ROWS_OUT_OF_RANGE`
 */
export function requireRows(name: string, start: number, end: number, rows: number): void {
  if (Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start <= end && end <= rows) return;
  throw new PithError('ROWS_OUT_OF_RANGE', `read ${name}: rows ${start} to ${end} must lie within its ${rows} rows`, {
    kind: 'internal',
    details: { tensor: name, start, end, rows },
  });
}
