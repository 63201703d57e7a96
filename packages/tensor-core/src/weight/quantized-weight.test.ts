import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { toF32 } from '../dtype/convert.ts';
import { unpack, unpackAlongRows } from '../packing/pack.ts';
import { quantizedByteLength } from './quantized-layout.ts';
import { memoryBlock, quantizedWeight, type QuantizedWeightParts } from './quantized-weight.ts';
import type { CodeBlock, IntegerScheme, QuantizationScheme } from './weight-tensor.ts';

const GROUPED: IntegerScheme = {
  kind: 'int',
  bits: 4,
  symmetric: false,
  granularity: { kind: 'group', size: 2 },
  scaleDType: 'f32',
};
const BLOCK: CodeBlock = {
  codes: Int8Array.of(1, 2, 3, 4, -8, 7, 0, -1, 5, 5, 5, 5),
  scales: Float32Array.of(1, 0.5, 2, 0.1, 3, 4),
  zeroPoints: Int8Array.of(0, 1, -1, 2, 5, 6),
};

function weight(changes: Partial<QuantizedWeightParts> = {}) {
  const scheme = changes.scheme ?? GROUPED;
  return quantizedWeight({ name: 'w', shape: [3, 4], scheme, read: memoryBlock(BLOCK, GROUPED, 3, 4), ...changes });
}

describe('quantizedWeight', () => {
  it('restores (code - zero point) * scale, worked by hand', async () => {
    expect([...(await weight().toF32())]).toEqual([
      1, 2, 1, 1.5,
      -14, 16, Math.fround(-2 * Math.fround(0.1)), Math.fround(-3 * Math.fround(0.1)),
      0, 0, -4, -4,
    ]); // prettier-ignore
  });

  it('restores and slices rows', async () => {
    const all = await weight().toF32();
    expect(await weight().toF32(1, 2)).toEqual(all.slice(4, 8));
    const slice = weight().slice(1, 3);
    expect(slice.shape).toEqual([2, 4]);
    expect(await slice.toF32()).toEqual(all.slice(4));
    expect(await slice.slice(1, 2).toF32()).toEqual(all.slice(8));
    if (slice.kind !== 'quantized') throw new Error('a slice keeps its representation');
    expect((await slice.block(0, 1)).codes).toEqual(Int8Array.of(-8, 7, 0, -1));
    expect((await slice.block(0, 1)).zeroPoints).toEqual(Int8Array.of(-1, 2));
  });

  it('follows the group index of permuted columns', async () => {
    const groupIndex = Int32Array.of(1, 0, 1, 0);
    expect([...(await weight({ groupIndex }).toF32(0, 1))]).toEqual([0, 2, 1, 4]);
    for (const wrong of [Int32Array.of(0, 0, 0), Int32Array.of(0, 0, 0, 2), Int32Array.of(-1, 0, 0, 0)]) {
      expect(() => weight({ groupIndex: wrong })).toThrow(expect.objectContaining({ code: 'GROUP_INDEX_INVALID' }));
    }
  });

  it('rounds to the dtype of the scales', async () => {
    const scheme: IntegerScheme = { ...GROUPED, symmetric: true, granularity: { kind: 'tensor' }, scaleDType: 'bf16' };
    const scale = toF32('bf16', Uint8Array.of(0x81, 0x3f)); // 1 + 2^-7
    const read = memoryBlock({ codes: Int8Array.of(3, 7), scales: scale }, scheme, 1, 2);
    const values = await quantizedWeight({ name: 'w', shape: [1, 2], scheme, read }).toF32();
    // 3 * (1 + 2^-7) = 3.0234375 is a tie between 3.015625 and 3.03125, and goes to the even one.
    expect([...values]).toEqual([3.03125, 7.0625]);
  });

  it('restores fp8 codes', async () => {
    const scheme = { kind: 'float', dtype: 'f8_e4m3', granularity: { kind: 'channel' }, scaleDType: 'f32' } as const;
    const block = { codes: Uint8Array.of(0x38, 0x7e, 0xb8, 0x01), scales: Float32Array.of(2, 0.5) };
    const float = quantizedWeight({ name: 'w', shape: [2, 2], scheme, read: memoryBlock(block, scheme, 2, 2) });
    expect([...(await float.toF32())]).toEqual([2, 896, -0.5, 2 ** -10]);
    expect(float.byteLength).toBe(4 + 8);
  });

  it('uses one scale for the whole tensor with granularity tensor, also in a slice', async () => {
    const scheme: IntegerScheme = { ...GROUPED, granularity: { kind: 'tensor' } };
    const block = { codes: Int8Array.of(1, 2, 3), scales: Float32Array.of(2), zeroPoints: Int8Array.of(1) };
    const tensor = quantizedWeight({ name: 'w', shape: [3, 1], scheme, read: memoryBlock(block, scheme, 3, 1) });
    expect([...(await tensor.slice(1, 3).toF32())]).toEqual([2, 4]);
  });

  it('refuses a block of other size, rows it has not and groups that do not divide', async () => {
    const broken = weight({ read: async () => ({ codes: new Int8Array(4), scales: new Float32Array(1) }) });
    await expect(broken.block(0, 2)).rejects.toMatchObject({
      code: 'QUANTIZED_BLOCK_MALFORMED',
      message: 'quantized block: 2 rows of 4 columns take 8 codes, got 4; 4 scales, got 1; 4 zero points, got none',
    });
    await expect(weight().toF32(0, 4)).rejects.toMatchObject({ code: 'ROWS_OUT_OF_RANGE' });
    expect(() => weight().slice(2, 1)).toThrow(expect.objectContaining({ code: 'ROWS_OUT_OF_RANGE' }));
    expect(() => weight({ shape: [3, 5] })).toThrow('the group size must divide its 5 columns, got 2');
  });
});

