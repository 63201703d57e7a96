// Folding is an identity: before anything is rounded the scaled model computes the same logits.
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { logits, type BlockPass, type LanguageModel } from '@pith/model';
import { openModel } from '@pith/model/node';
import { randomStream, type Device } from '@pith/tensor-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runPasses, tinyModel, tinyWindows } from '../testing/tiny-model.fixture.ts';
import { foldObstacle, foldScales } from './fold.ts';
import { shareColumns, smoothingSets, spreadScales } from './smoothing-sets.ts';

let device: Device;
let pool: KernelPool;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
  pool = createKernelPool({ threads: 1 });
});
afterAll(() => Promise.all([device.dispose(), pool.dispose()]));

/** Folds made-up scales between 1/8 and 8 everywhere. */
const folding: BlockPass = {
  name: 'folding',
  config: {},
  plan: () => ({ changes: [], problems: [], notices: [] }),
  needs: () => [],
  changesInputs: true,
  apply: async ({ block, weights: before }) => {
    const weights = new Map(before);
    const rounded = new Set(block.linears.map(({ name }) => name));
    for (const set of smoothingSets(block)) {
      if (set.fold.kind === 'none') throw new Error(set.fold.reason);
      expect(foldObstacle(weights, set)).toBeUndefined();
      const random = randomStream(3, set.groups[0]!);
      const scales = Float64Array.from({ length: set.fold.scales }, () => 8 ** (2 * random.uniform() - 1));
      const used = await foldScales({ weights, set, scales, rounded });
      const asked = spreadScales(set, scales);
      // What a norm in bf16 (8 bits) can divide by, and no further from what was asked.
      used.forEach((scale, i) => expect(Math.abs(scale / asked[i]! - 1)).toBeLessThanOrEqual(2 ** -8));
    }
    return { weights, records: {}, interventions: [] };
  },
};

async function expectSameLogits(model: LanguageModel, tolerance: number): Promise<void> {
  const windows = tinyWindows(2, 24, model.config.vocabularySize);
  const result = await runPasses(model, [folding], { device, pool, windows });
  const before = (await logits(model, windows[0]!, { device })).data;
  const after = (await logits(result.model, windows[0]!, { device })).data;
  const largest = before.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  let difference = 0;
  for (let i = 0; i < before.length; i++) difference = Math.max(difference, Math.abs(after[i]! - before[i]!));
  expect(difference / largest).toBeLessThan(tolerance);
}

describe('folded scales', () => {
  // Products of f32 values differ in their last bits; some hundred of them are summed and pass a few layers.
  it('leave the logits of grouped queries with biases', () => expectSameLogits(tinyModel(), 1e-5));

  it('leave them with norms in bf16 too, by the scales that those can hold', () =>
    expectSameLogits(tinyModel('bf16', { attention_bias: false }), 1e-5));

  it('round biases to their dtype where these take scales up', () => expectSameLogits(tinyModel('bf16'), 2e-2));

  it.skipIf(!hasShared).each(['llama', 'qwen2', 'mistral'])('leave the logits of %s', async (name) => {
    const model = await openModel(shared(`golden/arch/${name}`));
    await expectSameLogits(model, 1e-5);
    await model.close();
  });
});

describe('smoothingSets', () => {
  it('has each linear in one set, with what comes before it', () => {
    const { block } = { block: tinyModel().architecture.blocks[1]! };
    const sets = smoothingSets(block);
    expect(sets.map(({ linears, fold }) => [linears.map(({ role }) => role), fold.kind])).toEqual([
      [['query', 'key', 'value'], 'norm'],
      [['attention-output'], 'linear'],
      [['gate', 'up'], 'norm'],
      [['down'], 'linear'],
    ]);
  });

  it('shares a scale between the columns that one row of values feeds, by hand', () => {
    // Four heads of 8 columns read two heads of 8 rows: row 3 of head 1 feeds columns 19 (head 2) and 27 (head 3).
    const set = smoothingSets(tinyModel().architecture.blocks[0]!)[1]!;
    const columns = Float64Array.from({ length: 32 }, (_, i) => i);
    const largest = shareColumns(set, columns, Math.max);
    expect(largest).toHaveLength(16);
    expect([largest[3], largest[11]]).toEqual([11, 27]);
    const spread = spreadScales(set, largest);
    expect([spread[3], spread[11], spread[19], spread[27]]).toEqual([11, 11, 27, 27]);
  });

  it('says why nothing can take scales up', () => {
    const { linears, norms } = tinyModel().architecture.blocks[0]!;
    const alone = linears.filter(({ role }) => role !== 'value' && role !== 'up');
    const reasons = smoothingSets({ linears: alone, norms: [] }).map(({ fold }) =>
      fold.kind === 'none' ? fold.reason : '',
    );
    expect(reasons).toEqual([
      'the norm before model.layers.0.self_attn.q_proj lies outside its block',
      'model.layers.0.self_attn.v_proj, which feeds it, lies outside its block',
      'the norm before model.layers.0.mlp.gate_proj lies outside its block',
      'model.layers.0.mlp.up_proj, which feeds it, lies outside its block',
    ]);
    const set = smoothingSets({ linears, norms })[3]!;
    const weights = new Map([
      [linears[5]!.name, { kind: 'quantized' as const }],
      [linears[6]!.name, { kind: 'dense' as const }],
    ]);
    expect(foldObstacle(weights, set)).toBe('model.layers.0.mlp.up_proj is stored quantized, which cannot be scaled');
  });
});
