import { expect, it } from 'vitest';
import { editDistance, nearest } from './suggest.ts';

it.each([
  ['', '', 0],
  ['abc', 'abc', 0],
  ['abc', 'acb', 1],
  ['kitten', 'sitting', 3],
  ['', 'abc', 3],
] as const)('distance of %j and %j is %d', (a, b, distance) => {
  expect(editDistance(a, b)).toBe(distance);
  expect(editDistance(b, a)).toBe(distance);
});

it('nearest names a slip of the hand and nothing else', () => {
  const known = ['absmax', 'minmax', 'percentile', 'rms', 'mse', 'lp'];
  expect(nearest('absmx', known)).toBe('absmax');
  expect(nearest('percentil', known)).toBe('percentile');
  expect(nearest('MSE', known)).toBe('mse');
  expect(nearest('entropy', known)).toBeUndefined();
});
