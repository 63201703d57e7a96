// Tensors behind the first 4 GiB of a file: offsets that 32 bits cannot hold are laid out, written, copied, hashed and read back.
// The files are sparse: what is not written takes no space, and is not read.
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openGguf, planGguf, restoreBlocks, type GgufTensorSpec, type GgufValue } from '@pith/checkpoint';
import { openModel } from '@pith/model/node';
import { denseWeight, fromF32, memoryBytes } from '@pith/tensor-core';
import { createKernelPool, fileBytes } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256, treeHash } from '../../run/hash-tree.ts';
import { LEAF_BYTES, runLeaves } from '../../run/leaves.ts';
import { writeTensors } from './write-tensors.ts';

const GIB = 2 ** 30;
const root = mkdtempSync(join(tmpdir(), 'pith-large-'));
afterAll(() => rmSync(root, { recursive: true }));

/** A file of zeros that has not been written. */
function sparseFile(path: string, byteLength: number, header: Uint8Array): void {
  const file = openSync(path, 'w');
  ftruncateSync(file, byteLength);
  writeSync(file, header, 0, header.length, 0);
  closeSync(file);
}

/** Whether the file system of temporary files leaves holes, and lets files be so long. */
function canBeSparse(): boolean {
  const path = join(root, 'probe');
  try {
    sparseFile(path, 5 * GIB, Uint8Array.of(1));
    return statSync(path).blocks * 512 < 2 ** 20;
  } catch {
    return false;
  } finally {
    rmSync(path, { force: true });
  }
}

const sparse = canBeSparse();

describe.skipIf(!sparse)('a GGUF file of more than 4 GiB (needs a file system with holes)', () => {
  const pool = createKernelPool({ threads: 1 });
  afterAll(() => pool.dispose());
  const metadata = new Map<string, GgufValue>([['general.architecture', { type: 'string', value: 'llama' }]]);
  const SPECS: readonly GgufTensorSpec[] = [
    { name: 'large.weight', type: 'f16', shape: [GIB + 64, 2] },
    { name: 'coded.weight', type: 'q8_0', shape: [3, 64] },
    { name: 'copied.weight', type: 'q8_0', shape: [3, 64] },
  ];
  const layout = planGguf(metadata, SPECS);
  const [large, coded, copied] = layout.tensors as [
    (typeof layout.tensors)[0],
    (typeof layout.tensors)[0],
    (typeof layout.tensors)[0],
  ];
  const values = Float32Array.from({ length: 3 * 64 }, (_, i) => Math.sin(i));
  const path = join(root, 'large.gguf');

  beforeAll(async () => {
    expect(coded.offset).toBeGreaterThan(2 ** 32);
    sparseFile(path, layout.byteLength, layout.header);
    const weights = new Map([
      ['w', denseWeight({ name: 'w', dtype: 'f32', shape: [3, 64], source: memoryBytes(fromF32('f32', values)) })],
    ]);
    const parts = [{ name: 'w', rotaryHeadDim: null }];
    await writeTensors([{ source: { name: coded.name, shape: coded.shape, parts }, place: coded, path }], {
      pool,
      weights,
      stored: new Map(),
    });
    // The copy is read and written behind the border.
    const from = { path, offset: coded.offset };
    await runLeaves(
      pool,
      [{ from, to: { path, offset: copied.offset }, byteLength: coded.byteLength, leafBytes: LEAF_BYTES }],
      {},
    );
    await pool.closeFiles();
  });

  it('has its tensors where the header says, and nothing in between', async () => {
    const source = await fileBytes(path);
    const { tensors } = await openGguf(source, path);
    expect(tensors.get('coded.weight')!.offset).toBe(coded.offset);
    const read = async (name: string) => {
      const { source: bytes, byteLength } = tensors.get(name)!;
      return Uint8Array.from(await bytes.read(0, byteLength));
    };
    const blocks = await read('coded.weight');
    restoreBlocks('q8_0', blocks).forEach((value, i) => expect(Math.abs(value - values[i]!)).toBeLessThan(1 / 127));
    expect(await read('copied.weight')).toEqual(blocks);
    // The last rows of the large one, on both sides of the border.
    const { source: bytes, byteLength } = tensors.get('large.weight')!;
    expect((await bytes.read(byteLength - 1000, 1000)).every((byte) => byte === 0)).toBe(true);
    const [leaves] = await runLeaves(
      pool,
      [{ from: { path, offset: copied.offset }, byteLength: copied.byteLength, leafBytes: LEAF_BYTES }],
      {},
    );
    expect(treeHash(leaves!)).toBe(treeHash([sha256(blocks)]));
    expect(statSync(path).blocks * 512).toBeLessThan(2 ** 20);
    expect(large.byteLength).toBeGreaterThan(2 ** 32);
    await source.close();
  });

  it('is a model whose weights are read from there, row by row', async () => {
    const u32 = (value: number): GgufValue => ({ type: 'uint32', value });
    const [vocabulary, hidden] = [2 ** 21, 1040];
    const facts = new Map<string, GgufValue>([
      ...metadata,
      ['llama.block_count', u32(1)],
      ['llama.context_length', u32(64)],
      ['llama.embedding_length', u32(hidden)],
      ['llama.feed_forward_length', u32(32)],
      ['llama.attention.head_count', u32(4)],
      ['llama.attention.layer_norm_rms_epsilon', { type: 'float32', value: Math.fround(1e-5) }],
    ]);
    const matrix = (name: string, rows: number, columns: number): GgufTensorSpec => ({
      name: `${name}.weight`,
      type: 'f16',
      shape: [rows, columns],
    });
    const vector = (name: string): GgufTensorSpec => ({ name: `${name}.weight`, type: 'f32', shape: [hidden] });
    const { header, byteLength, tensors } = planGguf(facts, [
      matrix('token_embd', vocabulary, hidden),
      vector('blk.0.attn_norm'),
      vector('blk.0.ffn_norm'),
      ...['q', 'k', 'v', 'output'].map((name) => matrix(`blk.0.attn_${name}`, hidden, hidden)),
      matrix('blk.0.ffn_gate', 32, hidden),
      matrix('blk.0.ffn_up', 32, hidden),
      matrix('blk.0.ffn_down', hidden, 32),
      vector('output_norm'),
    ]);
    const model = join(root, 'model.gguf');
    sparseFile(model, byteLength, header);
    const place = tensors.find(({ name }) => name === 'blk.0.attn_k.weight')!;
    expect(place.offset).toBeGreaterThan(2 ** 32);
    const file = openSync(model, 'r+');
    // Row 259 of the file, an odd one, is of the upper half of a head of 260: row 129 of it.
    const [headDim, row] = [hidden / 4, 259];
    const stored = fromF32(
      'f16',
      Float32Array.from({ length: hidden }, (_, i) => i),
    );
    writeSync(file, stored, 0, stored.length, place.offset + 2 * hidden * row);
    closeSync(file);
    const opened = await openModel(model);
    const weight = opened.weights.get('model.layers.0.self_attn.k_proj.weight')!;
    const at = headDim / 2 + (row - 1) / 2;
    expect([...(await weight.toF32(at, at + 1)).slice(0, 4)]).toEqual([0, 1, 2, 3]);
    expect(await weight.toF32(at + 1, at + 2)).toEqual(new Float32Array(hidden));
    await opened.close();
  });
});
