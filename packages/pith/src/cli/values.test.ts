import { describe, expect, it } from 'vitest';
import { amounts, byteSize, collect, idList, realNumber, wholeNumber } from './values.ts';

const codeOf = (run: () => unknown): unknown => {
  try {
    run();
  } catch (error) {
    return (error as { code: unknown }).code;
  }
  return undefined;
};

describe('byteSize', () => {
  it.each([
    ['1', 1],
    ['500MB', 500_000_000],
    ['2GB', 2_000_000_000],
    ['2G', 2_000_000_000],
    ['1.5GiB', 1_610_612_736],
    ['64KiB', 65_536],
    ['3kB', 3000],
    ['7 B', 7],
  ])('%s is %d bytes', (text, bytes) => expect(byteSize('--memory')(text)).toBe(bytes));

  it.each(['', '0', 'GB', '-1GB', '1e9', '2gb', '1PB', '99999999TB'])('refuses %j', (text) => {
    expect(codeOf(() => byteSize('--memory')(text))).toBe('OPTION_NOT_A_SIZE');
  });
});

describe('wholeNumber', () => {
  it('reads digits within limits', () => {
    expect(wholeNumber('--threads', 1, 256)('8')).toBe(8);
    for (const text of ['0', '257', '1.5', '-1', 'two', '', ' 3', '0x10']) {
      expect(
        codeOf(() => wholeNumber('--threads', 1, 256)(text)),
        text,
      ).toBe('OPTION_NOT_A_WHOLE_NUMBER');
    }
  });
});

describe('realNumber', () => {
  it('reads finite numbers within limits', () => {
    expect(realNumber('--top-p', 0, 1)('0.95')).toBe(0.95);
    for (const text of ['', 'NaN', '1.01', 'Infinity', '0,5']) {
      expect(
        codeOf(() => realNumber('--top-p', 0, 1)(text)),
        text,
      ).toBe('OPTION_NOT_A_NUMBER');
    }
  });
});

it('amounts are counts, shares below 1, or lists', () => {
  const read = amounts('--structure');
  expect(read('layers=2,neurons=0.25,kv-groups=1')).toEqual({ layers: 2, neurons: 0.25, kvGroups: 1 });
  expect(read('layers=1+3')).toEqual({ layers: [1, 3] });
  for (const text of ['neurons=1.0', 'neurons=1.5', 'neurons', 'layers=1,layers=2']) {
    expect(
      codeOf(() => read(text)),
      text,
    ).toBe('OPTION_NOT_AMOUNTS');
  }
});

it('idList reads ids separated by commas', () => {
  expect(idList('--ids')('1, 15,27')).toEqual([1, 15, 27]);
  expect(codeOf(() => idList('--ids')('1,,2'))).toBe('OPTION_NOT_A_WHOLE_NUMBER');
});

it('collect keeps earlier values', () => {
  expect(collect('b', collect('a', undefined))).toEqual(['a', 'b']);
});
