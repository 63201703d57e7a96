import { setTimeout as wait } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { mapLimited } from './map-limited.ts';

it('keeps the order and the limit', async () => {
  let running = 0;
  let most = 0;
  const results = await mapLimited([5, 1, 4, 2, 3], 2, async (value, index) => {
    most = Math.max(most, ++running);
    await wait(value);
    running--;
    return [index, value];
  });
  expect(results).toEqual([
    [0, 5],
    [1, 1],
    [2, 4],
    [3, 2],
    [4, 3],
  ]);
  expect(most).toBe(2);
});

it('begins nothing after a failure and waits for what is in hand', async () => {
  const begun: number[] = [];
  const ended: number[] = [];
  const run = mapLimited([0, 1, 2, 3], 2, async (value) => {
    begun.push(value);
    if (value === 0) throw new Error('zero');
    await wait(5);
    ended.push(value);
  });
  await expect(run).rejects.toThrow('zero');
  expect(begun).toEqual([0, 1]);
  expect(ended).toEqual([1]);
});

it('of nothing is nothing', async () => {
  expect(await mapLimited([], 4, () => Promise.reject(new Error('never')))).toEqual([]);
});
