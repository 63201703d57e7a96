import { expect, it } from 'vitest';
import { BlockMemory, withBlockMemory } from './block-memory.ts';
import { copyBlock, writeBlock } from './blocks.ts';

it.each(['f32', 'f64'] as const)('copies blocks of %s as arrays do', (dtype) => {
  const n = 19;
  const memory = new BlockMemory(8 * 3 * n * n);
  const inside = { dtype, n, data: memory.take(dtype, n * n), memory };
  const outside = { dtype, n, data: inside.data.slice() };
  for (const one of [inside, outside]) for (let i = 0; i < n * n; i++) one.data[i] = Math.sin(i);
  const into = memory.take(dtype, n * n);
  const apart = into.slice();
  for (const [r, c, rows, columns] of [
    [0, 0, 19, 19],
    [3, 5, 1, 7],
    [18, 0, 1, 19],
    [2, 18, 9, 1],
  ] as const) {
    const a = copyBlock(inside, r, c, rows, columns, into);
    const b = copyBlock(outside, r, c, rows, columns, apart);
    expect(a).toEqual(b);
    for (let i = 0; i < a.length; i++) a[i] = b[i] = i + 0.5;
    writeBlock(inside, r, c, columns, a);
    writeBlock(outside, r, c, columns, b);
    expect(inside.data).toEqual(outside.data);
  }
});

it('is kept for the next, not shared with one at the same time, and absent where it would be too large', async () => {
  const seen = await Promise.all([1, 2].map(() => withBlockMemory(1000, (memory) => Promise.resolve(memory))));
  expect(seen[0]).not.toBe(seen[1]);
  const again = await withBlockMemory(1000, (memory) => Promise.resolve(memory));
  expect(seen).toContain(again);
  expect(await withBlockMemory(2 ** 31, (memory) => Promise.resolve(memory))).toBeUndefined();
  await expect(withBlockMemory(1, () => Promise.reject(new Error('inside')))).rejects.toThrow('inside');
});
