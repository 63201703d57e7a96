// Checked arithmetic on shapes: sizes come from strangers, and a product that is rounded is a product that lies.
import { storedBits, type StoredDType } from './stored-dtype.ts';

/** Number of values in a shape, or undefined when an axis is not a whole number or the product passes 2^53 - 1. */
export function elementCount(shape: readonly number[]): number | undefined {
  let count = 1;
  for (const axis of shape) {
    if (!Number.isSafeInteger(axis) || axis < 0) return undefined;
    count *= axis;
    // A product above 2^53 stays above it unless a later axis is 0: that shape is refused too, as the reference does.
    if (count > Number.MAX_SAFE_INTEGER) return undefined;
  }
  return count;
}

/**
 * Bytes of a tensor, or undefined when they are not a whole number below 2^53 (formats of 4 and 6 bits need an even
 * number of values that fills its last byte).
 */
export function tensorByteLength(dtype: StoredDType, shape: readonly number[]): number | undefined {
  const count = elementCount(shape);
  if (count === undefined) return undefined;
  const bits = count * storedBits(dtype);
  if (bits > Number.MAX_SAFE_INTEGER) return undefined;
  return bits % 8 === 0 ? bits / 8 : undefined;
}
