import { type CodeBlock, type QuantizationScheme, type QuantizedWeight } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import type { JsonValue } from '../json/parse-json.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { stored } from '../testing/stored.fixture.ts';
import { encodeBlock, encodeWeight, rowAlignment } from './encode-block.ts';
import type { CompressedFormat } from './read-group.ts';
import { readQuantizationConfig } from './quantization-config.ts';
import { readCompressedWeights } from './read-weights.ts';
import { storedPieces } from './stored-pieces.ts';
import { quantizationConfig } from './write-config.ts';

/** A weight of pseudo-random codes, made by a small linear congruential generator. */
function weightOf(rows: number, columns: number, scheme: QuantizationScheme): QuantizedWeight & { all: CodeBlock } {
  let state = 12345;
  const next = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const { granularity } = scheme;
  const groups = granularity.kind === 'group' ? columns / granularity.size : 1;
  const count = granularity.kind === 'tensor' ? 1 : rows * groups;
  const bits = scheme.kind === 'int' ? scheme.bits : 8;
  const code = (): number => next(2 ** bits) - 2 ** (bits - 1);
  const all: CodeBlock = {
    codes:
      scheme.kind === 'int'
        ? Int8Array.from({ length: rows * columns }, code)
        : Uint8Array.from({ length: rows * columns }, () => next(0x7f)),
    scales: Float32Array.from({ length: count }, () => (1 + next(128)) / 128),
    ...(scheme.kind === 'int' && !scheme.symmetric && { zeroPoints: Int8Array.from({ length: count }, code) }),
  };
  const part = <T extends Int8Array | Uint8Array | Float32Array>(
    values: T,
    width: number,
    from: number,
    to: number,
  ): T => (width === 0 ? values : values.slice(from * width, to * width)) as T;
  const width = granularity.kind === 'tensor' ? 0 : groups;
  return {
    kind: 'quantized',
    name: 'm.weight',
    shape: [rows, columns],
    scheme,
    byteLength: 0,
    all,
    async block(start = 0, end = rows) {
      return {
        codes: part(all.codes, columns, start, end),
        scales: part(all.scales, width, start, end),
        ...(all.zeroPoints && { zeroPoints: part(all.zeroPoints, width, start, end) }),
      };
    },
    toF32: () => Promise.reject(new Error('not needed')),
    slice: () => {
      throw new Error('not needed');
    },
  };
}

const granularities = [{ kind: 'tensor' }, { kind: 'channel' }, { kind: 'group', size: 8 }] as const;
const integers = granularities.flatMap((granularity) =>
  [2, 3, 4, 5, 6, 7, 8].flatMap((bits) =>
    [true, false].map((symmetric): [string, QuantizationScheme, CompressedFormat] => [
      `int${bits} ${symmetric ? 'symmetric' : 'asymmetric'} per ${granularity.kind}`,
      { kind: 'int', bits, symmetric, granularity, scaleDType: 'bf16' },
      'pack-quantized',
    ]),
  ),
);
const others: [string, QuantizationScheme, CompressedFormat][] = granularities.flatMap((granularity) => [
  [
    `fp8 per ${granularity.kind}`,
    { kind: 'float', dtype: 'f8_e4m3', granularity, scaleDType: 'f16' },
    'float-quantized',
  ],
  [
    `plain int8 per ${granularity.kind}`,
    { kind: 'int', bits: 8, symmetric: false, granularity, scaleDType: 'f32' },
    'int-quantized',
  ],
]);

describe('encodeWeight', () => {
  it.each([...integers, ...others])('%s comes back from its bytes, whatever the blocks', async (_, scheme, format) => {
    const weight = weightOf(70, 24, scheme);
    const pieces = storedPieces(weight, format);
    const tensors = new Map<string, StoredTensor>();
    const memory = new Map(pieces.map(({ name, byteLength }) => [name, new Uint8Array(byteLength)]));
    for (const { name, dtype, shape } of pieces) tensors.set(name, stored(name, dtype, shape, memory.get(name)!));
    for await (const { name, offset, bytes } of encodeWeight(weight, format, 1)) {
      memory.get(name)!.set(bytes, offset);
    }
    const whole = encodeBlock(weight, format, 0, weight.all);
    for (const { name, bytes } of whole) {
      const { source } = tensors.get(name)!;
      expect(await source.read(0, source.byteLength), name).toEqual(bytes);
    }
    const activations = format === 'int-quantized';
    const value = quantizationConfig({ groups: [{ scheme, activations }], ignore: [] }) as JsonValue;
    const read = (await readCompressedWeights(tensors, readQuantizationConfig(value, 'c'))).get('m.weight');
    if (read?.kind !== 'quantized') throw new Error('not quantized');
    expect(read.scheme).toEqual(scheme);
    expect(await read.block()).toEqual(weight.all);
    expect(read.byteLength).toBe(pieces.reduce((sum, piece) => sum + piece.byteLength, 0));
  });
});

