// Every architecture in llama.cpp: exported in f32, with keys and values in f32 there, the probabilities of the next token are those
// that transformers gave for the reference checkpoints, and those of our own program for made-up weights of every other form.
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runLlama, type LlamaJob } from '@pith-tooling/vitest/llama';
import { hasRuntime } from '@pith-tooling/vitest/runtimes';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { openSafetensors } from '@pith/checkpoint';
import { logits, readModelConfig } from '@pith/model';
import { openModel } from '@pith/model/node';
import { memoryBytes } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { byteTokenizer, writeMadeUpCheckpoint } from '../../testing/made-up-checkpoint.fixture.ts';
import { exportModel } from '../export-model.ts';

/**
 * Largest difference of a logarithm of a probability. Both sides compute in f32, in another order: a few roundings of logits below 10.
 * llama.cpp takes gelu from a table whose inputs and outputs are f16, by tanh where the model has the exact one: each block brings
 * an error of 2^-11 of its activations, some of which add up in 62 blocks.
 */
const TOLERANCE = { silu: 2e-5, gelu: 4e-3, deep: 1e-2 } as const;
/** Blocks from which on a model is deep. */
const DEEP = 32;

interface Config {
  readonly model_type: string;
  readonly vocab_size: number;
  readonly [member: string]: unknown;
}

interface Case {
  readonly name: string;
  /** A reference checkpoint, or one of the forms of pinned-logits.fixture.json. */
  readonly base: string;
  /** Members of config.json in place of its own. */
  readonly changes?: Readonly<Record<string, unknown>>;
  /** Tokens that are compared; all when left out. llama.cpp has no sliding window for most architectures. */
  readonly tokens?: number;
}

/** With logits of transformers. */
const GOLDEN: readonly Case[] = [
  ...['llama', 'qwen2', 'qwen3', 'mixtral', 'gpt2', 'gpt_neox'].map((name) => ({ name, base: name })),
  { name: 'mistral', base: 'mistral', tokens: 8 },
  { name: 'phi3', base: 'phi3', tokens: 10 },
  // Scaled by 1 / sqrt(24), with heads of 20: the rest is in the queries.
  { name: 'gemma2', base: 'gemma2' },
];

const same = (name: string): Case => ({ name, base: name });

/** With our own logits, which pinned-logits.test.ts holds to those of transformers. */
const OWN: readonly Case[] = [
  same('gemma'),
  {
    name: 'gemma3, the scale of its heads',
    base: 'gemma3',
    changes: { query_pre_attn_scalar: 12, num_hidden_layers: 7 },
  },
  { name: 'gemma3, every second block windowed', base: 'gemma3-caps', changes: { query_pre_attn_scalar: 12 } },
  { name: 'gemma3, 27B', base: 'gemma3', changes: { query_pre_attn_scalar: 8, num_hidden_layers: 62 } },
  {
    name: 'phi3, short factors',
    base: 'phi3-longrope-short',
    changes: { original_max_position_embeddings: 256, max_position_embeddings: 1024 },
  },
  { name: 'phi3, long factors', base: 'phi3-longrope-long' },
  same('phi'),
  { name: 'gpt_neox, one part after the other', base: 'gpt_neox-sequential' },
  { name: 'gpt_neox, tied', base: 'gpt_neox-sequential', changes: { tie_word_embeddings: true, attention_bias: true } },
  same('falcon-7b'),
  same('falcon-40b'),
  same('falcon-11b'),
  same('bloom'),
  { name: 'bloom, 6 heads', base: 'bloom', changes: { n_head: 6, n_embed: 36, hidden_size: 36 } },
  { ...same('starcoder2'), tokens: 8 },
  same('starcoder2-nobias'),
  same('stablelm'),
  same('stablelm-2-12b'),
  same('olmo2'),
  { name: 'olmo2, tied', base: 'olmo2', changes: { tie_word_embeddings: true } },
  same('granite'),
  { name: 'smollm3', base: 'smollm3', changes: { num_hidden_layers: 5 } },
  same('cohere'),
  { name: 'cohere, 64 blocks', base: 'cohere-qknorm', changes: { num_hidden_layers: 64, attention_bias: false } },
  { ...same('mixtral-window'), tokens: 7 },
  same('qwen3_moe'),
  // Latent attention, with and without a latent of the queries; scores raised by YaRN.
  same('deepseek_v2'),
  {
    name: 'deepseek_v2, all groups',
    base: 'deepseek_v2-groups',
    changes: { topk_method: 'greedy', attention_bias: false, mlp_bias: false },
  },
  same('deepseek_v3'),
  { name: 'deepseek_v3, no groups', base: 'deepseek_v3-moonlight', changes: { rms_norm_eps: 1e-6 } },
  same('llama-yarn'),
  {
    name: 'llama, yarn with mscale',
    base: 'llama-yarn',
    changes: {
      rope_scaling: {
        rope_type: 'yarn',
        factor: 8,
        original_max_position_embeddings: 32,
        mscale: 1,
        mscale_all_dim: 0.5,
      },
    },
  },
  {
    name: 'llama, longrope',
    base: 'llama-yarn',
    changes: {
      rope_scaling: {
        rope_type: 'longrope',
        original_max_position_embeddings: 8,
        short_factor: [1, 1.1, 1.2, 1.3],
        long_factor: [1, 1.5, 2, 3],
      },
    },
  },
];

