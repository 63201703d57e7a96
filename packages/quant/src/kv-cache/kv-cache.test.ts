import { describe, expect, it } from 'vitest';
import { planned, tinyModel } from '../testing/tiny-model.fixture.ts';
import { KV_CACHE_SCHEMES, kvCachePass } from './pass.ts';
import { keptScales } from './scales.ts';

const ranges = { min: Float32Array.of(-4.48, 0.5), max: Float32Array.of(1, 2.24) };

describe('keptScales', () => {
  it('by hand', () => {
    const { fround } = Math;
    const fp8 = { dtype: 'f8_e4m3', granularity: 'tensor' } as const;
    expect([...keptScales(ranges, fp8)]).toEqual([fround(fround(4.48) / 448)]);
    expect([...keptScales(ranges, { ...fp8, granularity: 'head' })]).toEqual([
      fround(fround(4.48) / 448),
      fround(fround(2.24) / 448),
    ]);
    expect([...keptScales(ranges, { ...fp8, dtype: 'i8' })]).toEqual([fround(fround(4.48) / 127.5)]);
    // A head that keeps nothing but zeros.
    const nothing = { min: Float32Array.of(0), max: Float32Array.of(0) };
    expect([...keptScales(nothing, fp8)]).toEqual([2 ** -23]);
  });
});

describe('kvCachePass', () => {
  it('plans a scale of keys and of values for each block, in the dtype of the weights', () => {
    const pass = kvCachePass({ scheme: 'int8-head' });
    expect(pass.config).toEqual({ method: 'kv-cache', scheme: 'int8-head' });
    const { changes, problems, keyValueCache } = pass.plan(planned(tinyModel('bf16')));
    expect([changes, problems]).toEqual([[], []]);
    expect(keyValueCache).toMatchObject({ dtype: 'i8', granularity: 'head', scaleDType: 'bf16' });
    expect([...keyValueCache!.reasons.keys()]).toEqual([
      'model.layers.0.self_attn.k_scale',
      'model.layers.0.self_attn.v_scale',
      'model.layers.1.self_attn.k_scale',
      'model.layers.1.self_attn.v_scale',
    ]);
    expect(keyValueCache!.reasons.get('model.layers.1.self_attn.v_scale')).toContain('int8-head: scale of the values');
  });

  it('records what it found', () => {
    const { keyValues } = kvCachePass();
    const { scales, records } = keyValues!.scales(
      { keys: ranges, values: ranges },
      tinyModel().architecture.blocks[0]!,
    );
    expect(scales.keys).toEqual(keptScales(ranges, keyValues!));
    expect(records.values).toMatchObject({ smallest: Math.fround(-4.48), largest: Math.fround(2.24) });
  });

  it('refuses schemes that there are not, and models without what runtimes look for', () => {
    expect(() => kvCachePass({ scheme: 'fp4' as never })).toThrow(/fp8.*int8/);
    const model = planned(tinyModel());
    const { blocks, config } = model.architecture;
    const renamed = blocks.map((block) => ({
      ...block,
      linears: block.linears.map((linear) => ({ ...linear, path: linear.path.replace(/[qkv]_proj/, 'c_attn') })),
    }));
    const other = { ...model, architecture: { ...model.architecture, blocks: renamed } };
    expect(kvCachePass().plan(other).problems).toMatchObject([{ code: 'KV_CACHE_UNSUPPORTED' }]);
    const encoder = { ...model.architecture, config: { ...config, kind: 'encoder' as const } };
    expect(kvCachePass().plan({ ...model, architecture: encoder }).problems).toMatchObject([{ code: 'KV_CACHE_NONE' }]);
    expect(KV_CACHE_SCHEMES).toHaveLength(4);
  });
});
