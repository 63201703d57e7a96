// Schemes whose scales are of 8 bits or lie in tiles, and columns in another order: written, read back, refused by name.
import { memoryBlock, quantizedWeight, type CodeBlock, type QuantizedWeight } from '@pith/tensor-core';
import { isPithError, type PithError } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import type { JsonValue } from '../json/parse-json.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { stored } from '../testing/stored.fixture.ts';
import { encodeWeight, rowAlignment } from './encode-block.ts';
import { readQuantizationConfig } from './quantization-config.ts';
import type { CompressedFormat } from './read-group.ts';
import { readCompressedWeights } from './read-weights.ts';
import { storedPieces } from './stored-pieces.ts';
import { quantizationConfig, SPARSE_VERSION } from './write-config.ts';

let state = 7;
const next = (below: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};
const E4M3 = (code: number) => {
  const [exponent, mantissa] = [code >> 3, code & 7];
  return exponent === 0 ? mantissa * 2 ** -9 : (1 + mantissa / 8) * 2 ** (exponent - 7);
};
const group = (size: number) => ({ kind: 'group', size }) as const;

/** Weights [150, 96] whose scales take every value that their format has. */
function make(kind: 'nvfp4' | 'mxfp4' | 'mxfp8' | 'tiles' | 'act-order'): QuantizedWeight {
  const [rows, columns] = [150, 96];
  const codes = (count: number) => Uint8Array.from({ length: rows * columns }, () => next(count));
  const scales = (perRow: number, value: (i: number) => number) =>
    Float32Array.from({ length: rows * perRow }, (_, i) => value(i));
  const common = { name: 'm.weight', shape: [rows, columns] };
  const of = (parts: Omit<Parameters<typeof quantizedWeight>[0], 'read' | 'name' | 'shape'>, block: CodeBlock) =>
    quantizedWeight({ ...common, ...parts, read: memoryBlock(block, parts.scheme, rows, columns) });
  switch (kind) {
    case 'nvfp4': {
      const globalScale = Math.fround(2688 / 0.37);
      const scheme = { kind: 'float', dtype: 'f4_e2m1', granularity: group(16), scaleDType: 'f8_e4m3' } as const;
      // Smallest to largest, subnormal ones too.
      const block = { codes: codes(16), scales: scales(6, (i) => Math.fround(E4M3(1 + (i % 126)) / globalScale)) };
      return of({ scheme, globalScale }, block);
    }
    case 'mxfp4':
    case 'mxfp8': {
      const dtype = kind === 'mxfp4' ? 'f4_e2m1' : 'f8_e4m3';
      const scheme = { kind: 'float', dtype, granularity: group(32), scaleDType: 'f8_e8m0' } as const;
      const block = { codes: codes(kind === 'mxfp4' ? 16 : 127), scales: scales(3, (i) => 2 ** ((i % 255) - 127)) };
      return of({ scheme }, block);
    }
    case 'tiles': {
      const granularity = { kind: 'block', rows: 64, columns: 40 } as const;
      const scheme = { kind: 'float', dtype: 'f8_e4m3', granularity, scaleDType: 'bf16' } as const;
      const block = { codes: codes(127), scales: scales(3, (i) => 1 + Math.floor(i / 3 / 64) + (i % 3) / 4) };
      return of({ scheme }, block);
    }
    case 'act-order': {
      const scheme = { kind: 'int', bits: 4, symmetric: true, granularity: group(32), scaleDType: 'f16' } as const;
      const groupIndex = Int32Array.from({ length: columns }, (_, i) => (i * 7) % 3);
      const signed = Int8Array.from({ length: rows * columns }, () => next(16) - 8);
      return of({ scheme, groupIndex }, { codes: signed, scales: scales(3, (i) => 1 + (i % 8)) });
    }
  }
}

const FORMATS = {
  nvfp4: 'nvfp4-pack-quantized',
  mxfp4: 'mxfp4-pack-quantized',
  mxfp8: 'mxfp8-quantized',
  tiles: 'float-quantized',
  'act-order': 'pack-quantized',
} as const satisfies Record<string, CompressedFormat>;
type Kind = keyof typeof FORMATS;
const KINDS = Object.keys(FORMATS) as Kind[];

async function storedTensors(weight: QuantizedWeight, format: CompressedFormat, blockBytes = 1) {
  const pieces = storedPieces(weight, format);
  const memory = new Map(pieces.map(({ name, byteLength }) => [name, new Uint8Array(byteLength)]));
  const ends = new Map<string, number>();
  for await (const { name, offset, bytes } of encodeWeight(weight, format, blockBytes)) {
    expect(offset, name).toBe(ends.get(name) ?? 0);
    memory.get(name)!.set(bytes, offset);
    ends.set(name, offset + bytes.byteLength);
  }
  const tensors = new Map<string, StoredTensor>();
  for (const { name, dtype, shape } of pieces) tensors.set(name, stored(name, dtype, shape, memory.get(name)!));
  return tensors;
}

