// Golden: stories260k as llama.cpp's converter wrote it in f16.
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { openGguf, planGguf, restoreBlocks, type GgufTensorSpec, type GgufValue } from '@pith/checkpoint';
import { fromF32, memoryBytes, toF32 } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openCheckpointAt } from './open-checkpoint-at.ts';
import { openModel } from './open-model.ts';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-gguf-'));
});
afterAll(() => rmSync(root, { recursive: true }));

describe.skipIf(!hasShared)('a GGUF file as a model', () => {
  const golden = () => shared('golden/stories260k/stories260k-f16.gguf');

  it('has the config, the weights and the tokens of the model that it was made of', async () => {
    const [original, model] = [await openModel(shared('models/stories260k')), await openModel(golden())];
    const { storedDType: _, ...facts } = model.config;
    const { storedDType: __, ...expected } = original.config;
    expect(facts).toEqual(expected);
    expect(model.stopTokenIds).toEqual(original.stopTokenIds);
    expect([...model.weights.keys()].sort()).toEqual([...original.weights.keys()].sort());
    for (const [name, weight] of original.weights) {
      const dense = await weight.toF32();
      const halved = weight.shape.length === 1 ? dense : toF32('f16', fromF32('f16', dense));
      expect(await model.weights.get(name)!.toF32(), name).toEqual(halved);
    }
    for (const text of [
      'There was a little girl named Lily.',
      ' two  spaces\n\nand tabs\t',
      'Ünïcödé 日本 \u{1F600}',
      '',
      ...readFileSync(shared('data/stories-eval.txt'), 'utf8').slice(0, 20_000).split('\n\n'),
    ]) {
      const ids = original.tokenizer!.encode(text);
      expect(model.tokenizer!.encode(text)).toEqual(ids);
      expect(model.tokenizer!.decode(ids)).toBe(original.tokenizer!.decode(ids));
    }
    await original.close();
    await model.close();
  });

  it('reads rows of turned heads alone, in any range', async () => {
    const checkpoint = await openCheckpointAt(golden());
    const weight = checkpoint.weight('model.layers.2.self_attn.k_proj.weight');
    const whole = await weight.toF32();
    for (const [start, end] of [
      [0, 1],
      [3, 9],
      [31, 32],
      [5, 5],
    ] as const) {
      expect(await weight.toF32(start, end)).toEqual(whole.slice(start * 64, end * 64));
      expect(await weight.slice(start, end).toF32()).toEqual(whole.slice(start * 64, end * 64));
    }
    await checkpoint.close();
  });

  it('lists the file and what is made of its metadata', async () => {
    const checkpoint = await openCheckpointAt(golden());
    expect(checkpoint.files.map(({ name, role, carried }) => [name, role, carried])).toEqual([
      ['stories260k-f16.gguf', 'weights', false],
      ['config.json', 'config', false],
      ['generation_config.json', 'generation-config', true],
      ['tokenizer.json', 'tokenizer', true],
      ['tokenizer_config.json', 'tokenizer', true],
    ]);
    expect(checkpoint.quantization).toEqual({ method: 'gguf', schemes: [] });
    expect(checkpoint.tensors.get('blk.0.attn_q.weight')).toMatchObject({ dtype: 'f16', shape: [64, 64] });
    const made = await checkpoint.store.open('config.json');
    expect(new TextDecoder().decode(await made.read(0, made.byteLength))).toBe(checkpoint.configText);
    expect(await checkpoint.store.modified!('tokenizer.json')).toBe(
      await checkpoint.store.modified!('stories260k-f16.gguf'),
    );
    await checkpoint.close();
  });
});

