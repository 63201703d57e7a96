import * as tf from '@tensorflow/tfjs-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { compile, randomStream } from '@pith/tensor-core';
import type { Device, HostTensor, Signature } from '@pith/tensor-core';
import { afterAll, describe, expect, it } from 'vitest';
import { perplexity } from '../evaluate/perplexity.ts';
import type { LanguageModel } from '../language-model.ts';
import { madeUpModel, memoryWeight } from '../testing/folder-model.fixture.ts';
import { nextTokenLoss } from '../train/loss.ts';
import { collectGradients, type GradientOptions } from './collect-gradients.ts';
import { headSlice } from './loss-slopes.ts';
import type { WeightGradient } from './weight-gradient.ts';

const device: Device = cpuDevice({ threads: 1 });
afterAll(() => device.dispose());

const config = {
  model_type: 'llama',
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 40,
  bos_token_id: 1,
  tie_word_embeddings: true,
};
const CONTEXT = 13;
const windows = [3, 5, 7].map((step) =>
  Int32Array.from({ length: CONTEXT }, (_, i) => (i === 0 ? 1 : (i * step + i * i) % 40)),
);

async function collect(model: LanguageModel, options: Partial<GradientOptions> = {}) {
  const gradients = new Map<string, WeightGradient>();
  const order: number[] = [];
  const { loss } = await collectGradients(model, {
    device,
    windows,
    wanted: () => ['mean', 'squares'],
    onBlock: (block, found) => {
      order.push(block.index);
      for (const [name, gradient] of found) gradients.set(name, gradient);
      return Promise.resolve();
    },
    ...options,
  });
  return { loss, gradients, order };
}

/** The gradients of each window's loss, of the whole model as one program, by checkpoint name. */
async function wholeModelGradients(model: LanguageModel): Promise<Map<string, Float32Array[]>> {
  const names = model.architecture.blocks.flatMap(({ linears }) => linears.map(({ name }) => name));
  const weights: Record<string, HostTensor> = {};
  for (const [name, weight] of model.weights) {
    weights[name] = { dtype: 'f32', shape: weight.shape, data: await weight.toF32() };
  }
  const loss = nextTokenLoss(model.architecture);
  const tokens = { shape: [1, CONTEXT - 1], dtype: 'int32' } as const;
  const shapes = Object.fromEntries(Object.entries(weights).map(([name, { shape }]) => [name, { shape }]));
  const signature: Signature = { ...shapes, ids: tokens, targets: tokens };
  const program = await compile(
    (inputs) => {
      const lossOf = (...values: tf.Tensor[]) =>
        loss({ ...inputs, ...Object.fromEntries(names.map((name, i) => [name, values[i]])) }, inputs);
      const gradients = tf.grads(lossOf)(names.map((name) => inputs[name]));
      return Object.fromEntries(names.map((name, i) => [`gradient of ${name}`, gradients[i]]));
    },
    signature,
    device,
  );
  const found = new Map<string, Float32Array[]>(names.map((name) => [name, []]));
  for (const window of windows) {
    const i32 = (data: Int32Array) => ({ dtype: 'i32' as const, shape: tokens.shape, data });
    const outputs = await program.run({ ...weights, ids: i32(window.slice(0, -1)), targets: i32(window.slice(1)) });
    for (const name of names) found.get(name)!.push(outputs[`gradient of ${name}`].data as Float32Array);
  }
  await program.dispose();
  return found;
}

const variants = {
  'llama with grouped queries and a tied head': config,
  'qwen2 with biases and an own head': { ...config, model_type: 'qwen2', tie_word_embeddings: false },
  'mistral with a sliding window': { ...config, model_type: 'mistral', sliding_window: 4, tie_word_embeddings: false },
};

