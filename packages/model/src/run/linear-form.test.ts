import { denseWeight, factoredWeight, factorNames, memoryBytes } from '@pith/tensor-core';
import type { Device, FactoredWeight, WeightTensor } from '@pith/tensor-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { logits } from '../evaluate/logits.ts';
import { generate } from '../generate/generate.ts';
import { runBlocks } from '../calibrate/block-runner.ts';
import type { BlockPass } from '../calibrate/pass.ts';
import type { InputStatistics } from '../calibrate/statistic.ts';
import { createModel } from '../language-model.ts';
import { madeUpModel } from '../testing/folder-model.fixture.ts';
import { blockBytes, blockForms, blockInputs, programKey } from './linear-form.ts';

let device: Device;
let pool: KernelPool;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
  pool = createKernelPool({ threads: 1 });
});
afterAll(() => Promise.all([device.dispose(), pool.dispose()]));

const config = {
  model_type: 'qwen2', // query, key and value have a bias
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 40,
  max_position_embeddings: 64,
  bos_token_id: 1,
  tie_word_embeddings: true,
};
const dense = madeUpModel(config);

/** Two factors of made-up values. */
function factored(name: string, rank: number): FactoredWeight {
  const [rows, columns] = dense.weights.get(name)!.shape;
  const names = factorNames(name);
  const made = (of: string, shape: [number, number], step: number) => {
    const values = Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.sin(step * i + (i * i) / 50) / 3);
    return denseWeight({ name: of, dtype: 'f32', shape, source: memoryBytes(new Uint8Array(values.buffer)) });
  };
  return factoredWeight({
    ...{ name, left: made(names.left, [rows, rank], 1.3), right: made(names.right, [rank, columns], 2.1) },
  });
}

const ranks = new Map([
  ['model.layers.0.self_attn.q_proj.weight', 3],
  ['model.layers.0.mlp.down_proj.weight', 5],
  ['model.layers.2.self_attn.k_proj.weight', 1],
  ['model.layers.2.mlp.gate_proj.weight', 4],
]);
const factors = new Map<string, WeightTensor>([...ranks].map(([name, rank]) => [name, factored(name, rank)]));
const low = createModel({ config, weights: new Map([...dense.weights, ...factors]) });

/** The same model with the products in the place of the factors. */
async function multipliedOut() {
  const weights = new Map<string, WeightTensor>(low.weights);
  for (const [name, weight] of factors) {
    const source = memoryBytes(new Uint8Array((await weight.toF32()).buffer));
    weights.set(name, denseWeight({ name, dtype: 'f32', shape: weight.shape, source }));
  }
  return createModel({ config, weights });
}

// Sums of at most 24 products in another order, some ten layers deep, of logits of about 1.
const TOLERANCE = 2e-5;
const furthest = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);

describe('factored linears', () => {
  it('give the logits of their product, and not those of the dense model', async () => {
    const ids = Int32Array.of(1, 7, 3, 22, 39, 5, 5, 8);
    const of = async (model: typeof low) => (await logits(model, ids, { device })).data;
    const given = await of(low);
    expect(furthest(given, await of(await multipliedOut()))).toBeLessThan(TOLERANCE);
    expect(furthest(given, await of(dense))).toBeGreaterThan(1e-2);
  });

  it('generate what their product generates, resident or not', async () => {
    const options = { device, ids: [1, 4, 9], maxTokens: 12, stopTokenIds: [] };
    const expected = await generate(await multipliedOut(), options);
    expect((await generate(low, options)).ids).toEqual(expected.ids);
  });

  it('calibrate as their product does', async () => {
    const watch = async (model: typeof low) => {
      const seen = new Map<string, InputStatistics>();
      const pass: BlockPass = {
        ...{ name: 'watcher', config: {}, needs: () => ['gram'] as const },
        plan: () => ({ changes: [], problems: [], notices: [] }),
        apply: (stage) => {
          for (const [group, statistics] of stage.statistics) seen.set(group, statistics);
          return Promise.resolve({ weights: new Map(), records: {}, interventions: [] });
        },
      };
      const windows = [Int32Array.of(1, 2, 3, 4, 5, 6), Int32Array.of(1, 30, 20, 10, 9, 8)];
      await runBlocks(model, { device, pool, windows, passes: [pass], onBlock: () => Promise.resolve() });
      return seen;
    };
    const [given, expected] = [await watch(low), await watch(await multipliedOut())];
    for (const [group, { gram }] of expected) {
      const scale = Math.max(...gram!);
      expect(furthest(given.get(group)!.gram!, gram!) / scale).toBeLessThan(TOLERANCE);
    }
  });

  it('that a pass makes are run by the next stage', async () => {
    const seen = new Map<string, Float64Array>();
    const pass = (change: boolean): BlockPass => ({
      ...{ name: 'factorizer', config: {}, needs: () => ['gram'] as const },
      plan: () => ({ changes: [], problems: [], notices: [] }),
      apply: (stage) => {
        for (const [group, { gram }] of stage.statistics) seen.set(group, gram!);
        const names = stage.linears.map(({ name }) => name).filter((name) => change && factors.has(name));
        const weights = new Map(names.map((name) => [name, factors.get(name)!]));
        return Promise.resolve({ weights, records: {}, interventions: [] });
      },
    });
    const windows = [Int32Array.of(1, 2, 3, 4, 5, 6)];
    const run = async (model: typeof low, change: boolean, order: 'block' | 'groups') => {
      seen.clear();
      const onBlock = () => Promise.resolve();
      await runBlocks(model, { device, pool, windows, passes: [pass(change)], order, onBlock });
      return new Map(seen);
    };
    const expected = await run(low, false, 'block');
    const changed = await run(dense, true, 'groups');
    for (const [group, gram] of expected) {
      expect(furthest(changed.get(group)!, gram) / Math.max(...gram)).toBeLessThan(TOLERANCE);
    }
  });
});

describe('forms of a block', () => {
  const [first, second, third] = low.architecture.blocks;

  it('are part of what a program is made for', () => {
    const forms = blockForms(first, low.weights);
    expect([...forms]).toEqual([
      ['self_attn.q_proj', { kind: 'factored', rank: 3 }],
      ['mlp.down_proj', { kind: 'factored', rank: 5 }],
    ]);
    const keys = [first, second, third].map((block) => programKey(block, blockForms(block, low.weights)));
    expect(new Set(keys).size).toBe(3);
    expect(programKey(second, blockForms(second, low.weights))).toBe(
      programKey(first, blockForms(first, dense.weights)),
    );
  });

  it('say what the program takes and how much that is', () => {
    const forms = blockForms(first, low.weights);
    const shapes = new Map(blockInputs(first, forms).map(({ name, shape }) => [name, shape]));
    expect(shapes.get('model.layers.0.self_attn.q_proj.left.weight')).toEqual([16, 3]);
    expect(shapes.get('model.layers.0.self_attn.q_proj.right.weight')).toEqual([3, 16]);
    expect(shapes.has('model.layers.0.self_attn.q_proj.weight')).toBe(false);
    expect(blockBytes(first) - blockBytes(first, forms)).toBe(4 * (16 * 16 - 3 * 32 + (16 * 24 - 5 * 40)));
  });
});
