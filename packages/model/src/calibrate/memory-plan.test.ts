import { describe, expect, it } from 'vitest';
import { describeArchitecture } from '../architecture/registry.ts';
import { readModelConfig } from '../config/read-config.ts';
import { planCalibrationMemory, type CalibrationMemoryRequest } from './memory-plan.ts';
import type { InputStatistic } from './statistic.ts';
import { batchSize } from './window-batches.ts';

const tinyLlama = describeArchitecture(
  readModelConfig({
    model_type: 'llama',
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 22,
    num_attention_heads: 32,
    num_key_value_heads: 4,
  }),
);
const wants = (...statistics: InputStatistic[]) => ({ needs: () => statistics });
const plan = (options: Partial<CalibrationMemoryRequest> = {}) =>
  planCalibrationMemory({
    architecture: tinyLlama,
    windows: 16,
    context: 512,
    passes: [wants('gram')],
    limitBytes: 3e9,
    ...options,
  });

describe('planCalibrationMemory', () => {
  it('fits Gram matrices of a 1.1-billion-parameter model into 3 GB, in full batches and without a disk', () => {
    const { batchTokens, spill, peakBytes, parts } = plan();
    expect({ batchTokens, spill }).toEqual({ batchTokens: 2048, spill: false });
    expect(peakBytes).toBeLessThanOrEqual(3e9);
    expect(Object.values(parts).reduce((a, b) => a + b)).toBe(peakBytes);
    // Four f64 sums and their f32 panels, nine sixteenths of a matrix.
    expect(parts.statistics).toBe((3 * 2048 ** 2 + 5632 ** 2) * (8 + (9 / 16) * 4));
  });

  it('spills before it makes batches smaller, and stays within the limit', () => {
    // 512 windows are 2 GB of hidden states.
    const many = plan({ windows: 512 });
    expect(many).toMatchObject({ batchTokens: 2048, spill: true });
    const little = plan({ windows: 512, limitBytes: 1.9e9 });
    expect(little.spill).toBe(true);
    expect(little.batchTokens).toBeLessThan(2048);
    for (const { peakBytes, limit } of [
      { ...many, limit: 3e9 },
      { ...little, limit: 1.9e9 },
    ]) {
      expect(peakBytes).toBeLessThanOrEqual(limit);
    }
  });

  it('counts what passes want: nothing, gradients, workspace', () => {
    const none = plan({ passes: [] });
    expect(none.parts).toMatchObject({ statistics: 0, gradients: 0, pass: 0 });
    const gradients = plan({ passes: [{ needs: () => [], needsGradients: () => ['mean'] }] });
    expect(gradients).toMatchObject({ spill: true });
    expect(gradients.parts.gradients).toBeGreaterThan(4 * 44e6);
    expect(plan({ passes: [{ ...wants('gram'), workspaceBytes: () => 123 }] }).parts.pass).toBe(123);
    expect(plan({ order: 'groups' }).parts.statistics).toBeLessThan(plan().parts.statistics);
  });

  it('takes no windows for one, as a plan may be asked for before there is a text', () => {
    expect(plan({ windows: 0 })).toEqual(plan({ windows: 1 }));
  });

  it('names the smallest amount that works', () => {
    let needed = 0;
    try {
      plan({ limitBytes: 1e9 });
    } catch (error) {
      expect(error).toMatchObject({ code: 'MEMORY_TOO_SMALL', details: { limitBytes: 1e9 } });
      needed = (error as { details: { neededBytes: number } }).details.neededBytes;
    }
    expect(plan({ limitBytes: needed })).toMatchObject({ batchTokens: 512, peakBytes: needed });
    expect(() => plan({ limitBytes: needed - 1 })).toThrow(`allow ${needed} bytes`);
  });
});

describe('batchSize', () => {
  it.each([
    [16, 4, 4],
    [16, 5, 4],
    [15, 4, 3],
    [13, 4, 4],
    [3, 8, 3],
    [7, 1, 1],
  ])('of %i windows, at most %i: %i', (windows, most, size) => expect(batchSize(windows, most)).toBe(size));
});
