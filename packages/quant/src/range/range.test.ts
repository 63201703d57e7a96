import { describe, expect, it } from 'vitest';
import { resolveScheme } from '../scheme/resolve-scheme.ts';
import { parseScheme } from '../scheme/parse-scheme.ts';
import { codeRange } from '../rtn/codec.ts';
import { extremesOf, measureRange, percentileRank } from './measure.ts';
import { defineRange, formatRange, parseRange } from './parse-range.ts';
import { power } from './power.ts';
import { candidateError, candidateScales, shrinkFactors } from './search.ts';

describe('parseRange', () => {
  it('reads names, numbers and options', () => {
    expect(parseRange('minmax')).toEqual({ kind: 'minmax' });
    expect(parseRange('percentile:99.9')).toEqual({ kind: 'percentile', percent: 99.9 });
    expect(parseRange('rms:4')).toEqual({ kind: 'rms', multiple: 4 });
    expect(parseRange('mse')).toEqual({ kind: 'mse', candidates: 20, smallest: 0.2 });
    expect(parseRange('MSE: candidates=80, smallest=0.5')).toEqual({ kind: 'mse', candidates: 80, smallest: 0.5 });
    expect(parseRange('lp:3,candidates=10')).toEqual({ kind: 'lp', norm: 3, candidates: 10, smallest: 0.2 });
    expect(parseRange('lp')).toMatchObject({ norm: 2.4 });
    expect(Object.isFrozen(parseRange('mse'))).toBe(true);
  });

  it('reads back what formatRange writes', () => {
    for (const text of ['minmax', 'absmax', 'percentile:99.9', 'rms:2.5', 'mse:candidates=7,smallest=0.25', 'lp:2.4']) {
      expect(parseRange(formatRange(parseRange(text)))).toEqual(parseRange(text));
    }
  });

  it('refuses other text', () => {
    for (const text of [
      '',
      'max',
      'minmax:3',
      'mse:20',
      'mse:kind=3',
      'rms:',
      'rms:1,2',
      'constructor',
      'lp:2,norm=3',
    ]) {
      expect(() => parseRange(text), text).toThrow(expect.objectContaining({ code: 'RANGE_UNKNOWN' }));
    }
    for (const text of [
      'percentile',
      'percentile:50',
      'percentile:101',
      'rms:0',
      'rms:x',
      'mse:candidates=0',
      'mse:candidates=1.5',
      'mse:smallest=1',
      'lp:9',
      'mse:speed=3',
    ]) {
      expect(() => parseRange(text), text).toThrow(expect.objectContaining({ code: 'RANGE_INVALID' }));
    }
    expect(() => defineRange({ kind: 'mse', candidates: 0, smallest: 2 })).toThrow(/candidates: .*smallest: /);
  });
});

describe('measureRange', () => {
  const values = Float32Array.of(-4, 1, 2, 3, -1, 0, 8, 0.5, -0.5, 2.5);

  it('takes extremes, percentiles by nearest rank, and multiples of the root mean square', () => {
    const measure = (text: string, symmetric: boolean) => measureRange(values, 10, parseRange(text), symmetric);
    expect(extremesOf(values)).toEqual({ lowest: -4, highest: 8, magnitude: 8 });
    expect(measure('minmax', false)).toEqual({ lowest: -4, highest: 8 });
    expect(measure('absmax', false)).toEqual({ lowest: -8, highest: 8 });
    expect(measure('percentile:90', true)).toEqual({ lowest: -4, highest: 4 });
    expect(measure('percentile:90', false)).toEqual({ lowest: -1, highest: 3 });
    expect(measure('percentile:100', false)).toEqual({ lowest: -4, highest: 8 });
    const rms = Math.sqrt((16 + 1 + 4 + 9 + 1 + 0 + 64 + 0.25 + 0.25 + 6.25) / 10);
    expect(measure('rms:1.5', false)).toEqual({ lowest: -4, highest: Math.fround(1.5 * rms) });
    expect(measure('rms:1.5', true).lowest).toBe(-Math.fround(1.5 * rms));
  });

  it('has ranks that do not jump over the last digit of a product', () => {
    expect(percentileRank({ kind: 'percentile', percent: 99.9 }, 1000)).toBe(999);
    expect(percentileRank({ kind: 'percentile', percent: 99.7 }, 1000)).toBe(997);
    expect(percentileRank({ kind: 'percentile', percent: 99.95 }, 1000)).toBe(1000);
    expect(percentileRank({ kind: 'percentile', percent: 51 }, 1)).toBe(1);
  });
});

describe('search', () => {
  it('shrinks in even steps from 1', () => {
    const factors = [...shrinkFactors({ kind: 'mse', candidates: 4, smallest: 0.2 })];
    expect(factors).toEqual([1, 0.8, 0.6, 0.4].map(Math.fround));
  });

  it('finds the clipping that a single outlier asks for', () => {
    const values = new Float32Array(64).fill(1).map((value, i) => (i % 2 ? value : -value) * (1 + i / 256));
    values[5] = 2.2;
    const scheme = resolveScheme(parseScheme('w3'), 'f32');
    const codes = codeRange(scheme);
    const candidates = candidateScales(
      { lowest: -2.2, highest: 2.2 },
      { kind: 'mse', candidates: 20, smallest: 0.2 },
      scheme,
      codes,
      'f32',
    );
    const errors = candidates.map((candidate) => candidateError(values, 2.2, candidate, 2, scheme, codes, 'f32'));
    const direct = candidates.map(({ scale }) =>
      values.reduce((sum, x) => sum + (scale * Math.round(Math.min(Math.max(x / scale, -4), 3)) - x) ** 2, 0),
    );
    for (const [i, error] of errors.entries()) expect(error).toBeCloseTo(direct[i]!, 3);
    expect(Math.min(...errors)).toBeLessThan(0.8 * errors[0]!);
  });
});

describe('power', () => {
  it('is right to six digits', () => {
    for (const norm of [0.5, 0.7, 1, 1.5, 2, 2.4, 3, 8]) {
      for (let i = 1; i < 400; i += 1) {
        const base = Math.fround(2 ** (-i / 20) * 3.9);
        const exact = base ** Math.fround(norm);
        if (exact > 2 ** -120) expect(Math.abs(power(base, norm) / exact - 1)).toBeLessThan(6e-6);
      }
    }
    expect(power(0, 2.4)).toBe(0);
    expect(power(1, 2.4)).toBeCloseTo(1, 6);
  });
});