describe('encodeBlock', () => {
  const asymmetric = {
    kind: 'int',
    bits: 4,
    symmetric: false,
    granularity: { kind: 'channel' },
    scaleDType: 'f32',
  } as const;
  const weight = weightOf(70, 8, asymmetric);

  it('starts at multiples of 32 rows where zero points share words, and anywhere else', () => {
    expect(rowAlignment(weight, 'pack-quantized')).toBe(32);
    expect(rowAlignment(weight, 'int-quantized')).toBe(1);
    expect(rowAlignment({ scheme: { ...asymmetric, symmetric: true } }, 'pack-quantized')).toBe(1);
    expect(rowAlignment({ scheme: { ...asymmetric, granularity: { kind: 'tensor' } } }, 'pack-quantized')).toBe(1);
  });

  it.each([
    ['a start between two words', 8, [8, 70]],
    ['an end between two words', 0, [0, 33]],
    ['more rows than there are', 32, [0, 70]],
  ])('refuses %s', async (_, start, [from, to]) => {
    const block = await weight.block(from, to);
    expect(() => encodeBlock(weight, 'pack-quantized', start, block)).toThrow(
      expect.objectContaining({ code: 'CT_BLOCK_INVALID' }),
    );
  });

  it('refuses scales or zero points that are missing', () => {
    const { codes, scales } = weight.all;
    for (const block of [
      { codes, scales },
      { ...weight.all, scales: scales.slice(1) },
    ]) {
      expect(() => encodeBlock(weight, 'pack-quantized', 0, block)).toThrow(
        expect.objectContaining({ code: 'CT_BLOCK_INVALID' }),
      );
    }
  });

  it('refuses codes that do not fit the bits', () => {
    const codes = Int8Array.from(weight.all.codes);
    codes[5] = 8;
    expect(() => encodeBlock(weight, 'pack-quantized', 0, { ...weight.all, codes })).toThrow(
      expect.objectContaining({ code: 'CODE_OUT_OF_RANGE' }),
    );
  });

  it('refuses a packed zero point that is no code, naming the weight', () => {
    const weight = weightOf(32, 8, {
      kind: 'int',
      bits: 4,
      symmetric: false,
      granularity: { kind: 'group', size: 4 },
      scaleDType: 'f16',
    });
    const zeroPoints = weight.all.zeroPoints!.slice();
    zeroPoints[5] = 8;
    expect(() => encodeBlock(weight, 'pack-quantized', 0, { ...weight.all, zeroPoints })).toThrow(
      expect.objectContaining({
        code: 'CT_ZERO_UNSUPPORTED',
        kind: 'input',
        message: expect.stringMatching(/"m\.weight".*0 to 15, got 16;/) as string,
      }),
    );
  });
});

describe('storedPieces', () => {
  const int4 = {
    kind: 'int',
    bits: 4,
    symmetric: true,
    granularity: { kind: 'group', size: 128 },
    scaleDType: 'bf16',
  } as const;
  const pieces = (change: object, format: CompressedFormat = 'pack-quantized') =>
    storedPieces({ name: 'm.weight', shape: [2, 256], scheme: int4, ...change }, format);

  it('lists names, dtypes, shapes and bytes before any value exists', () => {
    expect(pieces({})).toEqual([
      { role: 'codes', name: 'm.weight_packed', dtype: 'i32', shape: [2, 32], byteLength: 256 },
      { role: 'scales', name: 'm.weight_scale', dtype: 'bf16', shape: [2, 2], byteLength: 8 },
      { role: 'shape', name: 'm.weight_shape', dtype: 'i64', shape: [2], byteLength: 16 },
    ]);
  });

  it.each([
    ['a vector', { shape: [256] }, 'CT_SHAPE_UNSUPPORTED'],
    ['a stack of matrices', { shape: [2, 2, 256] }, 'CT_SHAPE_UNSUPPORTED'],
    ['groups that do not divide', { shape: [2, 200] }, 'CT_SHAPE_UNSUPPORTED'],
    ['a bias', { name: 'm.bias' }, 'CT_NAME_UNSUPPORTED'],
    ['9 bits', { scheme: { ...int4, bits: 9 } }, 'CT_SCHEME_UNSUPPORTED'],
    [
      'fp8 in words',
      { scheme: { kind: 'float', dtype: 'f8_e4m3', granularity: { kind: 'channel' }, scaleDType: 'f32' } },
      'CT_SCHEME_UNSUPPORTED',
    ],
  ])('refuses %s', (_, change, code) => {
    expect(() => pieces(change)).toThrow(expect.objectContaining({ code }));
  });

  it('refuses f8_e5m2, which the format lacks', () => {
    const scheme = { kind: 'float', dtype: 'f8_e5m2', granularity: { kind: 'channel' }, scaleDType: 'f32' };
    expect(() => pieces({ scheme }, 'float-quantized')).toThrow(/f8_e4m3 only, got f8_e5m2/);
  });
});

describe('quantizationConfig', () => {
  const scheme = (bits: number): QuantizationScheme => ({
    kind: 'int',
    bits,
    symmetric: true,
    granularity: { kind: 'channel' },
    scaleDType: 'f32',
  });

  it('refuses quantized activations beside weights of other than 8 and 4 bits', () => {
    expect(() => quantizationConfig({ groups: [{ scheme: scheme(3), activations: true }], ignore: [] })).toThrow(
      /8 or 4 bits, got 3/,
    );
  });

  it('refuses groups that share a target, and no groups', () => {
    const one = { scheme: scheme(4) };
    expect(() => quantizationConfig({ groups: [one, one], ignore: [] })).toThrow(/targets of its own/);
    expect(() => quantizationConfig({ groups: [], ignore: [] })).toThrow(/targets of its own/);
  });

  it('says mixed-precision where groups have several formats', () => {
    const fp8: QuantizationScheme = {
      kind: 'float',
      dtype: 'f8_e4m3',
      granularity: { kind: 'channel' },
      scaleDType: 'f32',
    };
    const config = quantizationConfig({
      groups: [
        { scheme: scheme(4), targets: ['a'] },
        { scheme: fp8, targets: ['b'] },
      ],
      ignore: [],
    });
    expect(config['format']).toBe('mixed-precision');
    expect(readQuantizationConfig(config, 'c').groups.map((group) => group.format)).toEqual([
      'pack-quantized',
      'float-quantized',
    ]);
  });
});
