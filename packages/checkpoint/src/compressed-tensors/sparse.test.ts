// Held to tensors written by compressed-tensors 0.14.0, the last version that wrote sparse weights.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import {
  compactWeights,
  countZeros,
  denseWeight,
  fromF32,
  memoryBytes,
  randomStream,
  sparseOf,
  type DenseWeight,
  type SparseWeight,
  type WeightTensor,
} from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint, openSafetensorsFile, saveCheckpoint, type LocalSafetensors } from '../node/index.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { stored } from '../testing/stored.fixture.ts';
import { readQuantizationConfig } from './quantization-config.ts';
import { readCompressedWeights } from './read-weights.ts';
import { encodeSparseWeight, packMask, sparseFormat, sparsePieces, unpackMask } from './sparse-pieces.ts';

const bytesOf = ({ source, byteLength }: StoredTensor) => source.read(0, byteLength);

async function sparse(weight: DenseWeight, layout: SparseWeight['layout']): Promise<SparseWeight> {
  return sparseOf(weight, layout, (await countZeros(weight))!);
}

/** The stored tensors of a weight, encoded in blocks of about so many weights. */
async function encoded(weight: SparseWeight, blockWeights?: number): Promise<Map<string, StoredTensor>> {
  const bytes = new Map(sparsePieces(weight).map((piece) => [piece.name, new Uint8Array(piece.byteLength)]));
  for await (const chunk of encodeSparseWeight(weight, blockWeights))
    bytes.get(chunk.name)!.set(chunk.bytes, chunk.offset);
  return new Map(
    sparsePieces(weight).map(({ name, dtype, shape }) => [name, stored(name, dtype, shape, bytes.get(name)!)]),
  );
}

function read(tensors: ReadonlyMap<string, StoredTensor>, format: string) {
  const config = { quant_method: 'compressed-tensors', sparsity_config: { format } };
  return readCompressedWeights(tensors, readQuantizationConfig(config, 'config.json'));
}

/** Sparse values [rows, columns] of a seed; whole runs of zeros among them. */
function pruned(rows: number, columns: number, name = 'm.weight', dtype: 'f32' | 'bf16' = 'bf16'): DenseWeight {
  const stream = randomStream(1, name);
  const values = Float32Array.from({ length: rows * columns }, (_, i) => {
    const value = stream.normal();
    return i % 3 === 0 || Math.floor(i / columns) === 1 ? value : 0;
  });
  return denseWeight({ name, dtype, shape: [rows, columns], source: memoryBytes(fromF32(dtype, values)) });
}

describe.skipIf(!hasShared)('sparse weights against the reference library', () => {
  let file: LocalSafetensors;
  beforeAll(async () => {
    file = await openSafetensorsFile(shared('golden/compressed-tensors/sparse/tensors.safetensors'));
  });
  afterAll(() => file.close());

  const dense = async (name: string, dtype: 'f32' | 'bf16'): Promise<DenseWeight> => {
    const golden = file.tensors.get(`${name}.dense`)!;
    const values = new Float32Array((await bytesOf(golden)).slice().buffer);
    const source = memoryBytes(fromF32(dtype, values));
    return denseWeight({ name: `${name}.weight`, dtype, shape: golden.shape, source });
  };

  it.each([
    ['half', 'f32', 'bitmask', 'bitmask.half.weight'],
    ['b24', 'f32', 'bitmask', 'bitmask.b24.weight'],
    ['b24', 'f32', '2:4', 'sparse24.b24'],
    ['b24', 'bf16', '2:4', 'sparse24.b24_bf16'],
    ['partly', 'f32', '2:4', 'sparse24.partly'],
  ] as const)('writes and reads %s in %s as %s', async (name, dtype, layout, prefix) => {
    const source = await dense(name, dtype);
    // Blocks of 7 rows, so that there are borders between them.
    const ours = await encoded(await sparse(source, layout), 7 * 128);
    for (const [tensor, { dtype: type, shape, source: data, byteLength }] of ours) {
      const golden = file.tensors.get(`${prefix}.${tensor.slice(tensor.lastIndexOf('.') + 1)}`)!;
      expect([type, shape], tensor).toEqual([golden.dtype, golden.shape]);
      expect(Buffer.compare(await data.read(0, byteLength), await bytesOf(golden)), tensor).toBe(0);
    }
    expect([...ours.values()].reduce((sum, { byteLength }) => sum + byteLength, 0)).toBe(
      (await sparse(source, layout)).byteLength,
    );
    // The golden's own names: bitmasks of the first files have `.weight` in them.
    const golden = new Map([...file.tensors].filter(([tensor]) => tensor.startsWith(`${prefix}.`)));
    const weights = await read(golden, sparseFormat(layout));
    const restored = weights.get(prefix.endsWith('.weight') ? prefix : `${prefix}.weight`)!;
    expect(restored).toMatchObject({ kind: 'sparse', layout, dtype, shape: [64, 128] });
    expect(weights.size).toBe(1);
    expect(await restored.toF32()).toEqual(await source.toF32());
    expect(await restored.slice(5, 64).toF32(4, 9)).toEqual(await source.toF32(9, 14));
    expect(restored.byteLength).toBe([...golden.values()].reduce((sum, { byteLength }) => sum + byteLength, 0));
  });
});

