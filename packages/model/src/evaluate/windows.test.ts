import { describe, expect, it } from 'vitest';
import { madeUpModel } from '../testing/folder-model.fixture.ts';
import { groupWindows } from './batches.ts';
import { addLogs } from './log-sum.ts';
import { cutWindows, describeProtocol } from './windows.ts';

const model = madeUpModel({
  model_type: 'llama',
  vocab_size: 20,
  hidden_size: 4,
  intermediate_size: 4,
  num_hidden_layers: 1,
  num_attention_heads: 1,
  tie_word_embeddings: true,
});

describe('cutWindows', () => {
  const ids = Int32Array.from({ length: 11 }, (_, i) => i + 5);

  it('opens each window with BOS, does not overlap, drops the tail', () => {
    const { windows, textTokens, droppedTokens, protocol } = cutWindows(model, ids, { context: 5 });
    expect(windows.map((window) => [...window])).toEqual([
      [1, 5, 6, 7, 8],
      [1, 9, 10, 11, 12],
    ]);
    expect({ textTokens, droppedTokens }).toEqual({ textTokens: 11, droppedTokens: 3 });
    expect(protocol).toMatchObject({ context: 5, stride: 4, predictedPerWindow: 4, bosTokenId: 1, tail: 'dropped' });
    expect(describeProtocol(protocol)).toContain('windows of 5 positions (BOS 1 and 4 tokens)');
  });

  it('drops nothing when the tokens fit exactly, and counts windows that were not wanted as dropped', () => {
    expect(cutWindows(model, ids.subarray(0, 8), { context: 5 }).droppedTokens).toBe(0);
    const first = cutWindows(model, ids, { context: 5, maxWindows: 1 });
    expect(first).toMatchObject({ droppedTokens: 7, windows: { length: 1 } });
  });
});

it('groupWindows: every window once, targets are the next tokens, the rest is padding', () => {
  const windows = [1, 2, 3, 4, 5].map((i) => Int32Array.of(1, 10 * i, 10 * i + 1));
  const groups = [...groupWindows(windows, { batch: 2, batchesPerGroup: 2 })];
  expect(groups.map(({ first, count }) => [first, count])).toEqual([
    [0, 4],
    [4, 1],
  ]);
  expect(groups[0].batches.map((batch) => [...batch])).toEqual([
    [1, 10, 11, 1, 20, 21],
    [1, 30, 31, 1, 40, 41],
  ]);
  expect([...groups[0].targets[1]]).toEqual([30, 31, -1, 40, 41, -1]);
  expect([...groups[1].batches[0]]).toEqual([1, 50, 51, 1, 1, 1]);
  expect([...groups[1].targets[0]]).toEqual([50, 51, -1, -1, -1, -1]);
});

it('groupWindows marks padding apart from tokens', () => {
  const [group] = [...groupWindows([Int32Array.of(1, 2)], { batch: 2, batchesPerGroup: 1 })];
  expect([...group.targets[0]]).toEqual([2, -1, -1, -1]);
});

it('addLogs neither overflows nor loses the smaller part', () => {
  expect(addLogs(Math.log(2), Math.log(3))).toBeCloseTo(Math.log(5), 14);
  expect(addLogs(1000, 1000)).toBeCloseTo(1000 + Math.LN2, 12);
  expect(addLogs(-Infinity, 3)).toBe(3);
  expect(addLogs(3, -Infinity)).toBe(3);
  expect(addLogs(-Infinity, -Infinity)).toBe(-Infinity);
});