describe('scales of 8 bits', () => {
  const nvfp4 = {
    kind: 'float',
    dtype: 'f4_e2m1',
    granularity: { kind: 'group', size: 2 },
    scaleDType: 'f8_e4m3',
  } as const;
  const block = { codes: Uint8Array.of(2, 15, 1, 8), scales: Float32Array.of(0.25, 2) };

  it('multiply codes of four bits', async () => {
    const read = memoryBlock(block, nvfp4, 1, 4);
    const one = quantizedWeight({ name: 'w', shape: [1, 4], scheme: nvfp4, globalScale: 3, read });
    expect([...(await one.toF32())]).toEqual([0.25, -1.5, 1, -0]);
    expect([one.globalScale, one.slice(0, 1)]).toMatchObject([3, { globalScale: 3 }]);
    // Two bytes of codes, two scales, the global one.
    expect(one.byteLength).toBe(2 + 2 + 4);
  });

  it.each([undefined, 0, -1, NaN, Infinity])('need a global scale, and %d is none', (globalScale) => {
    const parts = { name: 'w', shape: [1, 4], scheme: nvfp4, read: memoryBlock(block, nvfp4, 1, 4) };
    expect(() => quantizedWeight({ ...parts, ...(globalScale !== undefined && { globalScale }) })).toThrow(
      expect.objectContaining({ code: 'GLOBAL_SCALE_INVALID' }),
    );
  });

  it('are the only ones with a global scale', () => {
    expect(() => weight({ globalScale: 1 })).toThrow(expect.objectContaining({ code: 'GLOBAL_SCALE_INVALID' }));
  });

  it('has one stored scale for a tile, and in a block those that each row crosses', async () => {
    const scheme = {
      kind: 'float',
      dtype: 'f8_e4m3',
      granularity: { kind: 'block', rows: 2, columns: 4 },
      scaleDType: 'bf16',
    } as const;
    expect(quantizedByteLength(scheme, 5, 9)).toBe(45 + 2 * 3 * 3);
    const codes = new Uint8Array(15).fill(0x38);
    const scales = Float32Array.of(1, 2, 1, 2, 4, 8);
    const read = memoryBlock({ codes, scales }, scheme, 3, 5);
    const tiles = quantizedWeight({ name: 'w', shape: [3, 5], scheme, read });
    expect([...(await tiles.slice(1, 3).toF32())]).toEqual([1, 1, 1, 1, 2, 4, 4, 4, 4, 8]);
  });
});

