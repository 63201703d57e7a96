import { describe, expect, it } from 'vitest';
import { windowBatches } from './window-batches.ts';

const windows = [0, 10, 20, 30, 40].map((first) => Int32Array.of(first, first + 1, first + 2));

describe('windowBatches', () => {
  it('predicts each token of a window from those before it', () => {
    const batches = windowBatches({ windows, batchSize: 2, seed: 1 });
    const { ids, targets } = batches.batch(0);
    batches.windowsOf(0).forEach((index, row) => {
      expect([...(ids!.data as Int32Array).subarray(2 * row, 2 * row + 2)]).toEqual([10 * index, 10 * index + 1]);
      expect([...(targets!.data as Int32Array).subarray(2 * row, 2 * row + 2)]).toEqual([
        10 * index + 1,
        10 * index + 2,
      ]);
    });
    expect(batches.signature['ids']).toEqual({ shape: [2, 2], dtype: 'int32' });
  });

  it('shows every window once in an epoch, and knows any step without those before it', () => {
    const batches = windowBatches({ windows, batchSize: 2, seed: 1 });
    const order = Array.from({ length: 10 }, (_, step) => batches.windowsOf(step)).flat();
    for (let epoch = 0; epoch < 4; epoch++) {
      expect(order.slice(5 * epoch, 5 * epoch + 5).sort()).toEqual([0, 1, 2, 3, 4]);
    }
    expect(windowBatches({ windows, batchSize: 2, seed: 1 }).windowsOf(7)).toEqual(order.slice(14, 16));
    expect(windowBatches({ windows, batchSize: 10, seed: 2 }).windowsOf(0)).not.toEqual(order.slice(0, 10));
  });

  it('refuses no windows, windows of two lengths, and batches of nothing', () => {
    const make = (some: readonly Int32Array[], batchSize = 1) => windowBatches({ windows: some, batchSize, seed: 0 });
    expect(() => make([])).toThrow(expect.objectContaining({ code: 'TRAIN_DATA_TOO_SHORT' }));
    expect(() => make([Int32Array.of(1)])).toThrow(expect.objectContaining({ code: 'TRAIN_DATA_TOO_SHORT' }));
    expect(() => make([...windows, Int32Array.of(1, 2)])).toThrow(/got 2 tokens in window 5 for 3/);
    expect(() => make(windows, 0)).toThrow(/batch size of 0/);
  });
});
