import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import type { Device } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LanguageModel } from '../language-model.ts';
import { folderModel, madeUpModel, memoryWeight } from '../testing/folder-model.fixture.ts';
import { readSafetensors } from '../testing/read-safetensors.fixture.ts';
import { compare, percentile } from './compare.ts';
import { logits } from './logits.ts';
import { perplexity } from './perplexity.ts';
import { cutWindows } from './windows.ts';

let device: Device;
beforeAll(() => {
  device = cpuDevice();
});
afterAll(() => device.dispose());

/** The model with every weight a little off. */
async function disturbed(model: LanguageModel): Promise<LanguageModel> {
  const weights = new Map(model.weights);
  for (const [name, weight] of weights) {
    const values = (await weight.toF32()).map((x, i) => x * (1 + 0.2 * Math.sin(i + name.length)));
    weights.set(name, memoryWeight(name, weight.shape, values));
  }
  return { ...model, weights };
}

function logSoftmax(row: Float32Array): Float64Array {
  const largest = row.reduce((a, b) => Math.max(a, b));
  const sum = row.reduce((total, x) => total + Math.exp(x - largest), 0);
  return Float64Array.from(row, (x) => x - largest - Math.log(sum));
}

/** KL, agreement and NLL of two models from their whole logits, f64. */
async function direct(model: LanguageModel, reference: LanguageModel, ids: Int32Array, context: number) {
  const kl: number[] = [];
  let [agreed, nll, referenceNll] = [0, 0, 0];
  for (const window of cutWindows(model, ids, { context }).windows) {
    const [a, b] = [await logits(reference, window, { device }), await logits(model, window, { device })];
    const size = model.config.vocabularySize;
    for (let t = 0; t + 1 < context; t++) {
      const [p, q] = [a, b].map(({ data }) => logSoftmax(data.subarray(t * size, (t + 1) * size)));
      kl.push(p.reduce((sum, x, i) => sum + Math.exp(x) * (x - q[i]), 0));
      agreed += p.indexOf(p.reduce((x, y) => Math.max(x, y))) === q.indexOf(q.reduce((x, y) => Math.max(x, y))) ? 1 : 0;
      referenceNll -= p[window[t + 1]];
      nll -= q[window[t + 1]];
    }
  }
  return { kl, top1Agreement: agreed / kl.length, nll: nll / kl.length, referenceNll: referenceNll / kl.length };
}

describe.skipIf(!hasShared)('stories260k', () => {
  const context = 64;
  const open = () => folderModel(shared('models/stories260k'));
  const text = hasShared ? readFileSync(shared('data/stories-eval.txt'), 'utf8').slice(0, 1400) : '';

  it.each([
    ['one slice, one batch', {}],
    [
      'slices that do not divide the vocabulary, padded batches, many groups',
      { vocabularySlice: 100, batch: 4, batchesPerGroup: 1 },
    ],
    ['single windows without prefetch', { vocabularySlice: 512, batch: 1, batchesPerGroup: 2, prefetch: false }],
  ])('compare and perplexity agree with whole logits: %s', async (_name, plan) => {
    const reference = open();
    const model = await disturbed(reference);
    const ids = reference.tokenizer!.encode(text);
    const wanted = await direct(model, reference, ids, context);
    const result = await compare(model, reference, { device, text, context, plan });
    expect(result.tokens).toBe(wanted.kl.length);
    expect(result.kl).toBeCloseTo(wanted.kl.reduce((a, b) => a + b, 0) / wanted.kl.length, 5);
    expect(result.klP99).toBeCloseTo(percentile(Float64Array.from(wanted.kl), 0.99), 4);
    expect(result.kl).toBeGreaterThan(0.01);
    expect(result.top1Agreement).toBe(wanted.top1Agreement);
    expect(result.nll).toBeCloseTo(wanted.nll, 5);
    expect(result.referenceNll).toBeCloseTo(wanted.referenceNll, 5);
    expect(result.perplexityRatio).toBeCloseTo(Math.exp(wanted.nll - wanted.referenceNll), 5);
    expect((await perplexity(model, { device, ids, context, plan })).nll).toBeCloseTo(wanted.nll, 5);
  });

  it('a model is no distance from itself', async () => {
    const result = await compare(open(), open(), { device, text, context });
    expect(result).toMatchObject({ kl: 0, klP99: 0, top1Agreement: 1, perplexityRatio: 1 });
  });

  it("logits are the reference implementation's", async () => {
    const reference = readSafetensors(shared('golden/stories260k/logits.safetensors'));
    const wanted = reference.get('logits')!;
    for (const plan of [{}, { vocabularySlice: 90, prefetch: false }]) {
      const result = await logits(open(), reference.get('input_ids')!.data, { device, plan });
      expect(result.shape).toEqual(wanted.shape);
      const largest = Float64Array.from(wanted.data).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      result.data.forEach((value, i) => {
        if (Math.abs(value - wanted.data[i]) > 1e-5 * largest) expect(value).toBeCloseTo(wanted.data[i], 4);
      });
    }
  });
});

