import { describe, expect, it } from 'vitest';
import { elementCount } from './shape.ts';

describe('elementCount', () => {
  it('is the product of the axes', () => {
    expect([elementCount([]), elementCount([3, 5]), elementCount([2, 0, 9])]).toEqual([1, 15, 0]);
  });

  it('refuses axes that are no counts and products that are not exact', () => {
    for (const axis of [-1, 0.5, NaN, 2 ** 53]) {
      expect(() => elementCount([2, axis], 'w')).toThrow(expect.objectContaining({ code: 'SHAPE_INVALID' }));
    }
    expect(() => elementCount([2 ** 30, 2 ** 30], 'w')).toThrow('w: a shape must have less than 2^53 values');
  });
});
