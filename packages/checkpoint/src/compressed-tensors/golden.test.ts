// Held to bytes written by compressed-tensors 0.19 with llm-compressor 0.14 (0.14 for the old packing); how they were
// made is in the manifest. Restored values are compared by their SHA-256.
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { fromF32, toF32, type QuantizedWeight } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpoint, openSafetensorsFile, saveCheckpoint } from '../node/index.ts';
import type { SafetensorsFile, StoredTensor } from '../safetensors/safetensors-file.ts';
import { stored } from '../testing/stored.fixture.ts';
import { encodeWeight } from './encode-block.ts';
import { readQuantizationConfig } from './quantization-config.ts';
import { readCompressedWeights } from './read-weights.ts';
import { storedPieces } from './stored-pieces.ts';

const root = 'golden/compressed-tensors';
const open = (path: string) => openSafetensorsFile(shared(`${root}/${path}`));
const bytesOf = async (file: SafetensorsFile, name: string): Promise<Uint8Array> => {
  const { source, byteLength } = file.tensors.get(name)!;
  return source.read(0, byteLength);
};
const sha256 = (values: Float32Array): string =>
  createHash('sha256').update(new Uint8Array(values.buffer)).digest('hex');

interface Manifest {
  readonly schemes: Record<string, ManifestScheme>;
}
interface ManifestScheme {
  readonly scheme: object;
  readonly matrices: Record<
    string,
    { format: string; decompressedDtype: string; decompressedF32Sha256: string; exactF32Sha256?: string }
  >;
  readonly checkpoint?: { decompressed: Record<string, { f32Sha256: string }> };
}
const checkpoints = [
  ...['w4a16-g128-sym', 'w4a16-g128-asym', 'w8a16-channel', 'w8a8-int', 'fp8-channel'],
  ...['fp8-block', 'nvfp4a16', 'mxfp4a16'],
];
const matrixSchemes = [
  ...checkpoints,
  ...['w8-channel-asym', 'fp8-tensor', 'mxfp8a16', 'w3a16-g128-sym', 'w4a16-g64-sym-bf16'],
];
/** Restored in bf16 by the library, in f32 by us. */
const isMicro = (name: string) => /^(nvfp4|mxfp)/.test(name);
const rounded = (values: Float32Array) => toF32('bf16', fromF32('bf16', values));