const configOf = (weight: QuantizedWeight): JsonValue => {
  const { scheme, groupIndex } = weight;
  if (scheme.kind === 'affine' || scheme.kind === 'table') throw new Error('no scheme of this format');
  return quantizationConfig({ groups: [{ scheme, groupIndex: groupIndex !== undefined }], ignore: [] });
};

describe('schemes beyond plain scales', () => {
  it.each(KINDS)('%s comes back from its bytes, whatever the blocks and the rows that are read', async (kind) => {
    const weight = make(kind);
    const format = FORMATS[kind];
    const tensors = await storedTensors(weight, format);
    const whole = await storedTensors(weight, format, 2 ** 20);
    for (const [name, { source }] of whole) {
      const { byteLength } = source;
      expect(await tensors.get(name)!.source.read(0, byteLength), name).toEqual(await source.read(0, byteLength));
    }
    const read = (await readCompressedWeights(tensors, readQuantizationConfig(configOf(weight), 'c'))).get('m.weight');
    if (read?.kind !== 'quantized') throw new Error('not quantized');
    expect(read).toMatchObject({ scheme: weight.scheme, byteLength: weight.byteLength });
    expect([read.globalScale, read.groupIndex]).toEqual([weight.globalScale, weight.groupIndex]);
    expect(await read.block()).toEqual(await weight.block());
    expect(await read.block(63, 129)).toEqual(await weight.block(63, 129));
    expect(await read.slice(70, 75).toF32()).toEqual(await weight.toF32(70, 75));
  });

  it('begins blocks at tiles', () => {
    expect(rowAlignment(make('tiles'), 'float-quantized')).toBe(64);
  });

  it('says that columns lie in another order, in the words of the version that reads them', () => {
    expect(configOf(make('act-order'))).toMatchObject({
      version: SPARSE_VERSION,
      config_groups: { group_0: { weights: { actorder: 'group' } } },
    });
  });

  it('reads a group index that moves nothing as none', async () => {
    const weight = make('act-order');
    for (const index of [Int32Array.from({ length: 96 }, (_, i) => Math.floor(i / 32)), new Int32Array(96).fill(-1)]) {
      const tensors = await storedTensors(weight, 'pack-quantized');
      tensors.set('m.weight_g_idx', stored('m.weight_g_idx', 'i32', [96], new Uint8Array(index.buffer)));
      const read = await readCompressedWeights(tensors, readQuantizationConfig(configOf(weight), 'c'));
      expect(read.get('m.weight')).not.toHaveProperty('groupIndex');
      expect([...read.keys()]).toEqual(['m.weight']);
    }
  });
});