/** A tiny llama whose query is in blocks. */
function tiny(change: (metadata: Map<string, GgufValue>, tensors: GgufTensorSpec[]) => void = () => undefined) {
  const u32 = (value: number): GgufValue => ({ type: 'uint32', value });
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['llama.block_count', u32(1)],
    ['llama.context_length', u32(64)],
    ['llama.embedding_length', u32(32)],
    ['llama.feed_forward_length', u32(64)],
    ['llama.attention.head_count', u32(4)],
    ['llama.attention.head_count_kv', u32(2)],
    ['llama.attention.layer_norm_rms_epsilon', { type: 'float32', value: Math.fround(1e-5) }],
  ]);
  const matrix = (name: string, rows: number, columns: number): GgufTensorSpec => ({
    name: `${name}.weight`,
    type: 'q8_0',
    shape: [rows, columns],
  });
  const tensors: GgufTensorSpec[] = [
    matrix('token_embd', 48, 32),
    { name: 'blk.0.attn_norm.weight', type: 'f32', shape: [32] },
    { name: 'blk.0.ffn_norm.weight', type: 'f32', shape: [32] },
    matrix('blk.0.attn_q', 32, 32),
    matrix('blk.0.attn_k', 16, 32),
    matrix('blk.0.attn_v', 16, 32),
    matrix('blk.0.attn_output', 32, 32),
    matrix('blk.0.ffn_gate', 64, 32),
    matrix('blk.0.ffn_up', 64, 32),
    matrix('blk.0.ffn_down', 32, 64),
    { name: 'output_norm.weight', type: 'f32', shape: [32] },
  ];
  change(metadata, tensors);
  const { header, byteLength, tensors: placed } = planGguf(metadata, tensors);
  const bytes = new Uint8Array(byteLength);
  bytes.set(header);
  // q8_0: an f16 scale of 1 and 32 codes.
  for (const { name, offset, byteLength: length } of placed.filter(({ type }) => type === 'q8_0')) {
    for (let block = 0; block < length / 34; block++) {
      bytes.set([0, 0x3c], offset + block * 34);
      for (let i = 0; i < 32; i++) bytes[offset + block * 34 + 2 + i] = (name.length + block) % 100;
    }
  }
  return { bytes, offsets: new Map(placed.map(({ name, offset }) => [name, offset])) };
}

function write(bytes: Uint8Array, name = 'x.gguf'): string {
  const path = join(root, name);
  writeFileSync(path, bytes);
  return path;
}

function vocabulary(metadata: Map<string, GgufValue>, tokens: readonly string[]): void {
  metadata.set('tokenizer.ggml.model', { type: 'string', value: 'llama' });
  metadata.set('tokenizer.ggml.tokens', { type: 'array', items: { type: 'string', values: tokens } });
}

