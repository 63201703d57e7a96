import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import type { Device, WeightTensor } from '@pith/tensor-core';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BlockSpec } from '../architecture/architecture.ts';
import { causalMask } from '../architecture/ops/masks.ts';
import { rotaryTable } from '../architecture/ops/rotary.ts';
import { blockScope, modelScope } from '../architecture/scope.ts';
import type { LanguageModel } from '../language-model.ts';
import { folderModel, madeUpModel, memoryWeight } from '../testing/folder-model.fixture.ts';
import { spilledActivations } from '../node/spilled-activations.ts';
import { runBlocks, type BlockOutcome, type BlockRunOptions } from './block-runner.ts';
import type { BlockPass, Stage } from './pass.ts';
import { collectGradients } from './collect-gradients.ts';
import type { InputStatistics } from './statistic.ts';
import type { GradientNeeds, WeightGradient } from './weight-gradient.ts';

let device: Device;
let pool: KernelPool;
beforeAll(async () => {
  tf.enableProdMode(); // keeps the backend from advertising others
  await tf.setBackend('cpu');
  device = cpuDevice({ threads: 1 });
  pool = createKernelPool({ threads: 1 });
});
afterAll(() => Promise.all([device.dispose(), pool.dispose()]));

const config = {
  model_type: 'llama',
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 40,
  max_position_embeddings: 2048,
  bos_token_id: 1,
  tie_word_embeddings: true,
};
const CONTEXT = 21;
const BATCH = 2 * CONTEXT; // three windows: a batch of two and a batch of one
const windows = [3, 5, 7].map((step) =>
  Int32Array.from({ length: CONTEXT }, (_, i) => (i === 0 ? 1 : (i * step) % 40)),
);
const EVERYTHING = ['absmax', 'range', 'mean', 'meanabs', 'norms', 'gram'] as const;

/** The inputs of every linear, computed eagerly on another backend: f32 [tokens, in] by module path. */
async function eagerInputs(model: LanguageModel): Promise<Map<string, number[][]>> {
  const { architecture } = model;
  const dense = new Map<string, tf.Tensor>();
  for (const [name, weight] of model.weights) dense.set(name, tf.tensor(await weight.toF32(), [...weight.shape]));
  const inputs = new Map<string, number[][]>();
  for (const window of windows) {
    tf.tidy(() => {
      const ids = tf.tensor2d(window, [1, CONTEXT], 'int32');
      let hidden = architecture.program.embed(
        modelScope(architecture, (name) => dense.get(name)),
        ids,
        tf.range(0, CONTEXT, 1, 'int32'),
      );
      const { cos, sin } = rotaryTable(architecture.config.rope!, 0, CONTEXT);
      const half = architecture.config.headDim / 2;
      const attention = {
        cos: tf.tensor2d(cos, [CONTEXT, half]),
        sin: tf.tensor2d(sin, [CONTEXT, half]),
      };
      for (const block of architecture.blocks) {
        const mask = tf.tensor2d(causalMask(CONTEXT, 0, 0, block.window), [CONTEXT, CONTEXT]);
        const scope = blockScope(
          block,
          (name) => dense.get(name),
          (spec, x, apply) => {
            const rows = tf.reshape(x, [-1, spec.inFeatures]).arraySync() as number[][];
            inputs.set(spec.path, [...(inputs.get(spec.path) ?? []), ...rows]);
            return apply();
          },
        );
        hidden = architecture.program.block(scope, block, hidden, { ...attention, mask }).hidden;
      }
    });
  }
  return inputs;
}

/** A pass that looks, and rewrites what `rewrite` says. */
function watcher(rewrite: (stage: Stage) => Record<string, WeightTensor> = () => ({})) {
  const seen = new Map<string, InputStatistics>();
  const pass: BlockPass = {
    name: 'watcher',
    config: {},
    plan: () => ({ changes: [], problems: [], notices: [] }),
    needs: () => EVERYTHING,
    apply: (stage) => {
      for (const linear of stage.linears) seen.set(linear.path, stage.statistics.get(linear.inputGroup)!);
      return Promise.resolve({ weights: new Map(Object.entries(rewrite(stage))), records: {}, interventions: [] });
    },
  };
  return { pass, seen };
}

