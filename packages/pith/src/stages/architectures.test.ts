// Every technique on every kind of architecture: fused and transposed matrices, norms with offsets and biases, norms on both sides
// or behind, experts, an encoder. What a technique cannot do is refused by name, and nothing else may go wrong.
import { readFileSync } from 'node:fs';
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

const device = cpuDevice({ threads: 1 });
const pool = createKernelPool({ threads: 1 });
afterAll(async () => {
  await device.dispose();
  await pool.dispose();
});

const NAMES = ['gemma2', 'gpt2', 'gpt_neox', 'mixtral', 'opt', 'phi3', 'qwen3', 'bert'];
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

describe.skipIf(!hasShared).each(NAMES)('%s', (name) => {
  it.each(PASSES)('%s', async (_label, make, tolerance) => {
    const folder = shared(`golden/arch/${name}`);
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

describe.skipIf(!hasShared)('training', () => {
  it.each(NAMES.filter((name) => name !== 'bert'))('%s: the loss on a text falls', async (name) => {
    const model = await openModel(shared(`golden/arch/${name}`));
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
  });

  it('an encoder is refused by name', async () => {
    const model = await openModel(shared('golden/arch/bert'));
    await expect(trainableModel(model, { seed: 1 })).rejects.toMatchObject({ code: 'MODEL_NOT_CAUSAL' });
    await model.close();
  });
});

describe.skipIf(!hasShared)('structured pruning', () => {
  const context = { device, pool, seed: 0, windows: WINDOWS };

  async function restructured(name: string, options: StructureOptions) {
    const folder = shared(`golden/arch/${name}`);
    const model = await openModel(folder);
    const json = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8')) as Record<string, unknown>;
    const { weights, config } = await structureTransform(options).apply(model, context);
    const small = createModel({ config: { ...json, ...config }, weights });
    const { data } = await logits(small, IDS, { device });
    await model.close();
    expect(data.every(Number.isFinite)).toBe(true);
    return small;
  }

  it.each(NAMES)('%s: a layer goes', async (name) => {
    const { config, architecture } = await restructured(name, { layers: 1 });
    expect(architecture.blocks).toHaveLength(config.layers);
    expect(config.layers).toBe(name === 'gemma2' ? 2 : 1);
  });

  it.each(['gemma2', 'gpt2', 'gpt_neox', 'mixtral', 'opt', 'phi3', 'qwen3', 'bert'])('%s: neurons go', async (name) => {
    const before = await openModel(shared(`golden/arch/${name}`));
    const { config } = await restructured(name, { neurons: 8 });
    expect(config.intermediateSize).toBe(before.config.intermediateSize - 8);
    await before.close();
  });

  it.each(['gemma2', 'qwen3', 'phi3'])('%s: heads go', async (name) => {
    const before = await openModel(shared(`golden/arch/${name}`));
    const { config } = await restructured(name, { kvGroups: 1 });
    expect(config.keyValueHeads).toBe(before.config.keyValueHeads - 1);
    await before.close();
  });

  it.each([
    ['gpt2', { kvGroups: 1 }],
    ['gpt_neox', { kvGroups: 1 }],
    ['opt', { kvGroups: 1 }],
    ['bert', { kvGroups: 1 }],
  ] as const)('%s, %o: refused by name', async (name, options) => {
    await expect(restructured(name, options)).rejects.toMatchObject({ code: 'STRUCTURE_IMPOSSIBLE' });
  });
});
