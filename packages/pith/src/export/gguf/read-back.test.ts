// A GGUF file of every architecture, read back: config, weights, tokens and logits are those of the model that it was made of, and
// so are the tensors of a safetensors export of the file.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { openGguf, planGguf } from '@pith/checkpoint';
import { embeddings, logits, type LanguageModel } from '@pith/model';
import { openModel } from '@pith/model/node';
import { memoryBytes } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { byteTokenizer, writeMadeUpCheckpoint } from '../../testing/made-up-checkpoint.fixture.ts';
import { exportModel, planExport } from '../export-model.ts';

const device = cpuDevice({ threads: 1 });
let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-back-'));
});
afterAll(async () => {
  rmSync(root, { recursive: true });
  await device.dispose();
});

const SIZES = {
  vocab_size: 64,
  hidden_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  intermediate_size: 40,
  max_position_embeddings: 256,
  bos_token_id: 1,
  eos_token_id: 2,
};
const LONG = {
  short_factor: [1, 1.1, 1.2, 1.3],
  long_factor: [1, 1.5, 2, 3],
  original_max_position_embeddings: 8,
};
const ROPE = { low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64 };

/** Configs by what is special about them. What a file does not say has the value that llama.cpp takes for granted. */
const MADE_UP: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  llama: { model_type: 'llama', rope_scaling: { rope_type: 'llama3', factor: 8, ...ROPE }, tie_word_embeddings: true },
  'llama with biases': {
    model_type: 'llama',
    attention_bias: true,
    mlp_bias: true,
    rope_scaling: { rope_type: 'linear', factor: 2 },
    rope_theta: 5000.5,
  },
  mistral: { model_type: 'mistral', sliding_window: 8, head_dim: 12 },
  mixtral: { model_type: 'mixtral', num_local_experts: 5, num_experts_per_tok: 3, sliding_window: 7 },
  qwen2: { model_type: 'qwen2', rope_theta: 1e6 },
  qwen3: { model_type: 'qwen3', head_dim: 12, tie_word_embeddings: true },
  qwen3_moe: {
    model_type: 'qwen3_moe',
    head_dim: 12,
    num_experts: 6,
    num_experts_per_tok: 3,
    moe_intermediate_size: 16,
    norm_topk_prob: true,
  },
  gemma: { model_type: 'gemma', head_dim: 12 },
  gemma2: {
    model_type: 'gemma2',
    head_dim: 12,
    query_pre_attn_scalar: 12,
    sliding_window: 6,
    attn_logit_softcapping: 5,
  },
  gemma3: {
    model_type: 'gemma3_text',
    num_hidden_layers: 7,
    head_dim: 12,
    query_pre_attn_scalar: 12,
    sliding_window: 6,
    rope_theta: 1e6,
    rope_local_base_freq: 10000,
    rope_scaling: { rope_type: 'linear', factor: 8 },
  },
  phi: { model_type: 'phi', partial_rotary_factor: 0.5, num_key_value_heads: 4 },
  starcoder2: { model_type: 'starcoder2', sliding_window: 8 },
  'starcoder2 without biases, which llama.cpp wants as zeros': {
    model_type: 'starcoder2',
    use_bias: false,
    tie_word_embeddings: false,
  },
  stablelm: { model_type: 'stablelm', use_qkv_bias: true, partial_rotary_factor: 0.25 },
  olmo2: { model_type: 'olmo2' },
  granite: {
    model_type: 'granite',
    embedding_multiplier: 12,
    attention_multiplier: 0.015625,
    residual_multiplier: 0.22,
    logits_scaling: 8,
    attention_bias: true,
    mlp_bias: true,
  },
  smollm3: { model_type: 'smollm3', num_hidden_layers: 5 },
  'llama with YaRN': {
    model_type: 'llama',
    rope_scaling: { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 16 },
  },
  'llama with LongRoPE': { model_type: 'llama', rope_scaling: { rope_type: 'longrope', ...LONG } },
  'gemma3, every second block windowed': {
    model_type: 'gemma3_text',
    head_dim: 12,
    query_pre_attn_scalar: 12,
    sliding_window: 6,
    sliding_window_pattern: 2,
    final_logit_softcapping: 7,
  },
  phi3: { model_type: 'phi3', sliding_window: 10, head_dim: 8 },
  'phi3 with LongRoPE': {
    model_type: 'phi3',
    original_max_position_embeddings: 8,
    partial_rotary_factor: 0.5,
    rope_scaling: { type: 'longrope', short_factor: [1, 1.1], long_factor: [1, 1.5] },
  },
  'falcon 7b': { model_type: 'falcon', multi_query: true },
  'falcon 40b': { model_type: 'falcon', new_decoder_architecture: true, num_kv_heads: 2, ffn_hidden_size: 56 },
  'falcon 11b': { model_type: 'falcon', new_decoder_architecture: true, num_kv_heads: 2, num_ln_in_parallel_attn: 1 },
  cohere: { model_type: 'cohere', logit_scale: 0.0625 },
  'stablelm 12b, with a norm for each head': {
    model_type: 'stablelm',
    qk_layernorm: true,
    use_parallel_residual: true,
    partial_rotary_factor: 0.5,
  },
  gpt2: { model_type: 'gpt2', num_key_value_heads: 4, n_embd: 32, n_layer: 2, n_head: 4, n_positions: 64, n_inner: 48 },
  gpt_neox: { model_type: 'gpt_neox', rotary_pct: 0.25, num_key_value_heads: 4, rotary_emb_base: 20000 },
  'gpt_neox, one part after the other': {
    model_type: 'gpt_neox',
    rotary_pct: 0.5,
    num_key_value_heads: 4,
    use_parallel_residual: false,
    attention_bias: false,
  },
  bloom: { model_type: 'bloom', n_layer: 2, n_head: 4, num_key_value_heads: 4, max_position_embeddings: 2048 },
};