describe('quantizedByteLength', () => {
  it.each([
    // rows, columns, then codes + scales + zero points + shape record, counted by hand
    [{ ...GROUPED, granularity: { kind: 'group', size: 128 } }, 96, 256, 96 * 32 * 4 + 96 * 2 * 4 + 12 * 2 * 4 + 16],
    [
      { ...GROUPED, symmetric: true, bits: 3, granularity: { kind: 'channel' }, scaleDType: 'bf16' },
      5,
      11,
      5 * 8 + 10 + 16,
    ],
    [{ ...GROUPED, bits: 8, granularity: { kind: 'tensor' }, scaleDType: 'f16' }, 2, 3, 2 * 4 + 2 + 1 + 16],
    [{ kind: 'float', dtype: 'f8_e5m2', granularity: { kind: 'tensor' }, scaleDType: 'f32' }, 3, 7, 21 + 4],
  ] as [QuantizationScheme, number, number, number][])('%j', (scheme, rows, columns, bytes) => {
    expect(quantizedByteLength(scheme, rows, columns)).toBe(bytes);
    expect(quantizedByteLength(scheme, rows, columns, true)).toBe(bytes + columns * 4);
    const read = async () => BLOCK;
    expect(quantizedWeight({ name: 'w', shape: [rows, columns], scheme, read }).byteLength).toBe(bytes);
  });

  it('gives way to the count of the maker, slices included', () => {
    const made = weight({ byteLengthOfRows: (start, end) => 1000 * start + end });
    expect([made.byteLength, made.slice(1, 3).byteLength, made.slice(1, 3).slice(1, 2).byteLength]).toEqual([
      3, 1003, 2003,
    ]);
  });
});

describe('quantized activations', () => {
  const scheme: IntegerScheme = {
    kind: 'int',
    bits: 8,
    symmetric: false,
    granularity: { kind: 'channel' },
    scaleDType: 'bf16',
  };
  const fixed = { kind: 'tensor-static', dtype: 'i8', symmetric: false, scale: 0.5, zeroPoint: -3 } as const;

  it('stay with the weight and its rows', () => {
    const read = weight().block;
    const quantized = quantizedWeight({ name: 'w', shape: [3, 4], scheme, activations: fixed, read });
    expect(quantized.activations).toEqual(fixed);
    expect(Object.isFrozen(quantized.activations)).toBe(true);
    expect(quantized.slice(1, 3)).toMatchObject({ activations: fixed });
    expect(weight().activations).toBeUndefined();
  });

  it('are counted: plain bytes for codes and zero points, then a static scale and its zero point', () => {
    const token = { kind: 'token-dynamic', dtype: 'i8', symmetric: true } as const;
    expect(quantizedByteLength(scheme, 3, 5, false, token)).toBe(3 * 5 + 3 * 2 + 3);
    expect(quantizedByteLength(scheme, 3, 5, false, fixed)).toBe(3 * 5 + 3 * 2 + 3 + 2 + 1);
    expect(quantizedByteLength({ ...scheme, symmetric: true }, 3, 5, false, { ...fixed, symmetric: true })).toBe(
      3 * 5 + 3 * 2 + 2,
    );
  });
});

