// Whole experts: a model without some computes what the whole model computes when no token is sent to them.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setMembers, type JsonObject } from '@pith/checkpoint';
import { saveCheckpoint } from '@pith/checkpoint/node';
import { createModel, logits, plannedWeight, type LanguageModel, type TransformContext } from '@pith/model';
import { openModel } from '@pith/model/node';
import { cpuDevice, createKernelPool } from '@pith/tensor-core/node';
import type { KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { iterativeTransform } from '../schedule/iterative-transform.ts';
import { expertSets } from './expert-units.ts';
import { madeUpModel, memoryWeight, smallConfig } from './made-up-model.fixture.ts';
import { watchBlocks } from './rank-units.ts';
import { configChanges, keepExperts } from './restructured-model.ts';
import { sliceGroups } from './slice-groups.ts';
import { structureTransform } from './structure-transform.ts';

const device = cpuDevice({ threads: 1 });
let pool: KernelPool;
let folder: string;
beforeAll(async () => {
  pool = createKernelPool({ threads: 1 });
  folder = await mkdtemp(join(tmpdir(), 'pith-experts-'));
});
afterAll(async () => {
  await device.dispose();
  await pool.dispose();
  await rm(folder, { recursive: true });
});

const windows = Array.from({ length: 4 }, (_, w) => Int32Array.from({ length: 24 }, (_, i) => (5 * i + 11 * w) % 48));
const context = (): TransformContext => ({ device, pool, seed: 0, windows });
const ids = Int32Array.from({ length: 24 }, (_, i) => (7 * i + 3) % 48);

const moe = { num_experts: 5, num_experts_per_tok: 2, moe_intermediate_size: 12, head_dim: 8 };
const { num_experts: _, ...rest } = moe;
const DEEPSEEK = 'deepseek_v3, sigmoids with a bias for the choice';
const CONFIGS = {
  mixtral: smallConfig('mixtral', { num_local_experts: 5, num_experts_per_tok: 2 }),
  'qwen3_moe, shares of all experts': smallConfig('qwen3_moe', { ...moe, mlp_only_layers: [1] }),
  'qwen3_moe as transformers 5 writes it': smallConfig('qwen3_moe', { ...rest, num_local_experts: 5 }),
  'deepseek_v3, sigmoids with a bias for the choice': smallConfig('deepseek_v3', {
    ...{ n_routed_experts: 5, num_experts_per_tok: 2, moe_intermediate_size: 12, n_group: 1, topk_group: 1 },
    ...{
      q_lora_rank: 16,
      kv_lora_rank: 8,
      qk_nope_head_dim: 8,
      qk_rope_head_dim: 8,
      v_head_dim: 8,
      first_k_dense_replace: 1,
    },
    ...{ num_key_value_heads: 4, n_shared_experts: 1, num_nextn_predict_layers: 0 },
  }),
  'qwen3_moe, shares of the chosen ones': smallConfig('qwen3_moe', { ...moe, norm_topk_prob: true }),
};

/** The model with other values of some weights. */
async function changed(
  model: LanguageModel,
  change: (name: string, data: Float32Array, columns: number) => void,
): Promise<LanguageModel> {
  const weights = new Map(model.weights);
  for (const [name, weight] of weights) {
    const data = (await weight.toF32()).slice();
    change(name, data, weight.shape[1] ?? 1);
    weights.set(name, memoryWeight(name, weight.shape, data));
  }
  return { ...model, weights };
}

/** The made-up model with 8 in the first place of the hidden states, all the way: a router can tell by it what no token may have. */
function withConstant(config: object): Promise<LanguageModel> {
  return changed(madeUpModel(config), (name, data, columns) => {
    if (name === 'model.embed_tokens.weight') for (let at = 0; at < data.length; at += columns) data[at] = 8;
    if (/(o_proj|down_proj|w2)\.weight$/.test(name)) data.fill(0, 0, columns);
  });
}

/** The same model whose routers send no token to some experts. */
function avoiding(model: LanguageModel, gone: ReadonlyMap<string, readonly number[]>): Promise<LanguageModel> {
  return changed(model, (name, data, columns) => {
    for (const expert of gone.get(name.replace(/e_score_correction_bias$/, 'weight')) ?? []) {
      if (name.endsWith('bias')) {
        data[expert] = -100;
        continue;
      }
      data.fill(0, expert * columns, (expert + 1) * columns);
      data[expert * columns] = -1e4;
    }
  });
}

async function largestDifference(a: LanguageModel, b: LanguageModel): Promise<number> {
  const [x, y] = [(await logits(a, ids, { device })).data, (await logits(b, ids, { device })).data];
  return x.reduce((largest, value, i) => Math.max(largest, Math.abs(value - y[i]!)), 0);
}

const others = (gone: readonly number[]) => Uint32Array.of(0, 1, 2, 3, 4).filter((one) => !gone.includes(one));

describe.each(Object.entries(CONFIGS))('%s', (_, config) => {
  it('without one expert of each layer, without three, computes what the masked model does, from disk too', async () => {
    const model = await withConstant(config);
    for (const [first, count] of [
      [3, 1],
      [0, 3],
    ] as const) {
      const gone = new Map(
        expertSets(model.architecture).map(({ router, block }) => [
          router.name,
          Array.from({ length: count }, (_, i) => (first + block.index + i) % 5),
        ]),
      );
      const small = keepExperts(model, new Map([...gone].map(([name, experts]) => [name, others(experts)])));
      expect(await largestDifference(small, await avoiding(model, gone))).toBeLessThan(1e-4);
      // Something was removed, and it mattered.
      expect(await largestDifference(small, model)).toBeGreaterThan(1e-3);
      const directory = join(folder, `${Math.random()}`);
      await saveCheckpoint(directory, {
        configText: setMembers(JSON.stringify(config), configChanges(model.config, small.config) as JsonObject),
        weights: small.weights.values(),
      });
      const read = await openModel(directory);
      expect(read.config).toEqual(small.config);
      expect(read.config.experts!.count).toBe(5 - count);
      expect(await largestDifference(read, small)).toBe(0);
      await read.close();
    }
  });

  it('is planned with the names and shapes that it gets', async () => {
    const model = madeUpModel(config);
    const transform = structureTransform({ experts: 2, neurons: 0.25, layers: [2], score: 'magnitude' });
    const weights = new Map([...model.weights].map(([name, weight]) => [name, plannedWeight(weight)]));
    const plan = transform.plan({ config: { ...config }, architecture: model.architecture, weights });
    expect(plan.problems).toEqual([]);
    expect(plan.notices).toContain('2 of 5 experts of each layer go, with their rows of the router');
    const byName = new Map(plan.changes.map((change) => [change.name, change.after]));
    const planned = [...weights].flatMap(([name, weight]) => {
      const after = byName.has(name) ? byName.get(name)! : weight;
      return after === null ? [] : [[after.name, after.shape] as const];
    });
    const result = await transform.apply(model, context());
    expect([...result.weights].map(([name, { shape }]) => [name, shape]).sort()).toEqual(planned.sort());
    expect(result.config).toEqual(plan.config);
    createModel({ config: { ...config, ...result.config }, weights: result.weights });
  });
});

describe('scores', () => {
  const config = CONFIGS.mixtral;
  const routers = ['model.layers.0', 'model.layers.1', 'model.layers.2'].map(
    (at) => `${at}.block_sparse_moe.gate.weight`,
  );

  it('of inputs are what the block loses without the expert, to the rounding of f32', async () => {
    const model = madeUpModel(config);
    let seen = 0;
    await watchBlocks(
      model,
      {
        needs: ({ expert, role }) => (expert !== null && role === 'down' ? ['contribution'] : []),
        look: async ({ block, statistics, weights, outputError }) => {
          for (const { name, inputGroup } of block.linears.filter(({ role }) => role === 'down')) {
            const zeros = new Float32Array((await weights.get(name)!.toF32()).length);
            const lost = (await outputError!(new Map([[name, zeros]]))) * 4 * 24 * 32;
            const { contribution } = statistics.get(inputGroup)!;
            expect(contribution).toBeGreaterThan(0);
            expect(Math.abs(contribution! / lost - 1)).toBeLessThan(1e-4);
            seen++;
          }
        },
      },
      context(),
    );
    expect(seen).toBe(3 * 5);
  });

  it.each(['wanda', 'taylor', 'magnitude'] as const)('%s: experts that hardly speak go first', async (score) => {
    const quiet = [4, 0, 2];
    const model = await changed(madeUpModel(config), (name, data) => {
      const match = /layers\.(\d)\.block_sparse_moe\.experts\.(\d)\.w2/.exec(name);
      if (match && quiet[Number(match[1])] === Number(match[2])) data.forEach((value, i) => (data[i] = 1e-3 * value));
    });
    const { records, config: members } = await structureTransform({ experts: 1, score }).apply(model, context());
    expect(members).toEqual({ num_experts: 4, num_local_experts: 4 });
    for (const [layer, router] of routers.entries()) {
      expect(records[router]).toMatchObject({ unit: 'experts', score, kept: 4, removed: `${quiet[layer]}` });
      expect(records[router]!['lostShare']).toBeLessThan(0.01);
    }
  });

  it('of an expert that no token is sent to are 0, which is reported', async () => {
    const unused = new Map(routers.map((name) => [name, [3]]));
    const model = await avoiding(await withConstant(config), unused);
    const { records, interventions } = await structureTransform({ experts: 1 }).apply(model, context());
    for (const router of routers) expect(records[router]).toMatchObject({ removed: '3', lostShare: 0 });
    // Routers that see one large constant leave others unused as well.
    expect(new Set(interventions.map(({ code }) => code))).toEqual(new Set(['EXPERT_WITHOUT_TOKENS']));
    for (const layer of [0, 1, 2]) {
      expect(interventions.map(({ where }) => where)).toContain(`model.layers.${layer}.expert-3-output`);
    }
    expect(interventions[0]!.message).toContain('goes first');
  });
});

describe('bad requests', () => {
  const problemsOf = (config: Record<string, unknown>, options: object) => {
    const { architecture, weights } = madeUpModel(config);
    const planned = new Map([...weights].map(([name, weight]) => [name, plannedWeight(weight)]));
    return structureTransform({ score: 'magnitude', ...options }).plan({ config, architecture, weights: planned })
      .problems;
  };

  it('leave too few experts, or none are there', () => {
    expect(problemsOf(CONFIGS.mixtral, { experts: 4 })).toMatchObject([
      { code: 'TOO_FEW_EXPERTS_LEFT', message: expect.stringContaining('ask for 3 at most') as string },
    ]);
    expect(problemsOf(CONFIGS.mixtral, { experts: 5 })).toMatchObject([{ code: 'TOO_FEW_EXPERTS_LEFT' }]);
    expect(problemsOf(CONFIGS.mixtral, { experts: 0.1 })).toMatchObject([{ code: 'REMOVES_NOTHING' }]);
    expect(problemsOf({ ...CONFIGS[DEEPSEEK], n_routed_experts: 6, n_group: 2 }, { experts: 1 })).toMatchObject([
      { code: 'STRUCTURE_UNSUPPORTED', message: expect.stringContaining('2 groups of experts') as string },
    ]);
    expect(problemsOf(smallConfig('llama'), { experts: 1 })).toMatchObject([
      { code: 'STRUCTURE_UNSUPPORTED', message: expect.stringContaining('no layer with experts') as string },
    ]);
  });
});

it('an expert is its tensors and its row of the router', () => {
  const { architecture } = madeUpModel(CONFIGS['qwen3_moe, shares of all experts']);
  const groups = sliceGroups(architecture, 'experts');
  expect(groups.map(({ block, index }) => [block, index])).toEqual(
    [0, 2].flatMap((block) => [0, 1, 2, 3, 4].map((index) => [block, index])),
  );
  expect(groups[6]!.slices).toEqual([
    { name: 'model.layers.2.mlp.experts.1.gate_proj.weight', axis: 'rows', start: 0, length: 12 },
    { name: 'model.layers.2.mlp.experts.1.up_proj.weight', axis: 'rows', start: 0, length: 12 },
    { name: 'model.layers.2.mlp.experts.1.down_proj.weight', axis: 'rows', start: 0, length: 32 },
    { name: 'model.layers.2.mlp.gate.weight', axis: 'rows', start: 1, length: 1 },
  ]);
});

it('rounds take experts in turns', async () => {
  const model = madeUpModel(CONFIGS.mixtral);
  const transform = iterativeTransform({
    by: { method: 'structure', experts: 3, score: 'magnitude' },
    rounds: 3,
    spacing: 'linear',
  });
  const result = await transform.apply(model, { ...context(), directory: join(folder, 'rounds') });
  expect(result.config).toEqual({ num_experts: 2, num_local_experts: 2 });
});
