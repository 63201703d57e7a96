import { describe, expect, it } from 'vitest';
import { defineScheme, type SchemeDefinition } from './define-scheme.ts';
import { formatScheme } from './format-scheme.ts';
import { parseScheme, SCHEME_EXAMPLES } from './parse-scheme.ts';
import { fittingGroupSizes, resolveScheme } from './resolve-scheme.ts';

const PER_TOKEN = { granularity: 'token', dynamic: true } as const;

describe('parseScheme', () => {
  it('reads what each name means', () => {
    expect(parseScheme('w4g128')).toEqual({
      name: 'w4g128',
      weights: { kind: 'int', bits: 4, symmetric: true, granularity: { kind: 'group', size: 128 } },
      storage: 'packed',
    });
    expect(parseScheme('w8')).toMatchObject({
      weights: { bits: 8, granularity: { kind: 'channel' } },
      storage: 'packed',
    });
    expect(parseScheme('w8').activations).toBeUndefined();
    expect(parseScheme('w8a8')).toMatchObject({ activations: { dtype: 'i8', ...PER_TOKEN }, storage: 'bytes' });
    expect(parseScheme('w4-tensor-asym')).toMatchObject({
      weights: { symmetric: false, granularity: { kind: 'tensor' } },
    });
    expect(parseScheme('fp8')).toMatchObject({
      weights: { kind: 'float', dtype: 'f8_e4m3', granularity: { kind: 'channel' } },
      activations: { dtype: 'f8_e4m3', ...PER_TOKEN },
      storage: 'bytes',
    });
    expect(parseScheme('fp8-a16').activations).toBeUndefined();
    expect(parseScheme('fp8-e5m2').activations).toBeUndefined();
    expect(parseScheme('fp8-e5m2')).toMatchObject({ weights: { dtype: 'f8_e5m2' } });
  });

  it('static activations: one scale per layer, with a zero point where asked for', () => {
    const tensor = { dtype: 'i8', granularity: 'tensor', dynamic: false };
    expect(parseScheme('w8a8-static').activations).toEqual(tensor);
    expect(parseScheme('w8a8-tensor-asym-static-aasym')).toMatchObject({
      name: 'w8a8-tensor-asym-static-aasym',
      activations: { ...tensor, symmetric: false },
    });
    expect(parseScheme('fp8-static').activations).toEqual({ ...tensor, dtype: 'f8_e4m3' });
    for (const name of [
      'w8-static',
      'w4a16-dynamic',
      'w8a8-aasym',
      'w8a8-static-dynamic',
      'fp8-a16-static',
      'fp8-e5m2-static',
    ])
      expect(() => parseScheme(name), name).toThrow(expect.objectContaining({ code: 'SCHEME_UNKNOWN' }));
    const { weights } = parseScheme('w8a8');
    const wrong = { dtype: 'i8', granularity: 'token', dynamic: false, symmetric: false } as const;
    expect(() => defineScheme({ weights, activations: wrong })).toThrow('scales per token are dynamic');
    const zeroPoint = { dtype: 'i8', granularity: 'token', dynamic: true, symmetric: false } as const;
    expect(() => defineScheme({ weights, activations: zeroPoint })).toThrow('activations.symmetric: a zero point');
  });

  it('takes other spellings of the same scheme', () => {
    expect(parseScheme(' W4G128 ')).toEqual(parseScheme('w4g128'));
    expect(parseScheme('w4a16-g128-sym')).toEqual(parseScheme('w4g128'));
    expect(parseScheme('fp8-dynamic')).toEqual(parseScheme('fp8'));
    expect(parseScheme('w8-channel')).toEqual(parseScheme('w8'));
  });

  it('gives names that read back', () => {
    for (const name of SCHEME_EXAMPLES) {
      const scheme = parseScheme(name);
      expect(scheme.name).toBe(name);
      expect(formatScheme(scheme)).toBe(name);
      expect(Object.isFrozen(scheme) && Object.isFrozen(scheme.weights)).toBe(true);
    }
    for (const bits of [2, 3, 4, 5, 6, 7, 8]) {
      for (const tail of ['', 'g32', '-tensor', '-asym', 'g32-asym', '-tensor-asym']) {
        expect(parseScheme(`w${bits}${tail}`).name).toBe(`w${bits}${tail}`);
      }
    }
  });

  it('refuses other names and suggests near ones', () => {
    expect(() => parseScheme('w4g12b')).toThrow(/got "w4g12b"; did you mean w4g128/);
    for (const name of [
      '',
      'w1',
      'w9',
      'int4',
      'w4gg128',
      'w4-sym-asym',
      'w4-asym-asym',
      'w4g128-tensor',
      'w4g128-x',
      'fp8g128',
      'fp8-asym',
      'nf4g64',
      'q4_k_m',
    ]) {
      expect(() => parseScheme(name), name).toThrow(expect.objectContaining({ code: 'SCHEME_UNKNOWN', kind: 'input' }));
    }
    expect(() => parseScheme('w'.repeat(1e6))).toThrow(expect.objectContaining({ code: 'SCHEME_UNKNOWN' }));
  });

  it('refuses what no runtime multiplies', () => {
    for (const name of ['w4a8', 'w8a8g128', 'w4g1', 'w4g0']) {
      expect(() => parseScheme(name), name).toThrow(expect.objectContaining({ code: 'SCHEME_INVALID' }));
    }
  });
});

describe('defineScheme', () => {
  it('reports every offending field', () => {
    const wrong = {
      weights: { kind: 'int', bits: 9, symmetric: 'yes', granularity: { kind: 'channel' } },
      colour: 'red',
    } as unknown as SchemeDefinition;
    expect(() => defineScheme(wrong)).toThrow(/weights\.bits: .*weights\.symmetric: .*colour/);
    const groups = { kind: 'float', dtype: 'f8_e4m3', granularity: { kind: 'group', size: 32 } } as const;
    expect(() => defineScheme({ weights: groups })).toThrow(/fp8 weights have one scale per tensor or channel/);
  });
});

describe('resolveScheme', () => {
  it('stores scales in the dtype of the weight unless told otherwise', () => {
    const scheme = parseScheme('w4g128');
    expect(resolveScheme(scheme, 'bf16').scaleDType).toBe('bf16');
    const chosen = defineScheme({ weights: scheme.weights, scaleDType: 'f16' });
    expect(resolveScheme(chosen, 'bf16').scaleDType).toBe('f16');
  });
});

describe('fittingGroupSizes', () => {
  it('lists the divisors worth having', () => {
    expect(fittingGroupSizes(172)).toEqual([4, 43, 86, 172]);
    expect(fittingGroupSizes(13)).toEqual([13]);
    expect(fittingGroupSizes(4096)).toEqual([4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096]);
    for (const size of fittingGroupSizes(110880)) expect(110880 % size).toBe(0);
    expect(fittingGroupSizes(110880)).toHaveLength(12);
  });
});