describe('what is refused', () => {
  const failure = async (kind: Kind, change: (tensors: Map<string, StoredTensor>) => void): Promise<PithError> => {
    const weight = make(kind);
    const tensors = await storedTensors(weight, FORMATS[kind]);
    change(tensors);
    try {
      const read = await readCompressedWeights(tensors, readQuantizationConfig(configOf(weight), 'c'));
      await read.get('m.weight')!.toF32();
    } catch (error) {
      if (isPithError(error)) return error;
      throw error;
    }
    throw new Error('accepted');
  };
  const f32 = (value: number) => new Uint8Array(Float32Array.of(value).buffer);
  /** Puts a byte into the scales. */
  const scaleByte = (index: number, byte: number) => (tensors: Map<string, StoredTensor>) => {
    const { name, dtype, shape, source } = tensors.get('m.weight_scale')!;
    const bytes = new Uint8Array(source.byteLength).fill(0x38);
    bytes[index] = byte;
    tensors.set(name, stored(name, dtype, shape, bytes));
  };
  const put =
    (name: string, dtype: StoredTensor['dtype'], shape: readonly number[], bytes: Uint8Array) =>
    (tensors: Map<string, StoredTensor>) =>
      void tensors.set(name, stored(name, dtype, shape, bytes));

  it.each<[string, Kind, (tensors: Map<string, StoredTensor>) => void, string, RegExp]>([
    [
      'an exponent that is no number',
      'mxfp4',
      scaleByte(10, 255),
      'CT_SCALE_INVALID',
      /"m\.weight_scale".*NaN in row 3/,
    ],
    ['an exponent of mxfp8 that is none', 'mxfp8', scaleByte(449, 255), 'CT_SCALE_INVALID', /NaN in row 149/],
    ['a scale in e4m3 that is NaN', 'nvfp4', scaleByte(6, 0x7f), 'CT_SCALE_INVALID', /"m\.weight_scale".*NaN in row 1/],
    [
      'a scale of a tile that is NaN',
      'tiles',
      put('m.weight_scale', 'bf16', [3, 3], new Uint8Array(18).fill(0xff)),
      'CT_SCALE_INVALID',
      /"m\.weight_scale".*NaN/,
    ],
    ...[NaN, 0, -1, Infinity].map((value): [string, Kind, (t: Map<string, StoredTensor>) => void, string, RegExp] => [
      `a global scale of ${value}`,
      'nvfp4',
      put('m.weight_global_scale', 'f32', [1], f32(value)),
      'CT_SCALE_INVALID',
      /"m\.weight_global_scale".*positive and finite/,
    ]),
    [
      'two global scales',
      'nvfp4',
      put('m.weight_global_scale', 'f32', [2], new Uint8Array(8)),
      'CT_SHAPE_INVALID',
      /one float, got F32 \[2\]/,
    ],
    [
      'a global scale in f64',
      'nvfp4',
      put('m.weight_global_scale', 'f64', [1], new Uint8Array(8)),
      'CT_SHAPE_INVALID',
      /one float, got F64 \[1\]/,
    ],
    [
      'no global scale',
      'nvfp4',
      (tensors) => void tensors.delete('m.weight_global_scale'),
      'CT_GROUP_UNKNOWN',
      /no global scale/,
    ],
    [
      'scales of another dtype',
      'mxfp4',
      put('m.weight_scale', 'f32', [150, 3], new Uint8Array(1800)),
      'CT_GROUP_UNKNOWN',
      /scales are f32, not u8/,
    ],
    [
      'tiles of another shape',
      'tiles',
      put('m.weight_scale', 'bf16', [2, 3], new Uint8Array(12)),
      'CT_GROUP_UNKNOWN',
      /scales have shape \[2, 3\]/,
    ],
  ])('%s', async (_, kind, change, code, says) => {
    const error = await failure(kind, change);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(says);
  });

  it.each<[string, object, RegExp]>([
    ['tiles without a size', { strategy: 'block' }, /without a block_structure/],
    ['a tile that is no number', { strategy: 'block', block_structure: '128xx' }, /block_structure/],
    ['a tile of three sides', { strategy: 'block', block_structure: [1, 2, 3] }, /block_structure/],
    ['a tile of a billion rows', { strategy: 'block', block_structure: [1e9, 1] }, /block_structure/],
    ['a tile without rows', { strategy: 'block', block_structure: [0, 1] }, /block_structure/],
  ])('%s', (_, weights, says) => {
    const value = {
      quant_method: 'compressed-tensors',
      format: 'float-quantized',
      config_groups: { g: { weights: { num_bits: 8, type: 'float', ...weights } } },
    } as unknown as JsonValue;
    expect(() => readQuantizationConfig(value, 'c')).toThrow(says);
  });

  it.each<[CompressedFormat, object, RegExp]>([
    ['nvfp4-pack-quantized', { strategy: 'tensor_group', group_size: 32 }, /groups of 32.*groups of 16/],
    ['mxfp4-pack-quantized', { strategy: 'channel' }, /strategy "channel"/],
    ['mxfp4-pack-quantized', { strategy: 'group', group_size: 32, symmetric: false }, /zero points/],
    ['nvfp4-pack-quantized', { strategy: 'tensor_group', group_size: 16, num_bits: 8 }, /8-bit float/],
    [
      'nvfp4-pack-quantized',
      { strategy: 'tensor_group', group_size: 16, scale_dtype: 'torch.uint8' },
      /scales in torch.uint8/,
    ],
    ['pack-quantized', { strategy: 'block', block_structure: [8, 8], type: 'int' }, /strategy "block"/],
  ])('%s with %j', (format, weights, says) => {
    const value = {
      quant_method: 'compressed-tensors',
      format,
      config_groups: { g: { weights: { num_bits: 4, type: 'float', ...weights } } },
    } as unknown as JsonValue;
    expect(() => readQuantizationConfig(value, 'c')).toThrow(says);
  });

  it('schemes that the formats lack, when they are written', () => {
    const pieces = (scheme: object, format: CompressedFormat, more: object = {}) =>
      storedPieces({ name: 'm.weight', shape: [32, 64], scheme: scheme as never, ...more }, format);
    const float = (dtype: string, granularity: object, scaleDType: string) => ({
      ...{ kind: 'float', dtype, granularity, scaleDType },
    });
    const int = (bits: number, granularity: object) => ({
      ...{ kind: 'int', bits, symmetric: true, granularity, scaleDType: 'f32' },
    });
    for (const [scheme, format, says, more] of [
      [float('f4_e2m1', group(32), 'f8_e4m3'), 'nvfp4-pack-quantized', 'groups of 16 columns, got 32'],
      [float('f4_e2m1', { kind: 'channel' }, 'f8_e8m0'), 'mxfp4-pack-quantized', 'groups of 32 columns, got channel'],
      [float('f4_e2m1', group(16), 'f16'), 'float-quantized', 'fp4 codes have scales of 8 bits, got f16'],
      [float('f8_e4m3', group(32), 'f8_e8m0'), 'float-quantized', 'do not go into float-quantized'],
      [int(4, { kind: 'block', rows: 8, columns: 8 }), 'pack-quantized', 'integers have no tiles'],
      [int(3, group(32)), 'pack-quantized', '2, 4 or 8 bits, got 3', { groupIndex: new Int32Array(64) }],
      [int(4, { kind: 'channel' }), 'pack-quantized', 'in groups', { groupIndex: new Int32Array(64) }],
    ] as [object, CompressedFormat, string, object?][]) {
      expect(() => pieces(scheme, format, more), says).toThrow(says);
    }
  });
});
