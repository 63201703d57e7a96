import { describe, expect, it } from 'vitest';
import { tokenWindows } from './token-windows.ts';

const tokens = Int32Array.from({ length: 43 }, (_, i) => 100 + i);
const source = () => tokenWindows({ tokens, bos: 7, context: 4, batchSize: 3, seed: 5 });

const copy = (step: number, from = source()) => {
  const { ids, targets } = from.batch(step);
  return { ids: [...(ids!.data as Int32Array)], targets: [...(targets!.data as Int32Array)] };
};

describe('tokenWindows', () => {
  it('puts BOS in front and predicts each token of the window', () => {
    const { ids, targets } = copy(0);
    for (let row = 0; row < 3; row++) {
      const wanted = targets.slice(row * 4, row * 4 + 4);
      expect((wanted[0]! - 100) % 4).toBe(0);
      expect(wanted).toEqual([0, 1, 2, 3].map((i) => wanted[0]! + i));
      expect(ids.slice(row * 4, row * 4 + 4)).toEqual([7, ...wanted.slice(0, 3)]);
    }
  });

  it('shows every whole window once an epoch, in another order each time', () => {
    // 43 tokens hold 10 windows of 4; 10 batches of 3 are 3 epochs.
    const from = source();
    const firsts = Array.from({ length: 10 }, (_, step) => [0, 4, 8].map((at) => copy(step, from).targets[at]!)).flat();
    const windows = Array.from({ length: 10 }, (_, i) => 100 + 4 * i);
    const epochs = [0, 10, 20].map((start) => firsts.slice(start, start + 10));
    for (const epoch of epochs) expect([...epoch].sort((a, b) => a - b)).toEqual(windows);
    expect(epochs[0]).not.toEqual(epochs[1]);
    expect(epochs[1]).not.toEqual(epochs[2]);
  });

  it('is a function of seed and step: any step can be asked for first', () => {
    const inOrder = source();
    const expected = [0, 1, 2, 3, 4, 5, 6, 7].map((step) => copy(step, inOrder));
    for (const step of [7, 2, 5]) expect(copy(step)).toEqual(expected[step]);
    const other = tokenWindows({ tokens, bos: 7, context: 4, batchSize: 3, seed: 6 });
    expect(copy(0, other)).not.toEqual(expected[0]);
  });

  it('refuses a text that is shorter than one window', () => {
    expect(() => tokenWindows({ tokens: tokens.slice(0, 3), bos: 7, context: 4, batchSize: 1, seed: 0 })).toThrow(
      'a window needs 4 tokens, got 3',
    );
  });
});