/** Zeroes one linear of one block. */
const zero = (index: number, path: string) => (stage: Stage) => {
  const linear = stage.linears.find((spec) => spec.path.endsWith(path));
  if (stage.block.index !== index || !linear) return {};
  const { shape } = stage.weights.get(linear.name)!;
  return { [linear.name]: memoryWeight(linear.name, shape, new Float32Array(shape[0] * shape[1])) };
};

async function run(options: Partial<BlockRunOptions> & Pick<BlockRunOptions, 'passes'>): Promise<BlockOutcome[]> {
  const outcomes: BlockOutcome[] = [];
  const onBlock = (outcome: BlockOutcome) => Promise.resolve(void outcomes.push(outcome));
  await runBlocks(madeUpModel(config), { device, pool, windows, batchTokens: BATCH, onBlock, ...options });
  return outcomes;
}

const close = (actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number) => {
  expect(actual.length).toBe(expected.length);
  const scale = Math.max(...Array.from(expected, Math.abs));
  for (let i = 0; i < expected.length; i++)
    expect(Math.abs(actual[i] - expected[i])).toBeLessThanOrEqual(tolerance * scale);
};

const architectures: [string, () => LanguageModel][] = [
  ['a llama with a tied head', () => madeUpModel(config)],
  ...(hasShared
    ? ['llama', 'qwen2', 'mistral'].map((name): [string, () => LanguageModel] => [
        `the ${name} of the golden files`,
        () => folderModel(shared(`golden/arch/${name}`)),
      ])
    : []),
];