/** Reference checkpoints whose config is changed, so that the logits are our own. */
const CHANGED: readonly Case[] = [
  { name: 'gemma2, the scale of its heads', base: 'gemma2', changes: { query_pre_attn_scalar: 20 } },
];

const IDS = Array.from({ length: 14 }, (_, i) => ((i * 37 + 11) % 62) + 1);

const readConfig = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as Config;

const PINNED = new Map(
  (
    JSON.parse(
      readFileSync(new URL('../../../../model/src/architecture/pinned-logits.fixture.json', import.meta.url), 'utf8'),
    ) as { name: string; config: Config }[]
  ).map(({ name, config }) => [name, config]),
);

/** A model to export, its tokens, and its logits [tokens, vocabulary]. */
interface Prepared {
  readonly directory: string;
  readonly config: Config;
  readonly ids: readonly number[];
  readonly logits: Float32Array;
}

const device = cpuDevice({ threads: 1 });
let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-arch-'));
});
afterAll(async () => {
  rmSync(root, { recursive: true });
  await device.dispose();
});

let count = 0;

function copied({ base, changes = {} }: Case): { directory: string; config: Config } {
  const directory = join(root, `model-${count++}`);
  cpSync(shared(`golden/arch/${base}`), directory, { recursive: true });
  rmSync(join(directory, 'reference.safetensors'));
  const config = { ...readConfig(join(directory, 'config.json')), ...changes };
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config));
  writeFileSync(join(directory, 'tokenizer.json'), JSON.stringify(byteTokenizer(config.vocab_size)));
  return { directory, config };
}

async function golden(one: Case): Promise<Prepared> {
  const file = shared(`golden/arch/${one.base}/reference.safetensors`);
  const { tensors } = await openSafetensors(memoryBytes(readFileSync(file)), 'reference');
  const read = async (name: string) => {
    const { source, byteLength } = tensors.get(name)!;
    return Uint8Array.from(await source.read(0, byteLength)).buffer;
  };
  const ids = [...new BigInt64Array(await read('input_ids'))].map(Number);
  return { ...copied(one), ids, logits: new Float32Array(await read('logits')) };
}

async function ownLogits(directory: string): Promise<Float32Array> {
  const model = await openModel(directory);
  const { data } = await logits(model, IDS, { device });
  await model.close();
  return data;
}

async function changed(one: Case): Promise<Prepared> {
  const { directory, config } = copied(one);
  return { directory, config, ids: IDS, logits: await ownLogits(directory) };
}

async function madeUp({ base, changes = {} }: Case): Promise<Prepared> {
  const config = { ...PINNED.get(base)!, ...changes };
  const directory = join(root, `model-${count++}`);
  writeMadeUpCheckpoint(directory, config);
  return { directory, config, ids: IDS, logits: await ownLogits(directory) };
}

/** Largest difference of the logarithms of probabilities. */
function difference(rows: readonly number[][], { logits: own, config }: Prepared): number {
  let largest = 0;
  for (const [at, row] of rows.entries()) {
    const values = own.subarray(at * config.vocab_size, (at + 1) * config.vocab_size);
    const top = values.reduce((a, b) => Math.max(a, b));
    const norm = top + Math.log(values.reduce((sum, value) => sum + Math.exp(value - top), 0));
    row.forEach((value, id) => {
      largest = Math.max(largest, Math.abs(Math.log(value) - (values[id]! - norm)));
    });
  }
  return largest;
}

