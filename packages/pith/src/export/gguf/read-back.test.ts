// A GGUF file of every architecture, read back: config, weights, tokens and logits are those of the model that it was made of, and
// so are the tensors of a safetensors export of the file.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { logits, type LanguageModel } from '@pith/model';
import { openModel } from '@pith/model/node';
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { byteTokenizer, writeMadeUpCheckpoint } from '../../testing/made-up-checkpoint.fixture.ts';
import { exportModel } from '../export-model.ts';

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
  'starcoder2 without biases': { model_type: 'starcoder2', use_bias: false, tie_word_embeddings: false },
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
  cohere: { model_type: 'cohere', logit_scale: 0.0625 },
  gpt2: { model_type: 'gpt2', num_key_value_heads: 4, n_embd: 32, n_layer: 2, n_head: 4, n_positions: 64, n_inner: 48 },
  gpt_neox: { model_type: 'gpt_neox', rotary_pct: 0.25, num_key_value_heads: 4, rotary_emb_base: 20000 },
  'gpt_neox one part after the other': {
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
    const name = label.replaceAll(' ', '-');
    const source = join(root, name);
    writeMadeUpCheckpoint(source, { ...SIZES, ...config });
    await roundTrip(source, name);
  });
});

describe.skipIf(!hasShared)('of a reference checkpoint', () => {
  it.each(['llama', 'mistral', 'mixtral', 'qwen2', 'qwen3', 'gpt2', 'gpt_neox'])('%s', async (name) => {
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
