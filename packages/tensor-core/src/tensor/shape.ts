// Shapes from files are not trusted: their products are checked before anything is allocated.
import { PithError } from '../errors/pith-error.ts';

/**
 * Values in a tensor of this shape: the product of its axes, 1 for a scalar.
 *
 * @throws PithError `SHAPE_INVALID` when an axis is not an integer of at least 0, `SHAPE_TOO_LARGE` when the product
 * passes 2^53 - 1. `what` names the tensor in the message.
 */
export function elementCount(shape: readonly number[], what = 'tensor'): number {
  const bad = shape.find((axis) => !Number.isSafeInteger(axis) || axis < 0);
  if (bad !== undefined) {
    const text = `${what}: every axis must be an integer of at least 0, got ${bad} in [${shape.join(', ')}]`;
    throw new PithError('SHAPE_INVALID', text, { details: { tensor: what, shape } });
  }
  if (shape.includes(0)) return 0;
  let count = 1;
  for (const axis of shape) {
    count *= axis;
    if (!Number.isSafeInteger(count)) {
      const text = `${what}: a shape must have less than 2^53 values, got [${shape.join(', ')}]`;
      throw new PithError('SHAPE_TOO_LARGE', text, { details: { tensor: what, shape } });
    }
  }
  return count;
}