// golden/compressed-tensors: SHA-256 of what `decompress_module` of compressed-tensors 0.19 gives, as f32.
describe.skipIf(!hasShared)('weights written by compressed-tensors', () => {
  const folder = 'golden/compressed-tensors';
  type Manifest = { schemes: Record<string, { scheme: { weights: Weights }; matrices: Record<string, Facts> }> };
  type Facts = { tensors: Record<string, string>; decompressedF32Sha256: string };
  type Weights = { num_bits: number; type: string; symmetric: boolean; strategy: string; group_size?: number };
  const names = [
    'w4a16-g128-sym', 'w4a16-g128-asym', 'w8a16-channel', 'w8a8-int', 'w8-channel-asym', 'w3a16-g128-sym',
    'w4a16-g64-sym-bf16', 'fp8-channel', 'fp8-tensor',
  ]; // prettier-ignore

  it.each(names)('%s: restored values and stored bytes', async (name) => {
    const manifest = JSON.parse(readFileSync(shared(`${folder}/manifest.json`), 'utf8')) as Manifest;
    const { scheme: { weights }, matrices } = manifest.schemes[name]!; // prettier-ignore
    const tensors = readSafetensors(shared(`${folder}/${name}/tensors.safetensors`));
    for (const [matrix, facts] of Object.entries(matrices)) {
      const get = (suffix: string) => tensors.get(`${matrix}.${suffix}`);
      const scales = get('weight_scale')!;
      const codes = get('weight_packed') ?? get('weight')!;
      const [rows, columns] = { a: [96, 256], b: [64, 128], edges: [32, 256] }[matrix]! as [number, number];
      const scaleDType = scales.dtype === 'BF16' ? 'bf16' : 'f32';
      const granularity =
        weights.strategy === 'group'
          ? ({ kind: 'group', size: weights.group_size! } as const)
          : ({ kind: weights.strategy === 'tensor' ? 'tensor' : 'channel' } as const);
      const bits = weights.num_bits;
      const scheme: QuantizationScheme =
        weights.type === 'float'
          ? { kind: 'float', dtype: 'f8_e4m3', granularity, scaleDType }
          : { kind: 'int', bits, symmetric: weights.symmetric, granularity, scaleDType };
      const packed = get('weight_packed') !== undefined;
      const shape = { rows, columns, bits };
      const zeros = get('weight_zero_point');
      const groups = granularity.kind === 'group' ? columns / granularity.size : 1;
      const block: CodeBlock = {
        codes: packed ? unpack(new Int32Array(codes.bytes.buffer), shape) : new Int8Array(codes.bytes.buffer),
        scales: toF32(scaleDType, scales.bytes),
        ...(zeros && {
          zeroPoints: packed
            ? unpackAlongRows(new Int32Array(zeros.bytes.buffer), { rows, columns: groups, bits })
            : new Int8Array(zeros.bytes.buffer),
        }),
      };
      const weight = quantizedWeight({
        name: matrix,
        shape: [rows, columns],
        scheme,
        read: memoryBlock(block, scheme, rows, columns),
      });
      const values = await weight.toF32();
      const hash = createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');
      expect(hash, matrix).toBe(facts.decompressedF32Sha256);
      const stored = Object.keys(facts.tensors).reduce((sum, suffix) => sum + get(suffix)!.bytes.byteLength, 0);
      if (packed || scheme.kind === 'float') expect(weight.byteLength, matrix).toBe(stored);
    }
  });
});

/** The tensors of a file that is known to be well formed. */
function readSafetensors(path: string): Map<string, { dtype: string; bytes: Uint8Array<ArrayBuffer> }> {
  const file = readFileSync(path);
  const start = 8 + Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, start)) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  delete header['__metadata__'];
  return new Map(
    Object.entries(header).map(
      ([
        name,
        {
          dtype,
          data_offsets: [from, to],
        },
      ]) => {
        return [name, { dtype, bytes: Uint8Array.from(file.subarray(start + from, start + to)) }];
      },
    ),
  );
}
