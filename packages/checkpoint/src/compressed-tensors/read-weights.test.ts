import { packAlongRows, pack, isPithError, type PithError } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { parseJsonObject, type JsonValue } from '../json/parse-json.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { stored } from '../testing/stored.fixture.ts';
import { readQuantizationConfig } from './quantization-config.ts';
import { readCompressedWeights } from './read-weights.ts';

const bytes = (values: ArrayBufferView): Uint8Array => new Uint8Array(values.buffer.slice(0) as ArrayBuffer);
const group = (weights: object, more: object = {}) => ({ targets: ['Linear'], weights, ...more });
const config = (groups: object, more: object = {}): JsonValue =>
  ({
    quant_method: 'compressed-tensors',
    format: 'pack-quantized',
    config_groups: groups,
    ...more,
  }) as unknown as JsonValue;
const int4 = { num_bits: 4, type: 'int', symmetric: true, strategy: 'channel' };

/** A packed module `m` of codes [rows, columns] = 0, with parts replaced or removed (`undefined`). */
function packedModule(
  rows: number,
  columns: number,
  bits: number,
  change: Partial<Record<string, StoredTensor | undefined>> = {},
): Map<string, StoredTensor> {
  const codes = pack(new Int8Array(rows * columns), { rows, columns, bits });
  const parts: Record<string, StoredTensor | undefined> = {
    weight_packed: stored('', 'i32', [rows, codes.length / rows], bytes(codes)),
    weight_scale: stored('', 'f32', [rows, 1], bytes(new Float32Array(rows).fill(1))),
    weight_shape: stored('', 'i64', [2], bytes(BigInt64Array.of(BigInt(rows), BigInt(columns)))),
    ...change,
  };
  const tensors = new Map<string, StoredTensor>();
  for (const [name, part] of Object.entries(parts)) {
    if (part) tensors.set(`m.${name}`, { ...part, name: `m.${name}` });
  }
  return tensors;
}

const failure = async (tensors: Map<string, StoredTensor>, value: JsonValue): Promise<PithError> => {
  try {
    await readCompressedWeights(tensors, readQuantizationConfig(value, 'config.json'));
  } catch (error) {
    if (isPithError(error)) return error;
    throw error;
  }
  throw new Error('accepted');
};