describe.skipIf(!hasRuntime('node-llama-cpp')).each([
  ['reference checkpoints, as transformers computes', hasShared ? GOLDEN : [], golden],
  ['reference checkpoints with another config', hasShared ? CHANGED : [], changed],
  ['made-up weights, as Pith computes', OWN, madeUp],
] as const)('in llama.cpp: %s', (_title, cases, prepare) => {
  const results = new Map<string, { readonly largest: number; readonly tolerance: number }>();
  beforeAll(async () => {
    const prepared: Prepared[] = [];
    const jobs: LlamaJob[] = [];
    for (const one of cases) {
      const model = await prepare(one);
      // The name of a file becomes that of the model, out of which llama.cpp reads something for Phi-3.
      const path = join(root, `${model.config.model_type}-${count++}.gguf`);
      await exportModel(model.directory, { format: 'gguf:f32', output: path, threads: 1 });
      prepared.push(model);
      jobs.push({ path, ids: model.ids, vocabulary: model.config.vocab_size, exact: true });
    }
    if (jobs.length === 0) return;
    for (const [i, { rows }] of runLlama<{ rows: number[][] }>(jobs).entries()) {
      const { name, tokens } = cases[i]!;
      const largest = difference(rows.slice(0, tokens), prepared[i]!);
      const { activation, layers } = readModelConfig(prepared[i]!.config);
      const kind = activation === 'silu' ? 'silu' : layers < DEEP ? 'gelu' : 'deep';
      results.set(name, { largest, tolerance: TOLERANCE[kind] });
    }
  }, 120_000);

  it.each(cases.map(({ name }) => name))('%s', (name) => {
    const { largest, tolerance } = results.get(name)!;
    expect(largest).toBeLessThan(tolerance);
  });
});

describe('refused by name, with every reason', () => {
  const refusal = async (base: string, changes: Readonly<Record<string, unknown>> = {}) => {
    const directory = join(root, `model-${count++}`);
    writeMadeUpCheckpoint(directory, { ...PINNED.get(base)!, ...changes });
    const output = join(root, 'refused.gguf');
    return exportModel(directory, { format: 'gguf:f32', output, threads: 1 }).then(
      () => 'exported',
      (error: unknown) => (error as Error).message,
    );
  };

  it.each([
    ['linear biases of Falcon', 'falcon-rw', {}, /no bias.*no bias.*no bias.*linear biases.*parallel_attn/s],
    [
      'what DeepSeek may be beside its published sizes',
      'deepseek_v3-halves',
      { num_hidden_layers: 27, rms_norm_eps: 1e-5 },
      /no bias.*no bias.*rope_interleave.*cosines and sines.*rms_norm_eps.*q_lora_rank must be null with 27 blocks/s,
    ],
    ['groups of experts by their best', 'deepseek_v2-groups', {}, /by their two best, they are by their best/],
    [
      'other bounds of YaRN',
      'llama-yarn-mscale',
      {},
      /beta_fast 32, beta_slow 1 and truncate true, got 16, 2 and false/,
    ],
    ['dynamic frequencies', 'llama-dynamic', {}, /none, linear, yarn, llama3, longrope, got dynamic/],
    ['no scale', 'gpt2-noscale', {}, /scaled by/],
    [
      'dense blocks among experts',
      'qwen3_moe-dense-layers',
      {},
      /norm_topk_prob must be true.*every block must have experts/,
    ],
    ['another pattern of blocks without rotary embedding', 'smollm3-window', {}, /every 4th block and no other/],
    ['norms of queries in few blocks', 'cohere-qknorm', {}, /attention output must have no bias.*from 64 blocks on/],
    ['norms of queries in Phi', 'phi-qknorm', {}, /q_layernorm.* has none/],
    ['another activation function', 'llama-yarn', { hidden_act: 'gelu' }, /must be silu, got gelu/],
    ['a head of its own', 'gemma', { tie_word_embeddings: false }, /must be the token embedding/],
    ['an architecture that llama.cpp does not have', 'opt-350m', {}, /llama\.cpp has no opt/],
  ] as const)('%s', async (_title, base, changes, message) => {
    expect(await refusal(base, changes)).toMatch(message);
  });
});