describe('collectGradients', () => {
  it.each(Object.entries(variants))('gives those of the whole model: %s', async (_, json) => {
    const model = madeUpModel(json);
    const { gradients, order } = await collect(model);
    expect(order).toEqual([2, 1, 0]);
    const expected = await wholeModelGradients(model);
    expect([...gradients.keys()].sort()).toEqual([...expected.keys()].sort());
    for (const [name, perWindow] of expected) {
      const { mean, squares, windows: seen } = gradients.get(name)!;
      expect(seen).toBe(3);
      const largest = Math.max(...perWindow.map((gradient) => Math.max(...gradient.map(Math.abs))));
      expect(largest).toBeGreaterThan(1e-5);
      for (let i = 0; i < mean!.length; i++) {
        const values = perWindow.map((gradient) => gradient[i]);
        const average = values.reduce((a, b) => a + b) / 3;
        const square = values.reduce((a, b) => a + b * b, 0) / 3;
        // Some hundred f32 roundings on the way, of values about as large as the largest.
        expect(Math.abs(mean![i] - average)).toBeLessThan(1e-4 * largest);
        expect(Math.abs(squares![i] - square)).toBeLessThan(2e-4 * largest ** 2);
      }
    }
  });

  it('gives the slope of the perplexity that is evaluated', async () => {
    const model = madeUpModel({ ...config, tie_word_embeddings: false });
    const { gradients, loss } = await collect(model);
    const ids = Int32Array.from(windows.flatMap((window) => [...window.subarray(1)]));
    const lossOf = async (changed: LanguageModel) => (await perplexity(changed, { device, ids, context: CONTEXT })).nll;
    expect(Math.abs(loss - (await lossOf(model)))).toBeLessThan(1e-6);
    for (const name of ['model.layers.0.self_attn.k_proj.weight', 'model.layers.2.mlp.down_proj.weight']) {
      const { mean } = gradients.get(name)!;
      const weight = model.weights.get(name)!;
      const values = await weight.toF32();
      const random = randomStream(1, name);
      const length = Math.hypot(...mean!);
      // Along the gradient, with as much again of something else.
      const direction = mean!.map((g) => g / length + (2 * random.below(2) - 1) / Math.sqrt(mean!.length));
      const at = (distance: number) => {
        const moved = memoryWeight(
          name,
          weight.shape,
          values.map((w, i) => w + distance * direction[i]),
        );
        return lossOf({ ...model, weights: new Map(model.weights).set(name, moved) });
      };
      const step = 2e-2;
      const outer = (await at(2 * step)) - (await at(-2 * step));
      const slope = (8 * ((await at(step)) - (await at(-step))) - outer) / (12 * step);
      const expected = mean!.reduce((sum, g, i) => sum + g * direction[i], 0);
      expect(Math.abs(slope - expected)).toBeLessThan(3e-3 * Math.abs(expected));
    }
  });

  it('is the same with the vocabulary in slices, the last one shorter', async () => {
    const model = madeUpModel({ ...config, model_type: 'qwen2' });
    const [whole, sliced] = [await collect(model), await collect(model, { vocabularySlice: 11 })];
    expect(Math.abs(sliced.loss - whole.loss)).toBeLessThan(1e-6);
    for (const [name, { mean }] of whole.gradients) {
      const largest = Math.max(...mean!.map(Math.abs));
      const other = sliced.gradients.get(name)!.mean!;
      // Sums in another order.
      mean!.forEach((value, i) => expect(Math.abs(value - other[i])).toBeLessThan(1e-5 * largest));
    }
  });

  it('goes back no further than something is wanted', async () => {
    const model = madeUpModel(config);
    const all = await collect(model);
    const few = await collect(model, {
      wanted: ({ block, role }) => (block === 1 && role === 'up' ? ['squares'] : []),
    });
    expect(few.order).toEqual([1]);
    const name = 'model.layers.1.mlp.up_proj.weight';
    expect([...few.gradients]).toEqual([[name, { windows: 3, squares: all.gradients.get(name)!.squares }]]);
    expect((await collect(model, { wanted: () => [] })).order).toEqual([]);
  });

  it('refuses no windows and weights that overflow', async () => {
    const model = madeUpModel(config);
    await expect(collect(model, { windows: [] })).rejects.toMatchObject({ code: 'CALIBRATION_EMPTY' });
    const name = 'model.layers.1.input_layernorm.weight';
    const weights = new Map(model.weights).set(name, memoryWeight(name, [16], new Float32Array(16).fill(Infinity)));
    await expect(collect({ ...model, weights })).rejects.toMatchObject({ code: 'GRADIENTS_NOT_FINITE' });
  });
});

describe('headSlice', () => {
  it('cuts even slices of at most 64 MiB', () => {
    expect(headSlice(16, 40, 13)).toBe(40);
    expect(headSlice(2048, 32000, 512)).toBe(8000);
    expect(headSlice(4096, 128256, 8192) * 4 * 8192).toBeLessThanOrEqual(64 * 2 ** 20);
  });
});