describe('readCompressedWeights', () => {
  it('leaves other tensors as dense weights, and those of exotic dtypes out', async () => {
    const tensors = packedModule(2, 8, 4);
    tensors.set('norm', stored('norm', 'f32', [2], bytes(Float32Array.of(1, 2))));
    tensors.set('exotic', stored('exotic', 'f8_e8m0', [2], new Uint8Array(2)));
    const weights = await readCompressedWeights(tensors, readQuantizationConfig(config({ g: group(int4) }), 'c'));
    expect([...weights.keys()]).toEqual(['m.weight', 'norm']);
    expect(weights.get('m.weight')).toMatchObject({
      kind: 'quantized',
      shape: [2, 8],
      scheme: { kind: 'int', bits: 4, symmetric: true, granularity: { kind: 'channel' }, scaleDType: 'f32' },
      byteLength: 8 + 8 + 16,
    });
  });

  it('tells config groups apart by the stored tensors, without running the patterns of the file', async () => {
    const groups = {
      evil: group(int4, { targets: ['re:(a+)+$'] }),
      eight: group({ ...int4, num_bits: 8 }, { targets: ['re:(((x)*)*)*y'] }),
    };
    const read = async (bits: number) => {
      const weights = await readCompressedWeights(
        packedModule(2, 8, bits),
        readQuantizationConfig(config(groups), 'c'),
      );
      return weights.get('m.weight');
    };
    expect(await read(4)).toMatchObject({ scheme: { bits: 4 } });
    expect(await read(8)).toMatchObject({ scheme: { bits: 8 } });
  });

  it('reads zero points of the old packing, which are packed along the rows', async () => {
    // 3 bits: ten codes to a word. 12 rows take two words, the old way and the new.
    const [rows, columns, bits] = [12, 40, 3];
    const zeros = Int8Array.from({ length: rows }, (_, row) => (row % 8) - 4);
    const words = new Int32Array(2);
    zeros.forEach((zero, row) => (words[Math.floor(row / 10)]! |= (zero + 4) << ((row % 10) * 3)));
    const asymmetric = { num_bits: 3, type: 'int', symmetric: false, strategy: 'channel' };
    const codes = new Int32Array(rows * 4); // code 0 everywhere, stored as 4
    for (let i = 0; i < rows * columns; i += 1) {
      codes[Math.floor(i / 40) * 4 + Math.floor((i % 40) / 10)]! |= 4 << ((i % 10) * 3);
    }
    const tensors = packedModule(rows, columns, bits, {
      weight_packed: stored('', 'i32', [rows, 4], bytes(codes)),
      weight_zero_point: stored('', 'i32', [2, 1], bytes(words)),
    });
    const read = async (version: string) => {
      const value = config({ g: group(asymmetric) }, { version });
      const weights = await readCompressedWeights(tensors, readQuantizationConfig(value, 'c'));
      const values = await weights.get('m.weight')!.toF32();
      return Int8Array.from(zeros, (_, row) => 0 - values[row * columns]!);
    };
    // 40 columns of 3 bits are 4 words either way: only the version tells.
    expect(await read('0.14.0')).toEqual(zeros);
    expect(await read('0.19.0')).not.toEqual(zeros);
    const unknown = await failure(tensors, config({ g: group(asymmetric) }));
    expect(unknown).toMatchObject({ code: 'CT_PACKING_AMBIGUOUS', details: { module: 'm' } });
    // Another module whose word count tells decides for this one.
    const other = packedModule(2, 64, 3, {
      weight_packed: stored('', 'i32', [2, 7], new Uint8Array(56)),
      weight_zero_point: stored('', 'i32', [1, 1], new Uint8Array(4)),
    });
    for (const [name, tensor] of other) tensors.set(`n${name.slice(1)}`, { ...tensor, name: `n${name.slice(1)}` });
    const weights = await readCompressedWeights(tensors, readQuantizationConfig(config({ g: group(asymmetric) }), 'c'));
    const values = await weights.get('m.weight')!.toF32(11, 12);
    expect(values[0]).toBe(0 - zeros[11]!);
  });

  const asym = { ...int4, symmetric: false };
  const twoGroups = stored('', 'f32', [2, 2], bytes(new Float32Array(4).fill(1)));
  const cases: [what: string, code: string, tensors: Map<string, StoredTensor>, groups: object, says: RegExp][] = [
    [
      'codes without scales',
      'CT_TENSOR_MISSING',
      packedModule(2, 8, 4, { weight_scale: undefined }),
      { g: group(int4) },
      /"m\.weight_scale"/,
    ],
    [
      'packed codes without a shape',
      'CT_TENSOR_MISSING',
      packedModule(2, 8, 4, { weight_shape: undefined }),
      { g: group(int4) },
      /"m\.weight_shape"/,
    ],
    [
      'scales without codes',
      'CT_TENSOR_MISSING',
      packedModule(2, 8, 4, { weight_packed: undefined }),
      { g: group(int4) },
      /"m\.weight_packed or m\.weight"/,
    ],
    [
      'a shape that is no pair',
      'CT_SHAPE_INVALID',
      packedModule(2, 8, 4, { weight_shape: stored('', 'i64', [1], new Uint8Array(8)) }),
      { g: group(int4) },
      /I64 \[2\]/,
    ],
    [
      'a shape of i32',
      'CT_SHAPE_INVALID',
      packedModule(2, 8, 4, { weight_shape: stored('', 'i32', [2], new Uint8Array(8)) }),
      { g: group(int4) },
      /I32/,
    ],
    [
      'a shape with other rows',
      'CT_SHAPE_INVALID',
      packedModule(2, 8, 4, { weight_shape: stored('', 'i64', [2], bytes(BigInt64Array.of(3n, 8n))) }),
      { g: group(int4) },
      /\[3, 8\]/,
    ],
    [
      'a shape that asks for memory',
      'CT_SHAPE_INVALID',
      packedModule(2, 8, 4, { weight_shape: stored('', 'i64', [2], bytes(BigInt64Array.of(2n, 2n ** 62n))) }),
      { g: group(int4) },
      /4611686018427387904/,
    ],
    [
      'a shape with no columns',
      'CT_SHAPE_INVALID',
      packedModule(2, 8, 4, { weight_shape: stored('', 'i64', [2], bytes(BigInt64Array.of(2n, 0n))) }),
      { g: group(int4) },
      /\[2, 0\]/,
    ],
    [
      'a negative shape',
      'CT_SHAPE_INVALID',
      packedModule(2, 8, 4, { weight_shape: stored('', 'i64', [2], bytes(BigInt64Array.of(2n, -8n))) }),
      { g: group(int4) },
      /-8/,
    ],
    [
      'bits that do not fit the words',
      'CT_GROUP_UNKNOWN',
      packedModule(2, 8, 4),
      { g: group({ ...int4, num_bits: 8 }) },
      /no packing of 8 bits/,
    ],
    [
      'zero points under a symmetric group',
      'CT_GROUP_UNKNOWN',
      packedModule(2, 8, 4, { weight_zero_point: stored('', 'i32', [1, 1], new Uint8Array(4)) }),
      { g: group(int4) },
      /there are zero points/,
    ],
    [
      'no zero points under an asymmetric group',
      'CT_GROUP_UNKNOWN',
      packedModule(2, 8, 4),
      { g: group(asym) },
      /no zero points/,
    ],
    [
      'zero points of another shape',
      'CT_GROUP_UNKNOWN',
      packedModule(2, 8, 4, { weight_zero_point: stored('', 'i32', [2, 1], new Uint8Array(8)) }),
      { g: group(asym) },
      /no packing/,
    ],
    [
      'plain zero points beside packed codes',
      'CT_GROUP_UNKNOWN',
      packedModule(2, 8, 4, { weight_zero_point: stored('', 'i8', [2, 1], new Uint8Array(2)) }),
      { g: group(asym) },
      /zero points are i8/,
    ],
    [
      'scales of another shape',
      'CT_GROUP_UNKNOWN',
      packedModule(2, 8, 4),
      { g: group({ ...int4, strategy: 'group', group_size: 4 }) },
      /scales have shape \[2, 1\]/,
    ],
    [
      'groups that do not divide',
      'CT_GROUP_UNKNOWN',
      packedModule(2, 8, 4),
      { g: group({ ...int4, strategy: 'group', group_size: 3 }) },
      /3 do not divide 8/,
    ],
    [
      'scales of f64',
      'CT_GROUP_UNKNOWN',
      packedModule(2, 8, 4, { weight_scale: stored('', 'f64', [2, 1], new Uint8Array(16)) }),
      { g: group(int4) },
      /scales are f64/,
    ],
    ['no group at all', 'CT_GROUP_UNKNOWN', packedModule(2, 8, 4), {}, /there are no groups/],
    [
      'a group index of another length',
      'CT_SHAPE_INVALID',
      packedModule(2, 8, 4, { weight_g_idx: stored('', 'i32', [7], new Uint8Array(28)), weight_scale: twoGroups }),
      { g: group({ ...int4, strategy: 'group', group_size: 4, actorder: 'group' }) },
      /"m\.weight_g_idx" in .* I32 \[8\], got I32 \[7\]/,
    ],
    [
      'a group index of i64',
      'CT_SHAPE_INVALID',
      packedModule(2, 8, 4, { weight_g_idx: stored('', 'i64', [8], new Uint8Array(64)), weight_scale: twoGroups }),
      { g: group({ ...int4, strategy: 'group', group_size: 4 }) },
      /got I64 \[8\]/,
    ],
    ...[2, -2, 2 ** 30].map((wrong): (typeof cases)[number] => [
      `a column in group ${wrong}`,
      'CT_GROUP_INDEX_INVALID',
      packedModule(2, 8, 4, {
        weight_g_idx: stored('', 'i32', [8], bytes(Int32Array.of(0, 1, 0, 1, 0, 1, 0, wrong))),
        weight_scale: twoGroups,
      }),
      { g: group({ ...int4, strategy: 'group', group_size: 4 }) },
      /groups from 0 to 1, got/,
    ]),
    [
      'a group index of channels',
      'CT_GROUP_UNKNOWN',
      packedModule(2, 8, 4, { weight_g_idx: stored('', 'i32', [8], new Uint8Array(32)) }),
      { g: group(int4) },
      /there is a group index/,
    ],
    [
      'a global scale',
      'CT_GROUP_UNKNOWN',
      packedModule(2, 8, 4, { weight_global_scale: stored('', 'f32', [1], new Uint8Array(4)) }),
      { g: group(int4) },
      /there is a global scale/,
    ],
  ];
  it.each(cases)('refuses %s', async (_, code, tensors, groups, says) => {
    const error = await failure(tensors, config(groups));
    expect(error.code).toBe(code);
    expect(error.message).toMatch(says);
  });

  it('refuses two groups that fit and mean different values', async () => {
    // Four columns fill one word at 8 bits and half of it at 4.
    const groups = { a: group(int4), b: group({ ...int4, num_bits: 8 }) };
    const error = await failure(packedModule(2, 4, 4), config(groups));
    expect(error).toMatchObject({ code: 'CT_GROUP_AMBIGUOUS' });
    expect(error.message).toMatch(/they fit a, b/);
  });

  it('takes two groups that mean the same values', async () => {
    const groups = { a: group(int4), b: group({ ...int4, strategy: 'group', group_size: 8 }) };
    const read = readCompressedWeights(packedModule(2, 8, 4), readQuantizationConfig(config(groups), 'c'));
    await expect(read).resolves.toMatchObject({ size: 1 });
  });

  it('restores asymmetric groups rows by rows at any border', async () => {
    for (const bits of [2, 3, 4, 5, 6, 7, 8]) {
      const [rows, groups] = [77, 3];
      const zeros = Int8Array.from({ length: rows * groups }, (_, i) => ((i * 7) % 2 ** bits) - 2 ** (bits - 1));
      const packedZeros = packAlongRows(zeros, { rows, columns: groups, bits });
      const tensors = packedModule(rows, 12, bits, {
        weight_scale: stored('', 'f32', [rows, groups], bytes(new Float32Array(rows * groups).fill(0.5))),
        weight_zero_point: stored('', 'i32', [packedZeros.length / groups, groups], bytes(packedZeros)),
      });
      const weights = { num_bits: bits, type: 'int', symmetric: false, strategy: 'group', group_size: 4 };
      const value = config({ g: group(weights) }, { version: '0.19.0' });
      const weight = (await readCompressedWeights(tensors, readQuantizationConfig(value, 'c'))).get('m.weight')!;
      if (weight.kind !== 'quantized') throw new Error('not quantized');
      expect((await weight.block()).zeroPoints).toEqual(zeros);
      for (const [start, end] of [
        [0, 1],
        [1, 2],
        [31, 33],
        [32, 64],
        [65, 77],
        [76, 77],
      ] as const) {
        expect((await weight.block(start, end)).zeroPoints).toEqual(zeros.slice(start * groups, end * groups));
      }
    }
  });
});

