// Perplexity after pruning against golden/quality.json: Wanda by plain PyTorch after the paper, SparseGPT by
// llm-compressor 0.14 (`SparseGPTModifier(sparsity=0.5, mask_structure='0:0', block_size=128, dampening_frac=0.01)`); 128
// calibration windows of 256, block by block, each block seeing the pruned ones before it.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { calibrationWindows, perplexity, runBlocks } from '@pith/model';
import { openModel, type OpenModel } from '@pith/model/node';
import type { Device, WeightTensor } from '@pith/tensor-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import type { PruneOptions } from './unstructured/prune-options.ts';
import { prunePass } from './unstructured/prune-pass.ts';

interface Row {
  readonly scheme: string;
  readonly method: string;
  readonly nll: number;
}

describe.skipIf(!hasShared)('perplexity of stories260k', () => {
  let device: Device;
  let pool: KernelPool;
  let model: OpenModel;
  beforeAll(async () => {
    device = cpuDevice();
    pool = createKernelPool();
    model = await openModel(shared('models/stories260k'));
  });
  afterAll(async () => {
    await model.close();
    await pool.dispose();
    await device.dispose();
  });

  // Wanda chooses the same weights as the reference. The reference of SparseGPT takes one weight more out of each
  // block than asked (`score <= threshold`), which moves the perplexity by a few thousandths of its logarithm.
  it.each<[string, string, PruneOptions, number]>([
    ['wanda', '50%', { method: 'wanda', sparsity: 0.5 }, 1e-4],
    ['sparsegpt-llmc', '50%', { method: 'sparsegpt', sparsity: 0.5 }, 5e-3],
  ])('%s, %s', { timeout: 120_000 }, async (method, scheme, options, tolerance) => {
    const quality = JSON.parse(readFileSync(shared('golden/quality.json'), 'utf8')) as {
      models: { stories260k: { results: Row[] } };
    };
    const golden = quality.models.stories260k.results.find((row) => row.scheme === scheme && row.method === method);
    const text = readFileSync(shared('data/stories-calibration.txt'), 'utf8');
    const { windows } = calibrationWindows(model, { text, samples: 128, context: 256 });
    const weights = new Map<string, WeightTensor>(model.weights);
    await runBlocks(model, {
      ...{ device, pool, windows, passes: [prunePass(options)] },
      onBlock: async (outcome) => {
        for (const [name, weight] of outcome.weights) weights.set(name, weight);
      },
    });
    const evaluation = readFileSync(shared('data/stories-eval.txt'), 'utf8');
    const { nll } = await perplexity({ ...model, weights }, { device, text: evaluation, context: 256 });
    expect(Math.abs(nll - golden!.nll)).toBeLessThan(tolerance);
  });
});