const IDS = Int32Array.from({ length: 20 }, (_, i) => ((i * 37 + 11) % 60) + 3);

async function expectSame(back: LanguageModel, original: LanguageModel): Promise<void> {
  const { storedDType: _, ...facts } = back.config;
  const { storedDType: __, ...expected } = original.config;
  expect(facts).toEqual(expected);
  expect([...back.weights.keys()].sort()).toEqual([...original.weights.keys()].sort());
  for (const [name, weight] of original.weights) {
    const read = back.weights.get(name)!;
    expect(read.shape, name).toEqual(weight.shape);
    expect(await read.toF32(), name).toEqual(await weight.toF32());
  }
  expect(back.tokenizer!.encode('a b\nc')).toEqual(original.tokenizer!.encode('a b\nc'));
}

/** Exports to GGUF in f32, reads the file, exports it to safetensors, reads that. */
async function roundTrip(source: string, name: string): Promise<void> {
  const [path, dense] = [join(root, `${name}.gguf`), join(root, `${name}-dense`)];
  await exportModel(source, { format: 'gguf:f32', output: path, threads: 1 });
  await exportModel(path, { format: 'safetensors:dense', output: dense, threads: 1 });
  const [original, back, restored] = [await openModel(source), await openModel(path), await openModel(dense)];
  await expectSame(back, original);
  await expectSame(restored, original);
  const [before, after] = [await logits(original, IDS, { device }), await logits(back, IDS, { device })];
  expect(after.data).toEqual(before.data);
  for (const one of [original, back, restored]) await one.close();
}

describe('a GGUF file is the model that it was made of', () => {
  it.each(Object.entries(MADE_UP))('%s', async (label, config) => {
    const name = label.replaceAll(/[ ,.]+/g, '-');
    const source = join(root, name);
    writeMadeUpCheckpoint(source, { ...SIZES, ...config });
    await roundTrip(source, name);
  });
});

describe('a GGUF file of a GGUF file', () => {
  // What the file holds beside weights belongs to its metadata, which is carried over as it is.
  it.each(['llama', 'phi3 with LongRoPE', 'starcoder2 without biases, which llama.cpp wants as zeros'])(
    'keeps its factors and zeros: %s',
    async (label) => {
      const [source, first, second] = ['source', 'first.gguf', 'second.gguf'].map((name) =>
        join(root, `again-${name}`),
      );
      writeMadeUpCheckpoint(source!, { ...SIZES, ...MADE_UP[label] });
      await exportModel(source!, { format: 'gguf:f32', output: first!, threads: 1, overwrite: true });
      await exportModel(first!, { format: 'gguf:f32', output: second!, threads: 1, overwrite: true });
      const tensors = async (path: string) => {
        const { tensors: all } = await openGguf(memoryBytes(readFileSync(path)), path);
        const entries = [...all.values()].map(async ({ name, shape, source: bytes, byteLength }) => {
          return [name, { shape, bytes: [...(await bytes.read(0, byteLength))] }] as const;
        });
        return Object.fromEntries(await Promise.all(entries));
      };
      expect(await tensors(second!)).toEqual(await tensors(first!));
    },
  );
});

/** The file as llama.cpp's converters wrote it before experts lay in one tensor, or without one of them. */
async function withSingleExperts(path: string, without?: string): Promise<Uint8Array> {
  const { metadata, tensors } = await openGguf(memoryBytes(readFileSync(path)), path);
  const pieces = [...tensors.values()].flatMap((tensor) => {
    const { name, type, shape, byteLength, source } = tensor;
    const [experts = 1, ...rest] = shape;
    if (!name.includes('_exps.')) return [{ name, type, shape, byteLength, at: 0, source }];
    const each = { type, shape: rest, byteLength: byteLength / experts, source };
    return Array.from({ length: experts }, (_, expert) => {
      return { ...each, name: name.replace('_exps.', `.${expert}.`), at: expert * each.byteLength };
    });
  });
  const kept = pieces.filter(({ name }) => name !== without);
  const layout = planGguf(metadata, kept);
  const bytes = new Uint8Array(layout.byteLength);
  bytes.set(layout.header);
  for (const [i, { offset }] of layout.tensors.entries()) {
    const { source, at, byteLength } = kept[i]!;
    bytes.set(await source.read(at, byteLength), offset);
  }
  return bytes;
}