describe('runBlocks', () => {
  it.each(architectures)('collects what an eager forward pass gives: %s', async (_, make) => {
    const { pass, seen } = watcher();
    const model = make();
    const outcomes: BlockOutcome[] = [];
    const onBlock = (outcome: BlockOutcome) => Promise.resolve(void outcomes.push(outcome));
    await runBlocks(model, { device, pool, windows, batchTokens: BATCH, onBlock, passes: [pass] });
    expect(outcomes.map(({ block }) => block.index)).toEqual([...model.architecture.blocks.keys()]);
    const inputs = await eagerInputs(model);
    expect([...seen.keys()].sort()).toEqual([...inputs.keys()].sort());
    for (const [path, rows] of inputs) {
      const statistics = seen.get(path)!;
      const columns = rows[0].map((_, j) => rows.map((row) => row[j]));
      const n = columns.length;
      expect(statistics.tokens).toBe(3 * CONTEXT);
      // Inputs of later blocks went through some hundred f32 roundings of 2^-24 each.
      const tolerance = 2e-5;
      close(
        statistics.absmax!,
        columns.map((c) => Math.max(...c.map(Math.abs))),
        tolerance,
      );
      close(
        statistics.min!,
        columns.map((c) => Math.min(...c)),
        tolerance,
      );
      close(
        statistics.max!,
        columns.map((c) => Math.max(...c)),
        tolerance,
      );
      const dot = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * b[i], 0);
      close(
        statistics.squares!,
        columns.map((c) => dot(c, c)),
        tolerance,
      );
      const largest = Math.max(...statistics.absmax!);
      columns.forEach((c, j) => {
        expect(Math.abs(statistics.mean![j] - c.reduce((a, b) => a + b, 0) / c.length)).toBeLessThan(
          tolerance * largest,
        );
        const size = c.reduce((a, b) => a + Math.abs(b), 0) / c.length;
        expect(Math.abs(statistics.meanabs![j] - size)).toBeLessThan(tolerance * largest);
      });
      close(
        statistics.gram!,
        Array.from({ length: n * n }, (_, i) => dot(columns[Math.floor(i / n)], columns[i % n])),
        tolerance,
      );
    }
  });

  it('gives the next block what the rewritten one makes, or by option the original', async () => {
    const plain = watcher();
    const compressed = watcher(zero(0, 'down_proj'));
    const original = watcher(zero(0, 'down_proj'));
    await run({ passes: [plain.pass] });
    await run({ passes: [compressed.pass] });
    await run({ passes: [original.pass], inputs: 'original' });
    const next = 'model.layers.1.self_attn.q_proj';
    expect(original.seen.get(next)).toEqual(plain.seen.get(next));
    expect(compressed.seen.get(next)).not.toEqual(plain.seen.get(next));
  });

  it('in the order of groups, a linear sees the rewritten ones before it', async () => {
    const whole = watcher(zero(0, 'v_proj'));
    const groups = watcher(zero(0, 'v_proj'));
    await run({ passes: [whole.pass] });
    await run({ passes: [groups.pass], order: 'groups' });
    const output = 'model.layers.0.self_attn.o_proj';
    expect(Math.max(...whole.seen.get(output)!.absmax!)).toBeGreaterThan(0);
    expect(Math.max(...groups.seen.get(output)!.absmax!)).toBe(0);
  });

  it('shares one collection between passes until one changes the inputs', async () => {
    const first = watcher();
    const second = watcher();
    const changing = watcher();
    await run({ passes: [first.pass, second.pass] });
    const path = 'model.layers.1.mlp.up_proj';
    expect(second.seen.get(path)).toBe(first.seen.get(path));
    await run({ passes: [{ ...changing.pass, changesInputs: true }, second.pass] });
    expect(second.seen.get(path)).not.toBe(changing.seen.get(path));
    expect(second.seen.get(path)).toEqual(changing.seen.get(path));
  });

  it('continues after finished blocks as an undisturbed run', async () => {
    const undisturbed = watcher(zero(0, 'down_proj'));
    const outcomes = await run({ passes: [undisturbed.pass] });
    const resumed = watcher(zero(0, 'down_proj'));
    const finished = (block: BlockSpec) => Promise.resolve(block.index < 2 ? outcomes[block.index].weights : null);
    const rest = await run({ passes: [resumed.pass], finished });
    expect(rest.map(({ block }) => block.index)).toEqual([2]);
    for (const [path, statistics] of resumed.seen) expect(statistics).toEqual(undisturbed.seen.get(path));
  });

  it.each(['compressed', 'original'] as const)('gives the same to the bit with %s inputs on disk', async (inputs) => {
    const directory = mkdtempSync(join(tmpdir(), 'pith-blocks-'));
    const [inMemory, onDisk] = [watcher(zero(0, 'v_proj')), watcher(zero(0, 'v_proj'))];
    await run({ passes: [inMemory.pass], inputs, order: 'groups' });
    await run({ passes: [onDisk.pass], inputs, order: 'groups', activations: spilledActivations({ directory }) });
    expect(onDisk.seen).toEqual(inMemory.seen);
    expect(readdirSync(directory)).toEqual([]);
    rmSync(directory, { recursive: true });
  });

  it('gives the gradients of the model as it was, in memory and from disk, in a resumed run too', async () => {
    const model = madeUpModel(config);
    const expected = new Map<string, WeightGradient>();
    const keep = (_: BlockSpec, found: ReadonlyMap<string, WeightGradient>) => {
      for (const [name, gradient] of found) expected.set(name, gradient);
      return Promise.resolve();
    };
    const wanted: GradientNeeds = ({ role }) => (role === 'key' ? ['mean', 'squares'] : role === 'up' ? ['mean'] : []);
    await collectGradients(model, { device, windows, wanted, onBlock: keep });
    expect(expected.size).toBe(6);
    const gradientPass = () => {
      const seen = new Map<string, WeightGradient>();
      const { pass } = watcher((stage) => {
        for (const [name, gradient] of stage.gradients!) seen.set(name, gradient);
        return zero(0, 'v_proj')(stage);
      });
      return { pass: { ...pass, needsGradients: wanted }, seen };
    };
    const directory = mkdtempSync(join(tmpdir(), 'pith-blocks-'));
    const [inMemory, onDisk, resumed] = [gradientPass(), gradientPass(), gradientPass()];
    const outcomes = await run({ passes: [inMemory.pass] });
    await run({ passes: [onDisk.pass], activations: spilledActivations({ directory }), order: 'groups' });
    const finished = (block: BlockSpec) => Promise.resolve(block.index < 2 ? outcomes[block.index].weights : null);
    await run({ passes: [resumed.pass], finished });
    expect(inMemory.seen).toEqual(expected);
    expect(onDisk.seen).toEqual(expected);
    const last = [...expected].filter(([name]) => name.startsWith('model.layers.2.'));
    expect([...resumed.seen].sort()).toEqual(last.sort());
    rmSync(directory, { recursive: true });
  });

  it('compares outputs of the block under other weights', async () => {
    const found: number[][] = [];
    const { pass } = watcher();
    const comparing: BlockPass = {
      ...pass,
      apply: async (stage) => {
        const { name, inputGroup } = stage.block.linears.find(({ role }) => role === 'down')!;
        const values = await stage.weights.get(name)!.toF32();
        const { gram, tokens } = stage.statistics.get(inputGroup)!;
        // Twice the weight adds its output y = x Wᵀ once more: the mean square is tr(W G Wᵀ) over all values.
        let squares = 0;
        for (let row = 0; row < 16; row++)
          for (let i = 0; i < 24; i++)
            for (let j = 0; j < 24; j++) squares += values[row * 24 + i] * gram![i * 24 + j] * values[row * 24 + j];
        const doubled = await stage.outputError!(new Map([[name, values.map((value) => 2 * value)]]));
        found.push([await stage.outputError!(new Map()), doubled, squares / tokens / 16]);
        return { weights: new Map(), records: {}, interventions: [] };
      },
    };
    await run({ passes: [comparing], inputs: 'original' });
    expect(found).toHaveLength(3);
    for (const [same, doubled, expected] of found) {
      expect(same).toBe(0);
      expect(Math.abs(doubled / expected - 1)).toBeLessThan(1e-4);
    }
  });

  it('says where fewer tokens than columns went into a Gram matrix', async () => {
    const first = watcher();
    const [enough, few] = [
      await run({ passes: [first.pass] }),
      await run({ passes: [first.pass], windows: [windows[0]] }),
    ];
    expect(enough.flatMap(({ interventions }) => interventions)).toEqual([]);
    // 21 tokens, 16 columns everywhere but before down_proj, which has 24.
    for (const { block, interventions, notices } of few) {
      expect(notices).toEqual(interventions);
      const where = `${block.path}.mlp.down_proj`;
      const group = block.linears.find(({ path }) => path === where)!.inputGroup;
      expect(interventions).toMatchObject([
        { code: 'FEW_CALIBRATION_TOKENS', where: group, details: { tokens: 21, inFeatures: 24 } },
      ]);
    }
  });

  it('names the input that is not finite', async () => {
    const model = madeUpModel(config);
    const name = 'model.layers.1.input_layernorm.weight';
    const weights = new Map(model.weights).set(name, memoryWeight(name, [16], new Float32Array(16).fill(Infinity)));
    const { pass } = watcher();
    const onBlock = () => Promise.resolve();
    await expect(
      runBlocks({ ...model, weights }, { device, pool, windows, passes: [pass], onBlock }),
    ).rejects.toMatchObject({
      code: 'ACTIVATIONS_NOT_FINITE',
      details: { input: 'model.layers.1.attention' },
    });
  });

  it('refuses to run on nothing', async () => {
    await expect(run({ passes: [], windows: [] })).rejects.toMatchObject({ code: 'CALIBRATION_EMPTY' });
  });

  it('stops between batches when asked', async () => {
    const controller = new AbortController();
    const { pass } = watcher((stage) => {
      if (stage.block.index === 1) controller.abort();
      return {};
    });
    await expect(run({ passes: [pass], signal: controller.signal })).rejects.toMatchObject({ code: 'STOPPED' });
  });
});
