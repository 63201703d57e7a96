// The SIMD kernels against their plain versions, over odd lengths and counts.
import { describe, expect, test } from 'vitest';
import { addToLines, combineLines, lineDots, symmetricTimesVector } from './panel-kernels-reference.ts';
import { largestDifference, uniform } from './measure.fixture.ts';
import { Workspace } from './workspace.ts';

const TOLERANCE = 2 ** -45;
const random = uniform(3);
const fill = (length: number): Float64Array => Float64Array.from({ length }, random);

describe.each([1, 2, 3, 4, 5, 7, 8, 13, 31, 64, 101])('panel kernels of length %i', (length) => {
  const stride = length + 3;
  const count = (length % 9) + 1;
  const space = new Workspace([stride * Math.max(length, count), length, length, count]);
  const lines = space.take(stride * Math.max(length, count));
  const x = space.take(length);
  const y = space.take(length);
  const few = space.take(count);
  const { kernels } = space;
  const reset = (): void => {
    lines.values.set(fill(lines.values.length));
    x.values.set(fill(length));
    y.values.set(fill(length));
    few.values.set(fill(count));
  };

  test('symmetricTimesVectorF64 reads the lower triangle alone', () => {
    reset();
    const expected = symmetricTimesVector(lines.values, stride, x.values);
    for (let i = 0; i < length; i++) lines.values.fill(NaN, i * stride + i + 1, (i + 1) * stride);
    kernels.symmetricTimesVectorF64(lines.at, stride, length, x.at, y.at);
    expect(largestDifference(y.values, expected)).toBeLessThan(TOLERANCE);
  });

  test('lineDotsF64', () => {
    reset();
    const expected = lineDots(lines.values, stride, count, x.values);
    kernels.lineDotsF64(lines.at, stride, count, x.at, length, few.at);
    expect(largestDifference(few.values, expected)).toBeLessThan(TOLERANCE);
  });

  test('combineLinesF64', () => {
    reset();
    const expected = combineLines(lines.values, stride, few.values, y.values);
    kernels.combineLinesF64(lines.at, stride, count, few.at, y.at, length);
    expect(largestDifference(y.values, expected)).toBeLessThan(TOLERANCE);
  });

  test('addToLinesF64 changes nothing between the lines', () => {
    reset();
    const expected = addToLines(lines.values, stride, few.values, x.values);
    kernels.addToLinesF64(lines.at, stride, count, few.at, x.at, length);
    expect(largestDifference(lines.values, expected)).toBeLessThan(TOLERANCE);
  });
});
