import { describe, expect, it } from 'vitest';
import { describeArchitecture } from '../architecture/registry.ts';
import { readModelConfig } from '../config/read-config.ts';
import { planMemory } from './memory-plan.ts';

const architecture = describeArchitecture(
  readModelConfig({
    model_type: 'llama',
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 22,
    num_attention_heads: 32,
    num_key_value_heads: 4,
  }),
);
const tinyLlama = { architecture, weights: new Map() };
const plan = (limitBytes: number, windows = 1000, context = 512) =>
  planMemory({ models: [tinyLlama], context, windows, limitBytes });

describe('planMemory', () => {
  it('stays within the limit and uses what it has', () => {
    for (const megabytes of [700, 800, 1000, 1200, 2400]) {
      expect(plan(megabytes * 1e6).peakBytes).toBeLessThanOrEqual(megabytes * 1e6);
      expect(plan(megabytes * 1e6).peakBytes).toBeGreaterThan(Math.min(megabytes * 0.6e6, 1300e6));
    }
    const { batch, batchesPerGroup } = plan(2400e6);
    expect(batch * batchesPerGroup).toBeGreaterThan(32);
  });

  it('gives up prefetching before it gives up', () => {
    expect(plan(2e9).prefetch).toBe(true);
    expect(plan(800e6).prefetch).toBe(false);
  });

  it('is the same for any number of layers', () => {
    const blocks = [...architecture.blocks, ...architecture.blocks];
    const deep = { ...tinyLlama, architecture: { ...architecture, blocks } };
    const request = { context: 512, windows: 64, limitBytes: 2e9 };
    expect(planMemory({ ...request, models: [deep] })).toEqual(planMemory({ ...request, models: [tinyLlama] }));
  });

  it('makes even batches and groups for few windows', () => {
    expect(plan(3e9, 1)).toMatchObject({ batch: 1, batchesPerGroup: 1 });
    expect(plan(3e9, 5, 256)).toMatchObject({ batch: 3, batchesPerGroup: 2 });
  });

  it('cuts the vocabulary so that neither weights nor logits of a slice are large', () => {
    const { vocabularySlice, batch } = plan(3e9);
    expect(vocabularySlice * 2048 * 4).toBeLessThanOrEqual(64 * 2 ** 20);
    expect(vocabularySlice * batch * 512 * 4).toBeLessThanOrEqual(64 * 2 ** 20);
  });

  it('says how much one layer and one window need', () => {
    expect(() => plan(100e6)).toThrow(
      expect.objectContaining({
        code: 'MEMORY_LIMIT',
        details: expect.objectContaining({ limitBytes: 100e6, neededBytes: expect.any(Number) as number }) as object,
      }),
    );
  });
});