describe('masks as bits', () => {
  it.each([1, 4, 8, 13, 16])('round trip with %i columns, bit 0 first', (columns) => {
    const stream = randomStream(1, 'mask');
    const mask = Uint8Array.from({ length: 5 * columns }, () => stream.below(2));
    const bits = packMask(mask, columns);
    expect(bits.length).toBe(5 * Math.ceil(columns / 8));
    expect(bits[0]! & 1).toBe(mask[0]);
    expect(unpackMask(bits, columns)).toEqual(mask);
  });
});

describe('a checkpoint with sparse weights', () => {
  let scratch = '';
  beforeAll(() => void (scratch = mkdtempSync(join(tmpdir(), 'pith-sparse-'))));
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  it('is saved, says so in config.json, and opens lazily', async () => {
    const weights: WeightTensor[] = await compactWeights([
      pruned(6, 48, 'model.layers.0.up_proj.weight'),
      pruned(8, 20, 'model.layers.0.down_proj.weight', 'f32'),
      denseWeight({ name: 'model.norm.weight', dtype: 'bf16', shape: [4], source: memoryBytes(new Uint8Array(8)) }),
    ]);
    expect(weights.map(({ kind }) => kind)).toEqual(['sparse', 'sparse', 'dense']);
    const directory = join(scratch, 'saved');
    await saveCheckpoint(directory, { configText: '{"model_type":"llama"}', weights });
    const config = JSON.parse(readFileSync(join(directory, 'config.json'), 'utf8')) as Record<string, unknown>;
    const kept = weights.reduce((sum, weight) => sum + (weight.kind === 'sparse' ? weight.kept : 0), 0);
    expect(config['quantization_config']).toEqual({
      quant_method: 'compressed-tensors',
      sparsity_config: {
        format: 'sparse-bitmask',
        global_sparsity: (6 * 48 + 8 * 20 - kept) / (6 * 48 + 8 * 20 + 4),
        ignore: [],
        registry_requires_subclass: false,
        sparsity_structure: 'unstructured',
        targets: ['model.layers.0.up_proj', 'model.layers.0.down_proj'],
      },
      version: '0.14.0',
    });
    const checkpoint = await openCheckpoint(directory);
    expect([...checkpoint.weights.keys()].sort()).toEqual(weights.map(({ name }) => name).sort());
    for (const weight of weights) {
      const again = checkpoint.weight(weight.name);
      expect([again.kind, again.byteLength]).toEqual([weight.kind, weight.byteLength]);
      expect(await again.toF32()).toEqual(await weight.toF32());
    }
    // Written again from what was read: the same file.
    await saveCheckpoint(join(scratch, 'again'), { configText: '{}', weights: checkpoint.weights.values() });
    const file = (name: string) => readFileSync(join(scratch, name, 'model.safetensors'));
    expect(file('again').equals(file('saved'))).toBe(true);
    await checkpoint.close();
  });

  it('has one layout', async () => {
    const two = denseWeight({
      ...{ name: 'b.weight', dtype: 'f32', shape: [1, 4] },
      source: memoryBytes(fromF32('f32', Float32Array.of(1, 0, 2, 0))),
    });
    const weights = [await sparse(pruned(6, 48), 'bitmask'), await sparse(two, '2:4')];
    await expect(saveCheckpoint(join(scratch, 'mixed'), { configText: '{}', weights })).rejects.toMatchObject({
      code: 'CT_SPARSITY_MIXED',
    });
  });

  it('refuses names that the format does not know', async () => {
    const weight = await sparse(pruned(6, 48, 'table'), 'bitmask');
    expect(() => sparsePieces(weight)).toThrow(expect.objectContaining({ code: 'CT_NAME_UNSUPPORTED' }));
  });
});

