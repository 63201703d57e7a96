// Every technique on every kind of architecture: fused and transposed matrices, norms with offsets and biases, norms on both sides
// or behind, experts, latent attention, an encoder. What a technique cannot do is refused by name, and nothing else may go wrong.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  adamw,
  blockTensors,
  cosineSchedule,
  createModel,
  createTrainer,
  describeArchitecture,
  logits,
  nextTokenLoss,
  readModelConfig,
  runBlocks,
  trainableModel,
  windowBatches,
} from '@pith/model';
import type { BlockPass, Intervention, LanguageModel } from '@pith/model';
import { openModel } from '@pith/model/node';
import { awqPass, gptqPass, rtnPass, smoothquantPass } from '@pith/quant';
import { prunePass, structureTransform, type StructureOptions } from '@pith/prune';
import { factorizePass } from '@pith/lowrank';
import type { WeightTensor } from '@pith/tensor-core';
import { cpuDevice, createKernelPool } from '@pith/tensor-core/node';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterAll, describe, expect, it } from 'vitest';
import { writeMadeUpCheckpoint } from '../testing/made-up-checkpoint.fixture.ts';

const device = cpuDevice({ threads: 1 });
const pool = createKernelPool({ threads: 1 });
const scratch = mkdtempSync(join(tmpdir(), 'pith-architectures-'));
afterAll(async () => {
  rmSync(scratch, { recursive: true, force: true });
  await device.dispose();
  await pool.dispose();
});

const LATENT = {
  vocab_size: 256,
  hidden_size: 32,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  intermediate_size: 48,
  max_position_embeddings: 64,
  kv_lora_rank: 24,
  qk_nope_head_dim: 12,
  qk_rope_head_dim: 8,
  v_head_dim: 16,
  n_routed_experts: 4,
  num_experts_per_tok: 2,
  moe_intermediate_size: 16,
  n_shared_experts: 2,
  first_k_dense_replace: 1,
};
/** Made-up checkpoints of what no reference checkpoint has: latent attention, with and without a latent of the queries. */
const MADE_UP: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  deepseek_v2: { ...LATENT, model_type: 'deepseek_v2', q_lora_rank: null },
  deepseek_v3: { ...LATENT, model_type: 'deepseek_v3', q_lora_rank: 24, n_group: 2, topk_group: 1 },
};
const NAMES = ['gemma2', 'gpt2', 'gpt_neox', 'mixtral', 'opt', 'phi3', 'qwen3', 'bert'];
const ALL_NAMES = [...NAMES, ...Object.keys(MADE_UP)];

/** The folder of a checkpoint, written when it is made up. */
function folderOf(name: string): string {
  const config = MADE_UP[name];
  if (config === undefined) return shared(`golden/arch/${name}`);
  const folder = join(scratch, name);
  if (!existsSync(folder)) writeMadeUpCheckpoint(folder, config);
  return folder;
}

const isMissing = (name: string) => !hasShared && !(name in MADE_UP);
const IDS = Int32Array.from({ length: 24 }, (_, i) => ((i * 53 + 7) % 180) + 3);
const WINDOWS = [1, 2, 3, 4].map((step) => Int32Array.from({ length: 24 }, (_, i) => ((i * 29 * step + 5) % 180) + 3));

/** Most that logits may move, as a share of the largest. */
const PASSES: readonly [string, () => BlockPass, number][] = [
  ['rtn w8', () => rtnPass({ scheme: 'w8' }), 0.05],
  ['gptq w4', () => gptqPass({ scheme: 'w4' }), 0.8],
  // Few points of the grid: what is tried is the same for each.
  ['awq w8', () => awqPass({ scheme: 'w8-asym', gridPoints: 4 }), 0.06],
  ['smoothquant w8a8', () => smoothquantPass({ scheme: 'w8a8' }), 0.12],
  ['wanda', () => prunePass({ method: 'wanda', sparsity: 0.1 }), 0.6],
  ['sparsegpt 2:4', () => prunePass({ method: 'sparsegpt', pattern: '2:4' }), 2.5],
  ['whitened svd', () => factorizePass({ method: 'whitened-svd', ratio: 0.9 }), 2.5],
];

/** Logits of the reference checkpoints as they are, computed once for each. */
const untouched = new Map<string, Promise<Float32Array>>();

