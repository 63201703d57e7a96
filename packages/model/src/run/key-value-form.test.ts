import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import type { Device } from '@pith/tensor-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { causalStates } from '../architecture/causal-logits.ts';
import { runBlocks } from '../calibrate/block-runner.ts';
import type { BlockPass, KeyValueRanges } from '../calibrate/pass.ts';
import { logits } from '../evaluate/logits.ts';
import { perplexity } from '../evaluate/perplexity.ts';
import { generate } from '../generate/generate.ts';
import { createModel } from '../language-model.ts';
import { madeUpModel } from '../testing/folder-model.fixture.ts';
import { fakeQuantizeKept, keyValueScaleNames, keyValueWeights, type KeyValueQuantization } from './key-value-form.ts';

// tfjs advertises its Node binding on the console otherwise.
tf.env().set('IS_TEST', true);

let device: Device;
let pool: KernelPool;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
  pool = createKernelPool({ threads: 1 });
});
afterAll(() => Promise.all([device.dispose(), pool.dispose()]));

const config = {
  model_type: 'qwen2',
  hidden_size: 16,
  intermediate_size: 24,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 40,
  max_position_embeddings: 64,
  bos_token_id: 1,
  tie_word_embeddings: true,
};
const dense = madeUpModel(config);
const { blocks } = dense.architecture;

/** The same scales in every block. */
function coded(
  key: readonly number[],
  value: readonly number[],
  dtype: KeyValueQuantization['dtype'] = 'i8',
): KeyValueQuantization {
  const scales = new Map(
    blocks.flatMap((block) => {
      const names = keyValueScaleNames(block)!;
      return [[names.keys, Float32Array.from(key)] as const, [names.values, Float32Array.from(value)] as const];
    }),
  );
  return { dtype, granularity: key.length > 1 ? 'head' : 'tensor', scaleDType: 'f32', scales };
}

const withScales = (keyValueCache: KeyValueQuantization) =>
  createModel({ config, weights: dense.weights, keyValueCache });

describe('fakeQuantizeKept', () => {
  it('by hand: one scale for all, one for each head, what lies outside is clipped', () => {
    const x = tf.tensor4d([0.26, 100, -0.74, 1.5], [1, 2, 1, 2]);
    const run = (scale: tf.Tensor, granularity: 'tensor' | 'head', dtype: 'i8' | 'f8_e4m3') => [
      ...fakeQuantizeKept(x, scale, { dtype, granularity }).dataSync(),
    ];
    expect(run(tf.tensor1d([0.5]), 'tensor', 'i8')).toEqual([0.5, 63.5, -0.5, 1.5]);
    expect(run(tf.tensor4d([0.5, 1], [1, 2, 1, 1]), 'head', 'i8')).toEqual([0.5, 63.5, -1, 2]);
    // e4m3 under 0.125: 2.08 is 2 (steps of 0.25), 800 is 448, -5.92 is -6 (steps of 0.5), 12 is itself.
    expect(run(tf.tensor1d([0.125]), 'tensor', 'f8_e4m3')).toEqual([0.25, 56, -0.75, 1.5]);
  });
});

