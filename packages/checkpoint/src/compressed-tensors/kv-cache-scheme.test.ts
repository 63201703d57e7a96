import { describe, expect, it } from 'vitest';
import { stored } from '../testing/stored.fixture.ts';
import { keyValueScales, kvCacheArguments, readKvCacheScheme } from './kv-cache-scheme.ts';
import { readQuantizationConfig } from './quantization-config.ts';
import { quantizationConfig } from './write-config.ts';

const read = (scheme: object) =>
  readQuantizationConfig({ quant_method: 'compressed-tensors', kv_cache_scheme: scheme } as never, 'config.json')
    .kvCache;

describe('kv_cache_scheme', () => {
  it('reads fp8 and int8, for a layer or for each head', () => {
    expect(read({ num_bits: 8, type: 'float', strategy: 'tensor' })).toEqual({
      dtype: 'f8_e4m3',
      granularity: 'tensor',
    });
    expect(read({ num_bits: 8, type: 'int' })).toEqual({ dtype: 'i8', granularity: 'tensor' });
    expect(read({ num_bits: 8, type: 'int', strategy: 'attn_head' })).toEqual({ dtype: 'i8', granularity: 'head' });
  });

  it('refuses what no runtime has, by name', () => {
    for (const [scheme, says] of [
      [{ num_bits: 4, type: 'float' }, '4-bit float codes'],
      [{ num_bits: 8, symmetric: false }, 'zero points'],
      [{ num_bits: 8, dynamic: true }, 'found at run time'],
      [{ num_bits: 8, strategy: 'channel' }, 'scales per channel'],
    ] as const) {
      expect(() => read(scheme)).toThrow(says);
    }
  });

  it('is written as the library writes it, and reads back', () => {
    for (const dtype of ['f8_e4m3', 'i8'] as const) {
      for (const granularity of ['tensor', 'head'] as const) {
        const written = kvCacheArguments({ dtype, granularity, observer: 'static_minmax' });
        expect(written).toMatchObject({ observer: 'static_minmax', dynamic: false, symmetric: true });
        expect(readKvCacheScheme(written as never, 'config.json')).toEqual({
          dtype,
          granularity,
          observer: 'static_minmax',
        });
      }
    }
    // What llm-compressor 0.14 writes for `QuantizationModifier(kv_cache_scheme=...)` alone.
    const config = quantizationConfig({
      groups: [],
      ignore: ['lm_head'],
      kvCache: { dtype: 'i8', granularity: 'head' },
    });
    expect(config).toMatchObject({ config_groups: {}, format: 'dense', ignore: [] });
    expect(config['kv_cache_scheme']).toMatchObject({ strategy: 'attn_head', type: 'int', num_bits: 8 });
  });

  it('finds scales by name and shape, those of the first versions too', () => {
    const tensor = (name: string, shape: number[]) =>
      [name, stored(name, 'f32', shape, new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)))] as const;
    const tensors = new Map([
      tensor('a.k_scale', [1]),
      tensor('a.v_scale', []),
      tensor('b.k_proj.output_scale', [1]),
      tensor('b.v_scale', [3, 1, 1]),
      tensor('c.k_scale', [2, 2]),
      tensor('k_scaler', [1]),
    ]);
    expect(keyValueScales(tensors, { granularity: 'tensor' })).toEqual([
      'a.k_scale',
      'a.v_scale',
      'b.k_proj.output_scale',
    ]);
    expect(keyValueScales(tensors, { granularity: 'head' })).toContain('b.v_scale');
    expect(keyValueScales(tensors, { granularity: 'head' })).not.toContain('c.k_scale');
  });
});