function logitsBefore(name: string, model: LanguageModel): Promise<Float32Array> {
  const known = untouched.get(name) ?? logits(model, IDS, { device }).then(({ data }) => data);
  untouched.set(name, known);
  return known;
}

async function compressed(model: LanguageModel, config: unknown, pass: BlockPass, windows = WINDOWS) {
  const weights = new Map<string, WeightTensor>(model.weights);
  const interventions: Intervention[] = [];
  await runBlocks(model, {
    device,
    pool,
    windows,
    passes: [pass],
    onBlock: (outcome) => {
      for (const { name } of blockTensors(outcome.block)) weights.set(name, outcome.weights.get(name)!);
      interventions.push(...outcome.interventions);
      return Promise.resolve();
    },
  });
  return { model: createModel({ config, weights }), interventions };
}

describe.each(ALL_NAMES)('%s', (name) => {
  it.skipIf(isMissing(name)).each(PASSES)('%s', async (_label, make, tolerance) => {
    const folder = folderOf(name);
    const model = await openModel(folder);
    const config: unknown = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'));
    expect(describeArchitecture(readModelConfig(config)).blocks).toHaveLength(model.architecture.blocks.length);
    const before = await logitsBefore(name, model);
    const { model: small, interventions } = await compressed(model, config, make());
    const after = (await logits(small, IDS, { device })).data;
    const largest = before.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    const worst = after.reduce((a, b, i) => Math.max(a, Math.abs(b - before[i]!)), 0) / largest;
    expect(worst).toBeLessThan(tolerance);
    expect(worst).toBeGreaterThan(0);
    expect(interventions.every(({ message }) => !message.includes('NaN'))).toBe(true);
    await model.close();
  });
});

// Windows of one token repeated: in the first block all of them go to the same experts.
describe.skipIf(!hasShared)('experts that no calibration token went through', () => {
  const ONE_TOKEN = [new Int32Array(24).fill(9)];

  it.each(PASSES)('%s', async (_label, make) => {
    const folder = shared('golden/arch/mixtral');
    const model = await openModel(folder);
    const config: unknown = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'));
    const { model: small, interventions } = await compressed(model, config, make(), ONE_TOKEN);
    const after = (await logits(small, IDS, { device })).data;
    expect(after.every(Number.isFinite)).toBe(true);
    if (make().name !== 'rtn') {
      const idle = interventions.filter(({ code }) => code === 'EXPERT_WITHOUT_TOKENS').map(({ where }) => where);
      expect(idle.filter((where) => where.startsWith('model.layers.0.expert-')).length).toBeGreaterThanOrEqual(2);
    }
    await model.close();
  });
});

describe('training', () => {
  it.each(ALL_NAMES.filter((name) => name !== 'bert' && !isMissing(name)))(
    '%s: the loss on a text falls',
    async (name) => {
      const model = await openModel(folderOf(name));
      const { architecture, parameters } = await trainableModel(model, { seed: 1 });
      const trainer = await createTrainer({
        parameters,
        loss: nextTokenLoss(architecture),
        batches: windowBatches({ windows: WINDOWS, batchSize: 4, seed: 1 }),
        optimizer: adamw(),
        schedule: cosineSchedule({ steps: 6, warmupSteps: 1, peak: 3e-3 }),
        device,
      });
      const losses: number[] = [];
      await trainer.train({ steps: 6, onStep: ({ loss }) => void losses.push(loss) });
      await trainer.dispose();
      expect(losses.every(Number.isFinite)).toBe(true);
      expect(losses.at(-1)).toBeLessThan(losses[0]!);
      await model.close();
    },
  );

  it.skipIf(!hasShared)('an encoder is refused by name', async () => {
    const model = await openModel(shared('golden/arch/bert'));
    await expect(trainableModel(model, { seed: 1 })).rejects.toMatchObject({ code: 'MODEL_NOT_CAUSAL' });
    await model.close();
  });
});