// golden/arch: transformers 5.17, f32.
it.skipIf(!hasShared).each(['llama', 'llama-bf16-sharded', 'qwen2', 'mistral'])('%s: compiled logits', async (name) => {
  const reference = readSafetensors(shared(`golden/arch/${name}/reference.safetensors`));
  const { data } = reference.get('logits')!;
  const result = await logits(folderModel(shared(`golden/arch/${name}`)), reference.get('input_ids')!.data, { device });
  const worst = result.data.reduce((most, value, i) => Math.max(most, Math.abs(value - data[i])), 0);
  expect(worst).toBeLessThan(3e-5);
});

describe('what is refused', () => {
  const config = {
    model_type: 'llama',
    vocab_size: 8,
    hidden_size: 4,
    intermediate_size: 4,
    num_hidden_layers: 1,
    num_attention_heads: 1,
    max_position_embeddings: 16,
    tie_word_embeddings: true,
  };
  const model = madeUpModel(config);
  const base = {
    get device() {
      return device;
    },
    context: 4,
  };

  it.each([
    ['TOKEN_OUT_OF_RANGE', { ids: Int32Array.of(1, 8, 2) }],
    ['TOKEN_OUT_OF_RANGE', { ids: Int32Array.of(1, -1, 2) }],
    ['TEXT_TOO_SHORT', { ids: Int32Array.of(1, 2) }],
    ['TEXT_TOO_SHORT', { ids: Int32Array.of() }],
    ['EVALUATION_OPTIONS', { ids: Int32Array.of(1, 2, 3), context: 17 }],
    ['EVALUATION_OPTIONS', { ids: Int32Array.of(1, 2, 3), context: 1 }],
    ['EVALUATION_OPTIONS', { ids: Int32Array.of(1, 2, 3), maxWindows: 0 }],
    ['TOKENIZER_MISSING', { text: 'words' }],
    ['MEMORY_LIMIT', { ids: Int32Array.of(1, 2, 3), memoryLimitBytes: 1000 }],
    ['STOPPED', { ids: Int32Array.of(1, 2, 3), signal: AbortSignal.abort() }],
  ])('%s', async (code, options) => {
    await expect(perplexity(model, { ...base, ...options } as never)).rejects.toMatchObject({ code });
  });

  it('BOS_MISSING', async () => {
    const ids = Int32Array.of(1, 2, 3);
    await expect(perplexity(madeUpModel({ ...config, bos_token_id: null }), { ...base, ids })).rejects.toMatchObject({
      code: 'BOS_MISSING',
    });
  });

  it('LOGITS_NOT_FINITE: one NaN among the weights', async () => {
    const name = 'model.layers.0.mlp.up_proj.weight';
    const values = await model.weights.get(name)!.toF32();
    values[3] = NaN;
    const weights = new Map(model.weights).set(name, memoryWeight(name, [4, 4], values));
    const broken = { ...model, weights };
    const ids = Int32Array.of(1, 2, 3);
    await expect(perplexity(broken, { ...base, ids })).rejects.toMatchObject({ code: 'LOGITS_NOT_FINITE' });
    await expect(compare(broken, model, { ...base, ids })).rejects.toMatchObject({
      code: 'LOGITS_NOT_FINITE',
      details: { model: 'the model' },
    });
  });

  it('COMPARE_MISMATCH', async () => {
    const other = madeUpModel({ ...config, vocab_size: 9 });
    await expect(compare(other, model, { ...base, ids: Int32Array.of(1, 2, 3) })).rejects.toMatchObject({
      code: 'COMPARE_MISMATCH',
    });
  });
});

it('the percentile is the nearest rank', () => {
  const values = Float64Array.from({ length: 200 }, (_, i) => 200 - i);
  expect(percentile(values, 0.99)).toBe(198);
  expect(percentile(Float64Array.of(7), 0.99)).toBe(7);
});