describe('mixtral with a tensor for each expert', () => {
  const [source, stacked, single] = ['singles', 'stacked.gguf', 'single.gguf'] as const;

  it.each(['f32', 'q8_0'])('is the model, and exported anew the file with stacks: %s', async (type) => {
    const [model, first, second, again] = [source, `${type}-${stacked}`, `${type}-${single}`, `${type}-again.gguf`].map(
      (name) => join(root, name),
    ) as [string, string, string, string];
    writeMadeUpCheckpoint(model, { ...SIZES, ...MADE_UP['mixtral'], intermediate_size: 64 });
    await exportModel(model, { format: `gguf:${type}`, output: first, threads: 1 });
    writeFileSync(second, await withSingleExperts(first));
    const [whole, back] = [await openModel(first), await openModel(second)];
    await expectSame(back, whole);
    const [before, after] = [await logits(whole, IDS, { device }), await logits(back, IDS, { device })];
    expect(after.data).toEqual(before.data);
    for (const one of [whole, back]) await one.close();
    const { tensors, notices } = await planExport(second, { format: `gguf:${type}` });
    expect(tensors.filter(({ action }) => action === 'quantize')).toEqual([]);
    expect(notices.join()).not.toContain('quantized again');
    await exportModel(second, { format: `gguf:${type}`, output: again, threads: 1 });
    const tensorsOf = async (path: string) => {
      const { tensors: all } = await openGguf(memoryBytes(readFileSync(path)), path);
      const entries = [...all.values()].map(async ({ name, type: of, shape, source: bytes, byteLength }) => {
        return [name, { of, shape, bytes: [...(await bytes.read(0, byteLength))] }] as const;
      });
      return Object.fromEntries(await Promise.all(entries));
    };
    expect(await tensorsOf(again)).toEqual(await tensorsOf(first));
  });

  it('must have all of them', async () => {
    const path = join(root, 'missing.gguf');
    writeFileSync(path, await withSingleExperts(join(root, `f32-${stacked}`), 'blk.1.ffn_up.3.weight'));
    await expect(openModel(path)).rejects.toMatchObject({
      code: 'GGUF_EXPERT_MISSING',
      message: expect.stringContaining('blk.1.ffn_up.3.weight is missing') as string,
    });
  });
});

describe('config.json of a file', () => {
  it('writes what classes want as floating-point numbers with a point', async () => {
    const [source, path] = [join(root, 'floats'), join(root, 'floats.gguf')];
    writeMadeUpCheckpoint(source, { ...SIZES, ...MADE_UP['gemma2'] });
    await exportModel(source, { format: 'gguf:f32', output: path, threads: 1 });
    const { checkpoint, close } = await openModel(path);
    expect(checkpoint.configText).toMatch(/"final_logit_softcapping": 30\.0,\n/);
    expect(checkpoint.configText).toMatch(/"rope_theta": 10000\.0,\n/);
    expect(checkpoint.configText).toMatch(/"sliding_window": 6,\n/);
    expect(JSON.parse(checkpoint.configText)).toEqual(checkpoint.config);
    await close();
  });
});

describe('an encoder', () => {
  it('bert, without the head that files leave out', async () => {
    const [source, path] = [join(root, 'bert'), join(root, 'bert.gguf')];
    writeMadeUpCheckpoint(source, {
      ...SIZES,
      num_key_value_heads: 4,
      model_type: 'bert',
      architectures: ['BertModel'],
      type_vocab_size: 2,
    });
    await exportModel(source, { format: 'gguf:f32', output: path, threads: 1 });
    const [original, back] = [await openModel(source), await openModel(path)];
    await expectSame(back, original);
    const inputs = [{ ids: IDS }];
    const [before, after] = [
      await embeddings(original, inputs, { device }),
      await embeddings(back, inputs, { device }),
    ];
    expect(after).toEqual(before);
    for (const one of [original, back]) await one.close();
  });
});

describe.skipIf(!hasShared)('of a reference checkpoint', () => {
  it.each(['llama', 'mistral', 'mixtral', 'qwen2', 'qwen3', 'gpt2', 'gpt_neox', 'phi3'])('%s', async (name) => {
    const source = join(root, `reference-${name}`);
    cpSync(shared(`golden/arch/${name}`), source, { recursive: true });
    rmSync(join(source, 'reference.safetensors'));
    const { vocab_size: size } = JSON.parse(readFileSync(join(source, 'config.json'), 'utf8')) as {
      vocab_size: number;
    };
    writeFileSync(join(source, 'tokenizer.json'), JSON.stringify(byteTokenizer(size)));
    await roundTrip(source, `reference-${name}`);
  });
});