describe('structured pruning', () => {
  const context = { device, pool, seed: 0, windows: WINDOWS };

  async function restructured(name: string, options: StructureOptions) {
    const folder = folderOf(name);
    const model = await openModel(folder);
    const json = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8')) as Record<string, unknown>;
    const { weights, config } = await structureTransform(options).apply(model, context);
    const small = createModel({ config: { ...json, ...config }, weights });
    const { data } = await logits(small, IDS, { device });
    await model.close();
    expect(data.every(Number.isFinite)).toBe(true);
    return small;
  }

  it.each(ALL_NAMES.filter((name) => !isMissing(name)))('%s: a layer goes', async (name) => {
    const { config, architecture } = await restructured(name, { layers: 1 });
    expect(architecture.blocks).toHaveLength(config.layers);
    expect(config.layers).toBe(name === 'gemma2' ? 2 : 1);
  });

  it.skipIf(!hasShared).each(NAMES)('%s: neurons go', async (name) => {
    const before = await openModel(shared(`golden/arch/${name}`));
    const { config } = await restructured(name, { neurons: 8 });
    expect(config.intermediateSize).toBe(before.config.intermediateSize - 8);
    await before.close();
  });

  it.each(['gemma2', 'qwen3', 'phi3', 'deepseek_v3'].filter((name) => !isMissing(name)))(
    '%s: heads go',
    async (name) => {
      const before = await openModel(folderOf(name));
      const { config } = await restructured(name, { kvGroups: 1 });
      expect(config.keyValueHeads).toBe(before.config.keyValueHeads - 1);
      await before.close();
    },
  );

  it('shared experts lose as many neurons for each of them as the others, dense blocks their share', async () => {
    const { config, architecture } = await restructured('deepseek_v3', { neurons: 0.25 });
    expect(config).toMatchObject({ intermediateSize: 36, experts: { intermediateSize: 12, shared: 2 } });
    const widths = architecture.blocks[1]!.linears.filter(({ role }) => role === 'down').map(
      ({ inFeatures }) => inFeatures,
    );
    expect(widths).toEqual([12, 12, 12, 12, 24]);
  });

  it('blocks that guess the tokens after the next are left out by a change, named in the plan, and kept otherwise', async () => {
    const json = { ...MADE_UP['deepseek_v3']!, num_nextn_predict_layers: 1 };
    const dense = await openModel(folderOf('deepseek_v3'));
    const guess = dense.weights.get('model.layers.1.input_layernorm.weight')!;
    const name = 'model.layers.2.enorm.weight';
    const model = createModel({ config: json, weights: new Map([...dense.weights, [name, { ...guess, name }]]) });
    expect(model.architecture.nextTokenPaths).toEqual(['model.layers.2']);
    for (const options of [
      { layers: [0] },
      { neurons: 0.25, score: 'magnitude' },
      { kvGroups: 1, score: 'magnitude' },
    ] as StructureOptions[]) {
      const transform = structureTransform(options);
      const planned = [...model.weights].map(([key, { shape, byteLength }]) => {
        return [key, { name: key, shape, byteLength, kind: 'dense', dtype: 'f32' }] as const;
      });
      const plan = transform.plan({ config: json, architecture: model.architecture, weights: new Map(planned) });
      expect(plan.notices.join()).toContain('1 tensors of model.layers.2 are left out');
      expect(plan.changes.find((change) => change.name === name)).toMatchObject({ action: 'remove' });
      const { weights, config } = await transform.apply(model, context);
      expect(plan.config).toEqual(config);
      expect(config).toMatchObject({ num_nextn_predict_layers: 0 });
      expect(weights.has(name)).toBe(false);
      expect(createModel({ config: { ...json, ...config }, weights }).config.nextTokenLayers).toBe(0);
    }
    await dense.close();
  });

  it('deepseek_v2: heads go where those left divide the width', async () => {
    await expect(restructured('deepseek_v2', { kvGroups: 1 })).rejects.toThrow('counts that fit: 2, 3');
    expect((await restructured('deepseek_v2', { kvGroups: 2 })).config.heads).toBe(2);
  });

  it.skipIf(!hasShared).each([
    ['gpt2', { kvGroups: 1 }],
    ['gpt_neox', { kvGroups: 1 }],
    ['opt', { kvGroups: 1 }],
    ['bert', { kvGroups: 1 }],
  ] as const)('%s, %o: refused by name', async (name, options) => {
    await expect(restructured(name, options)).rejects.toMatchObject({ code: 'STRUCTURE_IMPOSSIBLE' });
  });
});
