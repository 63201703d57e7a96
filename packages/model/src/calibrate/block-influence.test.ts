import { readFileSync } from 'node:fs';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { cpuDevice } from '@pith/tensor-core/node';
import type { Device } from '@pith/tensor-core';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hiddenStates } from '../architecture/causal-logits.ts';
import { causalMask } from '../architecture/ops/masks.ts';
import { rotaryTable } from '../architecture/ops/rotary.ts';
import { blockScope } from '../architecture/scope.ts';
import { folderModel, madeUpModel, memoryWeight } from '../testing/folder-model.fixture.ts';
import { blockInfluences } from './block-influence.ts';
import { calibrationWindows } from './calibration-windows.ts';

let device: Device;
beforeAll(async () => {
  tf.enableProdMode(); // keeps the backend from advertising others
  await tf.setBackend('cpu');
  device = cpuDevice({ threads: 1 });
});
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
const windows = [3, 5, 7].map((step) => Int32Array.from({ length: 13 }, (_, i) => (i === 0 ? 1 : (i * step) % 40)));

describe('blockInfluences', () => {
  it('is 1 minus the mean cosine of hidden states before and after a block', async () => {
    const model = madeUpModel(config);
    const { architecture } = model;
    const weights: Record<string, tf.Tensor> = {};
    for (const [name, weight] of model.weights) weights[name] = tf.tensor(await weight.toF32(), [...weight.shape]);
    const ids = tf.tensor2d(
      windows.map((window) => [...window]),
      [3, 13],
      'int32',
    );
    const states = hiddenStates(architecture, weights, ids);
    // The last state has gone through the final norm: the last block is run again without.
    const last = architecture.blocks[2];
    const { cos, sin } = rotaryTable(last.rope!, 0, 13);
    const attention = {
      cos: tf.tensor2d(cos, [13, 2]),
      sin: tf.tensor2d(sin, [13, 2]),
      mask: tf.tensor2d(causalMask(13, 0, 0, null), [13, 13]),
    };
    const scope = blockScope(last, (name) => weights[name]);
    const hidden = [...states.slice(0, 3), architecture.program.block(scope, last, states[2], attention).hidden];
    const rows = hidden.map((state) => tf.reshape(state, [39, 16]).arraySync() as number[][]);
    const dot = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * b[i], 0);
    const cosine = (a: number[], b: number[]) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
    // Batches of two windows and of one.
    const influences = await blockInfluences(model, { device, windows, batchTokens: 26 });
    expect(influences.map(({ block }) => block)).toEqual([0, 1, 2]);
    for (const { block, similarity, influence } of influences) {
      const mean = rows[block].reduce((sum, row, t) => sum + cosine(row, rows[block + 1][t]), 0) / 39;
      expect(Math.abs(similarity - mean)).toBeLessThan(2e-5);
      expect(influence).toBe(1 - similarity);
    }
  });

  it('is 0 for a block that adds nothing', async () => {
    const model = madeUpModel(config);
    const weights = new Map(model.weights);
    for (const name of ['self_attn.o_proj', 'mlp.down_proj'].map((path) => `model.layers.1.${path}.weight`)) {
      const { shape } = weights.get(name)!;
      weights.set(name, memoryWeight(name, shape, new Float32Array(shape[0] * shape[1])));
    }
    const influences = await blockInfluences({ ...model, weights }, { device, windows });
    // A square root and two roundings of a sum of 16 products.
    expect(Math.abs(influences[1].influence)).toBeLessThan(1e-6);
    expect(influences[0].influence).toBeGreaterThan(1e-3);
  });

  it('refuses no windows and weights that overflow', async () => {
    const model = madeUpModel(config);
    await expect(blockInfluences(model, { device, windows: [] })).rejects.toMatchObject({ code: 'CALIBRATION_EMPTY' });
    const name = 'model.layers.1.input_layernorm.weight';
    const weights = new Map(model.weights).set(name, memoryWeight(name, [16], new Float32Array(16).fill(Infinity)));
    await expect(blockInfluences({ ...model, weights }, { device, windows })).rejects.toMatchObject({
      code: 'ACTIVATIONS_NOT_FINITE',
      details: { block: 'model.layers.1' },
    });
  });
});

describe.skipIf(!hasShared)('blockInfluences of a real model', () => {
  it('is what a plain PyTorch implementation gives on the same windows', async () => {
    const golden = JSON.parse(readFileSync(shared('golden/quality.json'), 'utf8')) as {
      models: Record<string, { results: { method: string; blockInfluence?: number[] }[] }>;
    };
    const { blockInfluence: expected } = golden.models.stories260k.results.find(({ method }) => method === 'shortgpt')!;
    const model = folderModel(shared('models/stories260k'));
    const text = readFileSync(shared('data/stories-calibration.txt'), 'utf8');
    const { windows: cut } = calibrationWindows(model, { text, context: 256 });
    const influences = await blockInfluences(model, { device, windows: cut });
    // The reference is printed with six digits.
    influences.forEach(({ influence }, i) => expect(Math.abs(influence - expected![i])).toBeLessThan(2e-6));
  });
});
