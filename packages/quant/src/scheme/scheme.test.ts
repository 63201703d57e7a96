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
    expect(parseScheme('w4a8g128')).toMatchObject({
      name: 'w4a8g128',
      weights: { kind: 'int', bits: 4, granularity: { kind: 'group', size: 128 } },
      activations: { dtype: 'i8', ...PER_TOKEN },
      storage: 'bytes',
    });
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
    expect(() => defineScheme({ weights, activations: wrong })).toThrow('scales per token and group are dynamic');
    const zeroPoint = { dtype: 'i8', granularity: 'token', dynamic: true, symmetric: false } as const;
    expect(() => defineScheme({ weights, activations: zeroPoint })).toThrow('activations.symmetric: a zero point');
  });

  it('codings with scales of 8 bits, and tiles', () => {
    const nvfp4 = { kind: 'float', dtype: 'f4_e2m1', granularity: { kind: 'group', size: 16 }, scaleDType: 'f8_e4m3' };
    expect(parseScheme('nvfp4')).toEqual({ name: 'nvfp4', weights: nvfp4, storage: 'packed' });
    expect(parseScheme('nvfp4-a4').activations).toEqual({
      ...{ dtype: 'f4_e2m1', granularity: 'group', dynamic: true, size: 16, scaleDType: 'f8_e4m3' },
    });
    expect(parseScheme('mxfp4').weights).toMatchObject({ dtype: 'f4_e2m1', granularity: { size: 32 } });
    expect(parseScheme('mxfp8-a8')).toMatchObject({
      weights: { dtype: 'f8_e4m3', scaleDType: 'f8_e8m0' },
      activations: { dtype: 'f8_e4m3', size: 32, scaleDType: 'f8_e8m0' },
      storage: 'bytes',
    });
    expect(parseScheme('fp8-block')).toMatchObject({
      weights: { dtype: 'f8_e4m3', granularity: { kind: 'block', rows: 128, columns: 128 } },
      activations: { dtype: 'f8_e4m3', granularity: 'group', size: 128, dynamic: true },
    });
    expect(parseScheme('fp8-block64x32-a16').name).toBe('fp8-block64x32-a16');
    expect(parseScheme('fp8-block-e5m2').activations).toBeUndefined();
    expect(['NVFP4A16', 'nvfp4a4', 'mxfp4-a16', 'mxfp8a8'].map((name) => parseScheme(name).name)).toEqual([
      ...['nvfp4', 'nvfp4-a4', 'mxfp4', 'mxfp8-a8'],
    ]);
    for (const name of [
      'nvfp4-a8',
      'mxfp8-a4',
      'nvfp8',
      'mxfp4g32',
      'fp8-block-e5m2-dynamic',
      'fp8-block-a16-dynamic',
    ]) {
      expect(() => parseScheme(name), name).toThrow(expect.objectContaining({ code: 'SCHEME_UNKNOWN' }));
    }
  });

  it('scales of 8 bits belong to their codings', () => {
    const group = (size: number) => ({ kind: 'group', size }) as const;
    const float = { kind: 'float', dtype: 'f4_e2m1' } as const;
    const e4m3 = { kind: 'float', dtype: 'f8_e4m3' } as const;
    for (const [definition, says] of [
      [{ weights: { ...float, granularity: group(16) } }, 'fp4 has scales of 8 bits'],
      [{ weights: { ...float, granularity: group(32), scaleDType: 'f8_e4m3' } }, 'f8_e4m3 with groups of 16'],
      [{ weights: { ...float, granularity: { kind: 'channel' }, scaleDType: 'f8_e8m0' } }, 'groups of 32'],
      [{ weights: { ...e4m3, granularity: group(16), scaleDType: 'f8_e4m3' } }, 'groups of 16 in e2m1'],
      [{ weights: { ...float, granularity: group(16), scaleDType: 'f8_e4m3' }, scaleDType: 'f16' }, 'leave it out'],
      [{ weights: { ...e4m3, granularity: { kind: 'block', rows: 2048, columns: 1 } } }, '1024'],
      [
        { weights: { kind: 'int', bits: 4, symmetric: true, granularity: { kind: 'block', rows: 8, columns: 8 } } },
        'integers have groups, not tiles',
      ],
      [
        {
          weights: { ...float, granularity: group(32), scaleDType: 'f8_e8m0' },
          activations: { dtype: 'f4_e2m1', granularity: 'group', dynamic: true, size: 16, scaleDType: 'f8_e4m3' },
        },
        'have the size and the scales of those of the weights',
      ],
      [
        {
          weights: { ...e4m3, granularity: { kind: 'block', rows: 8, columns: 8 } },
          activations: { dtype: 'f8_e4m3', granularity: 'group', dynamic: true },
        },
        'goes with groups, and groups need it',
      ],
      [
        {
          weights: { ...e4m3, granularity: { kind: 'block', rows: 8, columns: 8 } },
          activations: { dtype: 'f8_e4m3', granularity: 'token', dynamic: true },
        },
        'one scale per tensor or channel',
      ],
    ] as [SchemeDefinition, string][]) {
      expect(() => defineScheme(definition), says).toThrow(says);
    }
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
    for (const [name, remedy] of [
      ['nf4g64', 'pith export --format bitsandbytes:nf4'],
      ['Q4_K_M', 'pith export --format gguf:NAME'],
      ['iq4_xs', 'pith export --format gguf:NAME'],
      ['log4', 'a logarithmic code'],
      ['int4', 'write w4g128'],
    ] as const) {
      expect(() => parseScheme(name), name).toThrow(remedy);
    }
    expect(() => parseScheme('w'.repeat(1e6))).toThrow(expect.objectContaining({ code: 'SCHEME_UNKNOWN' }));
  });

  it('refuses what no runtime multiplies', () => {
    for (const name of ['w3a8', 'w4a8-static', 'w8a8g128', 'w4g1', 'w4g0']) {
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
    expect(() => defineScheme({ weights: groups })).toThrow(/fp8 weights have one scale per tensor, channel or tile/);
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
