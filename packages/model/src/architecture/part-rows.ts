// Rows of a fused linear that belong to one of its parts.
import { PithError } from '@pith/tensor-core';
import type { LinearPart, LinearSpec } from './architecture.ts';

/** A part of a fused linear. @throws PithError `LINEAR_PART_UNKNOWN` where it has none of this role. */
export function partOfLinear(
  { path, parts }: Pick<LinearSpec, 'path' | 'parts'>,
  role: LinearPart['role'],
): LinearPart {
  const part = parts.find((candidate) => candidate.role === role);
  if (part) return part;
  throw new PithError('LINEAR_PART_UNKNOWN', `${path} has no part that is ${role}`, { kind: 'internal' });
}

/**
 * Rows of a linear that a part consists of, in the order of the part: row r of the part is row `result[r]` of the linear.
 *
 * @param role null for all rows.
 * @throws PithError `LINEAR_PART_UNKNOWN`.
 */
export function partRows(linear: LinearSpec, role: LinearPart['role'] | null): Int32Array {
  if (role === null) return Int32Array.from({ length: linear.outFeatures }, (_, row) => row);
  const { start, length, stride, count } = partOfLinear(linear, role).rows;
  return Int32Array.from({ length: length * count }, (_, row) => {
    return start + Math.floor(row / length) * stride + (row % length);
  });
}