describe('stored tensors that do not fit', () => {
  type Change = (tensors: Map<string, StoredTensor>) => void;
  const replace =
    (part: string, dtype: StoredTensor['dtype'], shape: number[], bytes?: Uint8Array): Change =>
    (tensors) => {
      const width = dtype === 'i64' ? 8 : dtype === 'bf16' || dtype === 'f16' ? 2 : dtype === 'f32' ? 4 : 1;
      const data = bytes ?? new Uint8Array(shape.reduce((product, length) => product * length, width));
      tensors.set(`m.${part}`, stored(`m.${part}`, dtype, shape, data));
    };
  const i64 = (...values: number[]) => new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
  // 6 rows of 48 columns with 16 values each, 48 in row 1.
  const KEPT = 5 * 16 + 48;

  it.each<[string, string, Change]>([
    ['no bitmask', 'CT_TENSOR_MISSING', (tensors) => tensors.delete('m.bitmask')],
    ['no values', 'CT_TENSOR_MISSING', (tensors) => tensors.delete('m.compressed')],
    ['no shape', 'CT_TENSOR_MISSING', (tensors) => tensors.delete('m.shape')],
    ['no row offsets', 'CT_SPARSE_INVALID', (tensors) => tensors.delete('m.row_offsets')],
    ['scales that no group knows', 'CT_GROUP_UNKNOWN', replace('weight_scale', 'f32', [6, 1])],
    ['values of i8', 'CT_SPARSE_INVALID', replace('compressed', 'i8', [KEPT])],
    ['too few values', 'CT_SPARSE_INVALID', replace('compressed', 'bf16', [3])],
    ['a mask of other rows', 'CT_SPARSE_INVALID', replace('bitmask', 'u8', [5, 6])],
    ['a mask that is no matrix', 'CT_SPARSE_INVALID', replace('bitmask', 'u8', [36])],
    ['a shape of i32', 'CT_SPARSE_INVALID', replace('shape', 'i32', [2])],
    ['a huge shape', 'CT_SPARSE_INVALID', replace('shape', 'i64', [2], i64(6, 2 ** 50))],
    ['a negative shape', 'CT_SPARSE_INVALID', replace('shape', 'i64', [2], i64(6, -48))],
    ['offsets that go back', 'CT_SPARSE_INVALID', replace('row_offsets', 'i64', [6], i64(0, 16, 64, 80, 70, 112))],
    ['offsets that begin later', 'CT_SPARSE_INVALID', replace('row_offsets', 'i64', [6], i64(1, 16, 64, 80, 96, 112))],
    [
      'offsets beyond the end',
      'CT_SPARSE_INVALID',
      replace('row_offsets', 'i64', [6], i64(0, 16, 64, 80, 96, 2 ** 40)),
    ],
  ])('%s', async (_, code, change) => {
    const tensors = await encoded(await sparse(pruned(6, 48), 'bitmask'));
    change(tensors);
    await expect(read(tensors, 'sparse-bitmask')).rejects.toMatchObject({ code, kind: 'input' });
  });

  it('values under the name of the other format', async () => {
    const tensors = await encoded(await sparse(pruned(6, 48), 'bitmask'));
    await expect(read(tensors, 'sparse-24-bitmask')).rejects.toMatchObject({ code: 'CT_SPARSE_INVALID' });
  });

  it('a mask that keeps another number than the offsets say', async () => {
    const tensors = await encoded(await sparse(pruned(6, 48), 'bitmask'));
    replace('bitmask', 'u8', [6, 6])(tensors);
    const weight = (await read(tensors, 'sparse-bitmask')).get('m.weight')!;
    await expect(weight.toF32()).rejects.toMatchObject({ code: 'SPARSE_BLOCK_MALFORMED' });
  });

  it('a configuration that says neither how weights are quantized nor how sparse', () => {
    const config = { quant_method: 'compressed-tensors', sparsity_config: {} };
    expect(() => readQuantizationConfig(config, 'config.json')).toThrow(
      /config_groups, a kv_cache_scheme, or a sparsity_config/,
    );
  });
});