describe('a model that codes keys and values', () => {
  it('reads rounded ones: a zero scale would say so, a coarse one moves the logits, a fine one does not', async () => {
    const ids = Int32Array.of(1, 7, 3, 22, 39, 5, 5, 8);
    const of = async (model: typeof dense, activations: 'quantized' | 'weights-only' = 'quantized') =>
      (await logits(model, ids, { device, activations })).data;
    const furthest = (a: Float32Array, b: Float32Array) =>
      a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
    const plain = await of(dense);
    const coarse = withScales(coded([0.4], [0.4]));
    expect(furthest(await of(coarse), plain)).toBeGreaterThan(1e-2);
    expect(await of(coarse, 'weights-only')).toEqual(plain);
    // 127 steps to each side of ranges that calibration finds below: half a step of keys and values is under 1%.
    const fine = withScales(coded([4 / 127, 4 / 127], [4 / 127, 4 / 127]));
    const distance = furthest(await of(fine), plain);
    expect(distance).toBeGreaterThan(0);
    expect(distance).toBeLessThan(5e-2);
  });

  it('the block program rounds keys and values as the whole model does it by hand', async () => {
    const form = coded([0.3, 0.2], [0.25, 0.5]);
    const ids = Int32Array.of(1, 7, 3, 22);
    const given = (await logits(withScales(form), ids, { device, activations: 'quantized' })).data;
    const weights: Record<string, tf.Tensor> = {};
    for (const [name, weight] of dense.weights) weights[name] = tf.tensor(await weight.toF32(), [...weight.shape]);
    const program = {
      ...dense.architecture.program,
      block: ((scope, block, hidden, attention) =>
        dense.architecture.program.block(scope, block, hidden, {
          ...attention,
          kept: (part, x) => {
            const scale = form.scales.get(keyValueScaleNames(block)![part])!;
            return fakeQuantizeKept(x, tf.tensor4d(scale, [1, 2, 1, 1]), form);
          },
        })) as typeof dense.architecture.program.block,
    };
    const expected = causalStates(
      { ...dense.architecture, program },
      weights,
      tf.tensor2d(ids, [1, 4], 'int32'),
    ).logits;
    // Sums of at most 24 products in another order; a code on an edge would show as 1e-2.
    const values = await expected.data();
    expect(Math.max(...given.map((value, i) => Math.abs(value - values[i])))).toBeLessThan(2e-5);
  });

  it('generates with rounded ones in the cache what whole passes over the text say', async () => {
    const model = withScales(coded([0.4], [0.3], 'f8_e4m3'));
    const start = [1, 4, 9, 30];
    const { ids } = await generate(model, { device, ids: start, maxTokens: 6, stopTokenIds: [] });
    const text = [...start];
    for (const id of ids) {
      const { data } = await logits(model, text, { device, activations: 'quantized' });
      const last = data.subarray((text.length - 1) * 40);
      expect(last.indexOf(Math.max(...last))).toBe(id);
      text.push(id);
    }
  });

  it('says in the protocol what was rounded', async () => {
    const model = withScales(coded([0.1], [0.1], 'f8_e4m3'));
    const options = { device, ids: Int32Array.from({ length: 60 }, (_, i) => (7 * i) % 40), context: 16 };
    expect((await perplexity(model, options)).protocol).toMatchObject({ keyValues: 'f8_e4m3', activations: 'f32' });
    const plain = await perplexity(model, { ...options, activations: 'weights-only' });
    expect(plain.protocol.keyValues).toBeUndefined();
    expect(plain.nll).toBe((await perplexity(dense, options)).nll);
  });

  it('needs two positive scales for every block, all offenders named', () => {
    const form = coded([0.1], [0.1]);
    const scales = new Map(form.scales);
    scales.delete('model.layers.0.self_attn.v_scale');
    scales.set('model.layers.1.self_attn.k_scale', Float32Array.of(0));
    scales.set('model.layers.1.self_attn.v_scale', Float32Array.of(1, 1));
    scales.set('model.layers.2.self_attn.k_scale', Float32Array.of(1));
    expect(() => withScales({ ...form, scales })).toThrow(
      /layers\.0\.self_attn\.v_scale is missing.*1\.self_attn\.k_scale is not positive.*v_scale has 2 values for 1.*2\.self_attn\.k_scale belongs to no block/,
    );
  });

  it('stores scales as [1], or [heads, 1, 1]', async () => {
    const [one] = keyValueWeights(coded([0.5], [0.25]));
    expect(one).toMatchObject({ name: 'model.layers.0.self_attn.k_scale', shape: [1], dtype: 'f32' });
    const heads = keyValueWeights({ ...coded([0.5, 0.3], [1, 2]), scaleDType: 'bf16' });
    expect(heads[1]).toMatchObject({ shape: [2, 1, 1], byteLength: 4 });
    expect([...(await heads[0].toF32())]).toEqual([0.5, 0.30078125]);
  });
});

describe('runBlocks with a pass that codes keys and values', () => {
  const windows = Array.from({ length: 5 }, (_, w) =>
    Int32Array.from({ length: 12 }, (_, i) => (i * (w + 3) + w) % 40),
  );
  const watcher = (seen: KeyValueRanges[]): BlockPass => ({
    ...{ name: 'watcher', config: {}, needs: () => [] },
    plan: () => ({ changes: [], problems: [], notices: [] }),
    apply: () => Promise.resolve({ weights: new Map(), records: {}, interventions: [] }),
    keyValues: {
      ...{ dtype: 'i8', granularity: 'tensor' },
      scales: (ranges) => {
        seen.push(ranges);
        const one = Float32Array.of(1);
        return { scales: { keys: one, values: one }, records: { keys: { of: 'k' }, values: {} } };
      },
    },
  });

  it.each(['compressed', 'original'] as const)(
    'gives it the range of each head over all batches (%s)',
    async (inputs) => {
      const seen: KeyValueRanges[] = [];
      const outcomes: ReadonlyMap<string, Float32Array>[] = [];
      await runBlocks(dense, {
        ...{ device, pool, windows, inputs, batchTokens: 24, passes: [watcher(seen)] },
        onBlock: ({ keyValueScales, rewritten, records }) => {
          outcomes.push(keyValueScales);
          expect(rewritten.size).toBe(0);
          expect(records.at(-1)!.pass).toBe('watcher');
          return Promise.resolve();
        },
      });
      expect([...outcomes[1].keys()]).toEqual(['model.layers.1.self_attn.k_scale', 'model.layers.1.self_attn.v_scale']);
      const weights: Record<string, tf.Tensor> = {};
      for (const [name, weight] of dense.weights) weights[name] = tf.tensor(await weight.toF32(), [...weight.shape]);
      const ids = tf.tensor2d(Int32Array.from(windows.flatMap((window) => [...window])), [5, 12], 'int32');
      const { attention } = causalStates(dense.architecture, weights, ids);
      for (const [layer, states] of attention.entries()) {
        for (const part of ['keys', 'values'] as const) {
          for (const end of ['min', 'max'] as const) {
            const expected = [...tf[end](states[part], [0, 2, 3]).dataSync()];
            [...seen[layer][part][end]].forEach((value, head) => expect(value).toBeCloseTo(expected[head], 5));
          }
        }
      }
    },
  );
});
