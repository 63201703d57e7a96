import { describe, expect, it } from 'vitest';
import { formatBytes, formatCount, formatFacts, formatSeconds, formatTable, plural, significant } from './format.ts';

describe('formatBytes', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.00 kB'],
    [1_044_984, '1.04 MB'],
    [999_499, '999 kB'],
    [999_500, '1.00 MB'],
    [2_200_000_000, '2.20 GB'],
    [12_345_000_000_000, '12.3 TB'],
  ])('%d is %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text));
});

describe('formatCount', () => {
  it.each([
    [7, '7'],
    [260_032, '260 k'],
    [1_100_048_384, '1.10 B'],
    [70_000_000_000, '70.0 B'],
  ])('%d is %s', (count, text) => expect(formatCount(count)).toBe(text));
});

describe('formatSeconds', () => {
  it.each([
    [0.4249, '0.42 s'],
    [0.999, '1.0 s'],
    [9.99, '10.0 s'],
    [9.996, '10 s'],
    [59.4, '59 s'],
    [185, '3 min 05 s'],
    [7800, '2 h 10 min'],
    [Infinity, '?'],
  ])('%d is %s', (seconds, text) => expect(formatSeconds(seconds)).toBe(text));
});

describe('significant', () => {
  it.each([
    [4.12345, 3, '4.12'],
    [0.00012345, 3, '0.000123'],
    [12345, 3, '12345'],
    [0, 3, '0'],
  ])('%d with %d digits is %s', (value, digits, text) => expect(significant(value, digits)).toBe(text));
});

describe('formatTable', () => {
  it('aligns columns and leaves no trailing spaces', () => {
    const text = formatTable(
      [{ title: 'name' }, { title: 'bytes', align: 'right' }, { title: 'why' }],
      [
        ['a.weight', '7', 'x'],
        ['b', '1000000', ''],
      ],
    );
    expect(text).toBe('name        bytes  why\na.weight        7  x\nb         1000000\n');
  });
});

it('formatFacts pads the names', () => {
  expect(
    formatFacts([
      ['a', '1'],
      ['long', '2'],
    ]),
  ).toBe('a     1\nlong  2\n');
});

it('plural', () => {
  expect([plural(1, 'tensor'), plural(0, 'tensor')]).toEqual(['1 tensor', '0 tensors']);
});