describe('blocks of a GGUF file', () => {
  it('stay packed until they are asked for, heads with halves again', async () => {
    const { bytes } = tiny();
    const model = await openModel(write(bytes));
    const query = model.weights.get('model.layers.0.self_attn.q_proj.weight')!;
    expect(query).toMatchObject({ kind: 'packed', coding: 'q8_0', byteLength: 32 * 34 });
    // Bytes of rows that change places are not those of the weight.
    expect('bytes' in query).toBe(false);
    const file = await openGguf(memoryBytes(bytes), 'x');
    const stored = file.tensors.get('blk.0.attn_q.weight')!;
    const rows = restoreBlocks('q8_0', await stored.source.read(0, stored.byteLength));
    const values = await query.toF32();
    // Row 5 of a head of 8 is row 1 of its upper half: neighbours 2 and 3 are rows 1 and 5.
    for (const [row, from] of [
      [0, 0],
      [1, 2],
      [4, 1],
      [5, 3],
      [8 + 7, 8 + 7],
    ] as const) {
      expect(values.slice(row * 32, row * 32 + 32)).toEqual(rows.slice(from * 32, from * 32 + 32));
    }
    const up = model.weights.get('model.layers.0.mlp.up_proj.weight')!;
    expect(up.kind === 'packed' && (await up.bytes!(3, 5)).length).toBe(2 * 34);
    expect(model.tokenizer).toBeNull();
    await model.close();
  });

  it('refuses a scale that is no number, by the name of its tensor', async () => {
    const { bytes, offsets } = tiny();
    bytes.set([0, 0x7e], offsets.get('blk.0.ffn_down.weight')! + 5 * 34 * 2);
    const model = await openModel(write(bytes));
    await expect(model.weights.get('model.layers.0.mlp.down_proj.weight')!.toF32()).rejects.toMatchObject({
      code: 'GGUF_VALUE_NOT_FINITE',
      details: { tensor: 'blk.0.ffn_down.weight', row: 5 },
    });
    await model.close();
  });

  it.each<[string, (metadata: Map<string, GgufValue>, tensors: GgufTensorSpec[]) => unknown]>([
    ['GGUF_KEY_MISSING', (metadata) => metadata.delete('general.architecture')],
    ['GGUF_KEY_MISSING', (metadata) => metadata.delete('llama.block_count')],
    ['GGUF_VALUE_INVALID', (metadata) => metadata.set('llama.block_count', { type: 'string', value: '1' })],
    ['GGUF_VALUE_INVALID', (metadata) => metadata.set('llama.block_count', { type: 'int32', value: -1 })],
    [
      'GGUF_VALUE_INVALID',
      (metadata) => metadata.set('llama.attention.layer_norm_rms_epsilon', { type: 'float32', value: Number.NaN }),
    ],
    [
      'GGUF_VALUE_INVALID',
      (metadata) =>
        metadata.set('llama.feed_forward_length', { type: 'array', items: { type: 'int32', values: [64, 32] } }),
    ],
    [
      'GGUF_ARCHITECTURE_UNSUPPORTED',
      (metadata) => metadata.set('general.architecture', { type: 'string', value: 'x' }),
    ],
    ['GGUF_TENSOR_UNKNOWN', (_, tensors) => tensors.push({ name: 'blk.0.extra.weight', type: 'f32', shape: [1] })],
    ['GGUF_TENSOR_UNKNOWN', (_, tensors) => tensors.push({ name: 'blk.7.attn_q.weight', type: 'f32', shape: [1] })],
    ['CONFIG_INVALID', (metadata) => metadata.set('llama.attention.key_length', { type: 'uint32', value: 5 })],
    ['GGUF_SHAPE_INVALID', (_, tensors) => (tensors[3] = { ...tensors[3]!, shape: [36, 32] })],
    ['GGUF_SHAPE_INVALID', (_, tensors) => (tensors[3] = { ...tensors[3]!, shape: [0, 32] })],
    ['GGUF_SHAPE_INVALID', (_, tensors) => tensors.push({ name: 'rope_freqs.weight', type: 'f32', shape: [5] })],
    ['GGUF_LIMIT_EXCEEDED', (metadata) => metadata.set('llama.block_count', { type: 'uint32', value: 2 ** 32 - 1 })],
    [
      'GGUF_LIMIT_EXCEEDED',
      (metadata) => metadata.set('llama.attention.head_count', { type: 'uint32', value: 2 ** 31 }),
    ],
    ['CONFIG_INVALID', (metadata) => metadata.set('llama.attention.key_length', { type: 'uint32', value: 2 ** 31 })],
    ['GGUF_LIMIT_EXCEEDED', (metadata) => vocabulary(metadata, ['a'.repeat(1025)])],
    [
      'GGUF_LIMIT_EXCEEDED',
      (metadata) =>
        vocabulary(
          metadata,
          Array.from({ length: 2 ** 13 + 1 }, () => 'ab'.repeat(512)),
        ),
    ],
    [
      'GGUF_SHAPE_INVALID',
      (metadata, tensors) => {
        // Two experts that the file says are three.
        metadata.set('llama.expert_count', { type: 'uint32', value: 3 });
        metadata.set('llama.expert_used_count', { type: 'uint32', value: 1 });
        tensors.push({ name: 'blk.0.ffn_up_exps.weight', type: 'q8_0', shape: [2, 64, 32] });
      },
    ],
    [
      'GGUF_ARCHITECTURE_UNSUPPORTED',
      (metadata) => {
        for (const [key, value] of [...metadata]) metadata.set(key.replace('llama', 'olmo2'), value);
        metadata.set('general.architecture', { type: 'string', value: 'olmo2' });
        metadata.set('olmo2.attention.sliding_window', { type: 'uint32', value: 4096 });
      },
    ],
    ['WEIGHTS_MISMATCH', (_, tensors) => tensors.splice(4, 1)],
    ['CONFIG_INVALID', (metadata) => metadata.set('llama.attention.head_count_kv', { type: 'uint32', value: 3 })],
    ['CONFIG_INVALID', (metadata) => metadata.set('llama.rope.scaling.type', { type: 'string', value: 'spiral' })],
    [
      'GGUF_TOKENIZER_UNSUPPORTED',
      (metadata) => {
        metadata.set('tokenizer.ggml.model', { type: 'string', value: 'rwkv' });
        metadata.set('tokenizer.ggml.tokens', { type: 'array', items: { type: 'string', values: ['a'] } });
      },
    ],
    [
      'GGUF_TOKENIZER_UNSUPPORTED',
      (metadata) => {
        metadata.set('tokenizer.ggml.model', { type: 'string', value: 'gpt2' });
        metadata.set('tokenizer.ggml.pre', { type: 'string', value: 'unheard-of' });
        metadata.set('tokenizer.ggml.tokens', { type: 'array', items: { type: 'string', values: ['a'] } });
      },
    ],
  ])('refuses %s by name', async (code, change) => {
    const path = write(tiny(change).bytes);
    await expect(openModel(path)).rejects.toMatchObject({ code });
  });

  it('takes per-layer counts where all layers have the same', async () => {
    const same = tiny((metadata) =>
      metadata.set('llama.feed_forward_length', { type: 'array', items: { type: 'int32', values: [64, 64] } }),
    );
    const model = await openModel(write(same.bytes));
    expect(model.config.intermediateSize).toBe(64);
    await model.close();
  });

  it('is a directory where its name ends so and it is one', async () => {
    copyFileSync(write(tiny().bytes), join(root, 'copy.GGUF'));
    await (await openModel(join(root, 'copy.GGUF'))).close();
    await expect(openModel(join(root, 'missing.gguf'))).rejects.toMatchObject({ code: 'CHECKPOINT_NOT_FOUND' });
  });
});
