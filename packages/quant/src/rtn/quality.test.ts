// Perplexity after rounding to nearest against golden/quality.json (plain PyTorch with the grid of compressed-tensors
// 0.19, scales in f32): `rtn(w, bits, group=row, asym, mse)`. Its `rtn-mse` is the search of GPTQ's reference code:
// exponent 2.4, 80 factors from 1 down to 0.21.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { perplexity } from '@pith/model';
import { openModel, type OpenModel } from '@pith/model/node';
import type { Device, WeightTensor } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { quantizeWeight } from './quantize-weight.ts';

const GOLDEN = 'rtn-mse';
const CASES = [
  ['w4-asym', 'w4-channel-asym', 'rtn'],
  ['w3', 'w3-channel', GOLDEN],
] as const;

interface Row {
  readonly scheme: string;
  readonly method: string;
  readonly nll: number;
}

describe.skipIf(!hasShared)('perplexity of stories260k', () => {
  let device: Device;
  let model: OpenModel;
  beforeAll(async () => {
    device = cpuDevice();
    model = await openModel(shared('models/stories260k'));
  });
  afterAll(async () => {
    await model.close();
    await device.dispose();
  });

  it.each(CASES)('%s is that of %s, %s', { timeout: 120_000 }, async (scheme, goldenScheme, method) => {
    const quality = JSON.parse(readFileSync(shared('golden/quality.json'), 'utf8')) as {
      models: { stories260k: { results: Row[] } };
    };
    const golden = quality.models.stories260k.results.find(
      (row) => row.scheme === goldenScheme && row.method === method,
    );
    const weights = new Map<string, WeightTensor>(model.weights);
    for (const { name } of model.architecture.blocks.flatMap(({ linears }) => linears)) {
      const dense = model.weights.get(name);
      if (dense?.kind !== 'dense') throw new Error(`${name} is not dense`);
      const range = method === GOLDEN ? 'lp:2.4,candidates=80' : 'minmax';
      weights.set(name, (await quantizeWeight(dense, { scheme, range })).weight);
    }
    const text = readFileSync(shared('data/stories-eval.txt'), 'utf8');
    const { nll } = await perplexity({ ...model, weights }, { device, text, context: 256 });
    expect(Math.abs(nll - golden!.nll)).toBeLessThan(1e-4);
  });
});