describe.skipIf(!hasShared)('compressed-tensors against the reference library', () => {
  let manifest: Manifest;
  let scratch = '';
  beforeAll(() => {
    manifest = JSON.parse(readFileSync(shared(`${root}/manifest.json`), 'utf8')) as Manifest;
    scratch = mkdtempSync(join(tmpdir(), 'pith-golden-'));
  });
  afterAll(() => rmSync(scratch, { recursive: true, force: true }));

  /** The matrices of a scheme as weights `a.weight`, `b.weight`, `edges.weight`. */
  const matrices = async (name: string): Promise<{ file: SafetensorsFile; weights: QuantizedWeight[] }> => {
    const file = await open(`${name}/tensors.safetensors`);
    const { scheme, matrices } = manifest.schemes[name]!;
    const stored = new Map([...file.tensors].filter(([tensor]) => !tensor.includes('.decompressed')));
    const value = {
      quant_method: 'compressed-tensors',
      format: matrices['a']!.format,
      // Matrices alone: a scheme with static activations has no scales of inputs here.
      config_groups: { group_0: { ...scheme, input_activations: null } },
      version: '0.19.0',
    } as never;
    const weights = await readCompressedWeights(stored, readQuantizationConfig(value, 'manifest.json'));
    return { file, weights: [...weights.values()] as QuantizedWeight[] };
  };

  it.each(matrixSchemes)('restores the matrices of %s', async (name) => {
    const { weights } = await matrices(name);
    expect(weights.map((weight) => weight.name).sort()).toEqual(['a.weight', 'b.weight', 'edges.weight']);
    for (const weight of weights) {
      const facts = manifest.schemes[name]!.matrices[weight.name.slice(0, -'.weight'.length)]!;
      // The reference restores to the dtype of the scales, bf16 in one scheme, and so do we.
      const values = await weight.toF32();
      if (isMicro(name)) expect(sha256(values), weight.name).toBe(facts.exactF32Sha256);
      expect(sha256(isMicro(name) ? rounded(values) : values), weight.name).toBe(facts.decompressedF32Sha256);
    }
  });

  it.each(matrixSchemes)('writes the bytes of %s again from codes and scales', async (name) => {
    const { file, weights } = await matrices(name);
    for (const weight of weights) {
      const { format } = manifest.schemes[name]!.matrices['a']!;
      const pieces = storedPieces(weight, format as 'pack-quantized');
      expect(pieces.reduce((sum, piece) => sum + piece.byteLength, 0)).toBe(weight.byteLength);
      const written = new Map(pieces.map((piece) => [piece.name, new Uint8Array(piece.byteLength)]));
      // Blocks of 32 rows, of 128 for tiles: nearly every weight here has at least one border between blocks.
      for await (const chunk of encodeWeight(weight, format as 'pack-quantized', 1)) {
        written.get(chunk.name)!.set(chunk.bytes, chunk.offset);
      }
      for (const { name: tensor, dtype, shape } of pieces) {
        const golden = file.tensors.get(tensor)!;
        expect([dtype, shape], tensor).toEqual([golden.dtype, golden.shape]);
        expect(Buffer.compare(written.get(tensor)!, await bytesOf(file, tensor)), tensor).toBe(0);
      }
    }
  });

  it.each(checkpoints)('opens the checkpoint of %s and restores every weight', async (name) => {
    const checkpoint = await openCheckpoint(shared(`${root}/${name}/checkpoint`));
    const { decompressed } = manifest.schemes[name]!.checkpoint!;
    expect(checkpoint.weights.size).toBe(11);
    for (const [weight, { f32Sha256 }] of Object.entries(decompressed)) {
      const values = await checkpoint.weight(weight).toF32();
      expect(sha256(isMicro(name) ? rounded(values) : values), weight).toBe(f32Sha256);
    }
    await checkpoint.close();
  });

  it.each(checkpoints)('saves the checkpoint of %s with the same files', async (name) => {
    const directory = shared(`${root}/${name}/checkpoint`);
    const checkpoint = await openCheckpoint(directory);
    const output = join(scratch, name);
    await saveCheckpoint(output, {
      configText: checkpoint.configText,
      weights: checkpoint.weights.values(),
      ignore: ['lm_head'],
    });
    for (const file of ['model.safetensors', 'config.json']) {
      expect(readFileSync(join(output, file)).equals(readFileSync(join(directory, file))), file).toBe(true);
    }
    await checkpoint.close();
  });

  it('reads rows in the middle of a weight like those of the whole', async () => {
    for (const name of matrixSchemes) {
      for (const weight of (await matrices(name)).weights) {
        const [rows, columns] = weight.shape as [number, number];
        const whole = await weight.toF32();
        for (const [start, end] of [
          [0, 1],
          [1, 8],
          [7, rows - 3],
          [rows - 1, rows],
          [5, 5],
        ] as const) {
          const part = whole.slice(start * columns, end * columns);
          expect(sha256(await weight.toF32(start, end))).toBe(sha256(part));
          expect(sha256(await weight.slice(start, rows).toF32(0, end - start))).toBe(sha256(part));
        }
      }
    }
  });

  it.each([3, 5])('reads %s-bit codes of the old packing, which leaves the end of a word empty', async (bits) => {
    const file = await open('packing/tensors.safetensors');
    const codes = file.tensors.get(`codes${bits}`)!;
    const [rows, columns] = codes.shape as [number, number];
    for (const version of ['14', '19']) {
      const tensors = new Map<string, StoredTensor>();
      const put = (name: string, dtype: StoredTensor['dtype'], shape: number[], bytes: Uint8Array) => {
        tensors.set(name, stored(name, dtype, shape, bytes));
      };
      put(
        'm.weight_packed',
        'i32',
        [...file.tensors.get(`packed${bits}.v0_${version}`)!.shape],
        await bytesOf(file, `packed${bits}.v0_${version}`),
      );
      put('m.weight_scale', 'f32', [rows, 1], new Uint8Array(new Float32Array(rows).fill(1).buffer));
      put('m.weight_shape', 'i64', [2], new Uint8Array(BigInt64Array.of(BigInt(rows), BigInt(columns)).buffer));
      const weights = { num_bits: bits, type: 'int', symmetric: true, strategy: 'channel' };
      const config = {
        quant_method: 'compressed-tensors',
        format: 'pack-quantized',
        config_groups: { g: { weights } },
      };
      const read = await readCompressedWeights(tensors, readQuantizationConfig(config, 'test'));
      const values = await read.get('m.weight')!.toF32();
      expect(new Int8Array(values)).toEqual(new Int8Array(await bytesOf(file, codes.name)));
    }
  });
});
