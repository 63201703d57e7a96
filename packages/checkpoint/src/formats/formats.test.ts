import { describe, expect, it } from 'vitest';
import { compressedTensors } from '../compressed-tensors/format.ts';
import { storedConfig, storedMembers } from '../weights/stored-weights.ts';
import { quantizedWeight, sparseWeight } from '@pith/tensor-core';
import type { WeightFormat } from './weight-format.ts';
import { WEIGHT_FORMATS, weightFormat } from './weight-formats.ts';

const int4 = {
  kind: 'int',
  bits: 4,
  symmetric: true,
  granularity: { kind: 'group', size: 32 },
  scaleDType: 'f16',
} as const;
const read = () => Promise.reject(new Error('nothing is read'));

describe('formats of quantized weights', () => {
  it('are known by their names', () => {
    expect(WEIGHT_FORMATS[0]).toBe('compressed-tensors');
    for (const name of WEIGHT_FORMATS) expect(weightFormat(name).name).toBe(name);
    expect(() => weightFormat('compresed-tensors')).toThrow(
      expect.objectContaining({ code: 'FORMAT_UNKNOWN', message: expect.stringContaining('did you mean') as string }),
    );
    expect(() => weightFormat('toString')).toThrow(expect.objectContaining({ code: 'FORMAT_UNKNOWN' }));
  });

  it('say of a model only what they say themselves', () => {
    const weight = quantizedWeight({ name: 'a.weight', shape: [4, 64], scheme: int4, read });
    const text = '{\n  "a": 1,\n  "quantization": {"bits": 4},\n  "compression_config": {},\n  "b": 2.0\n}\n';
    const config = JSON.parse(storedConfig(text, [weight])) as Record<string, unknown>;
    expect(Object.keys(config)).toEqual(['a', 'b', 'quantization_config']);
    expect(storedConfig(text, [])).toBe('{\n  "a": 1,\n  "b": 2.0\n}\n');
  });

  it('refuse sparse weights that they do not know, by name', () => {
    const weight = quantizedWeight({ name: 'a.weight', shape: [4, 64], scheme: int4, read });
    const sparse = sparseWeight({ name: 'b.weight', shape: [4, 8], layout: '2:4', dtype: 'f32', read });
    const other: WeightFormat = { ...compressedTensors, name: 'other' };
    expect(() => storedMembers([weight, sparse], { format: other })).toThrow(
      expect.objectContaining({
        code: 'FORMAT_NOT_SPARSE',
        message: expect.stringContaining('other: the format holds no sparse weights, got b.weight') as string,
      }),
    );
  });

  it('with act-order and 3 bits are refused by compressed-tensors before anything is written', () => {
    const groupIndex = Int32Array.from({ length: 64 }, (_, i) => i & 1);
    const scheme = { ...int4, bits: 3 };
    const weight = quantizedWeight({ name: 'a.weight', shape: [4, 64], scheme, groupIndex, read });
    expect(() => compressedTensors.tensors(weight, {})).toThrow(
      expect.objectContaining({
        code: 'CT_SCHEME_UNSUPPORTED',
        message: expect.stringContaining('act-order') as string,
      }),
    );
  });
});