describe('readQuantizationConfig', () => {
  const cases: [what: string, code: string, value: JsonValue, says: RegExp][] = [
    ['another method', 'CT_METHOD_UNSUPPORTED', { quant_method: 'gptq', bits: 4 }, /"gptq".*unquantized/],
    ['no groups', 'CT_CONFIG_INVALID', { quant_method: 'compressed-tensors' }, /config_groups/],
    ['a list', 'CT_CONFIG_INVALID', [], /compressed-tensors configuration/],
    ['bits of 10^9', 'CT_CONFIG_INVALID', config({ g: group({ ...int4, num_bits: 1e9 }) }), /num_bits/],
    ['9-bit integers', 'CT_SCHEME_UNSUPPORTED', config({ g: group({ ...int4, num_bits: 9 }) }), /9-bit int/],
    [
      '4-bit floats',
      'CT_SCHEME_UNSUPPORTED',
      config({ g: group({ num_bits: 4, type: 'float' }, { format: 'float-quantized' }) }),
      /4-bit float/,
    ],
    ['an unknown preset', 'CT_SCHEME_UNSUPPORTED', config({ W4A2: ['Linear'] }), /group "W4A2".*a preset of that name/],
    [
      'exponents as scales of integers',
      'CT_SCHEME_UNSUPPORTED',
      config({ g: group({ ...int4, scale_dtype: 'torch.uint8' }) }),
      /scales in torch.uint8 in the format pack-quantized/,
    ],
    [
      'a group without a size',
      'CT_SCHEME_UNSUPPORTED',
      config({ g: group({ ...int4, strategy: 'group' }) }),
      /without a size/,
    ],
    [
      'floats packed as integers',
      'CT_SCHEME_UNSUPPORTED',
      config({ g: group({ num_bits: 8, type: 'float' }) }),
      /float codes in the format pack/,
    ],
    [
      'sparse weights in the order of one kernel',
      'CT_FORMAT_UNSUPPORTED',
      config({}, { sparsity_config: { format: 'marlin-24' } }),
      /marlin-24.*not read/,
    ],
    [
      'a format that is not read',
      'CT_FORMAT_UNSUPPORTED',
      config({ g: group(int4) }, { format: 'mxfp6-pack-quantized' }),
      /mxfp6-pack-quantized.*FP6 codes/,
    ],
    [
      'a format of the future',
      'CT_FORMAT_UNSUPPORTED',
      config({ g: group(int4) }, { format: 'quantum' }),
      /"quantum", which is not read; pack-quantized,/,
    ],
  ];
  it.each(cases)('refuses %s', (_, code, value, says) => {
    let caught: unknown;
    try {
      readQuantizationConfig(value, 'config.json');
    } catch (error) {
      caught = error;
    }
    expect(caught).toMatchObject({ code });
    expect((caught as PithError).message).toMatch(says);
  });

  it('takes the format of the group before that of the file, and the defaults of the library', () => {
    const text =
      '{"quant_method":"compressed-tensors","format":"mixed-precision","config_groups":{"g":{"format":"int-quantized","weights":{}}}}';
    expect(readQuantizationConfig(parseJsonObject(new TextEncoder().encode(text)), 'c').groups).toEqual([
      {
        name: 'g',
        format: 'int-quantized',
        type: 'int',
        bits: 8,
        symmetric: true,
        granularity: { kind: 'tensor' },
        targets: [],
      },
    ]);
  });

  it('passes over groups that have no weights to restore', () => {
    expect(readQuantizationConfig(config({ kv: { targets: ['re:.*k_proj'] } }), 'c').groups).toEqual([]);
  });
});
