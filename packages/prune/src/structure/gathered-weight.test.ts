import { factoredWeight, quantizedWeight, type DenseWeight } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { isSliceable, keepSlices, renamed } from './gathered-weight.ts';
import { memoryWeight } from './made-up-model.fixture.ts';

const indices = (...values: number[]) => Uint32Array.from(values);
const matrix = (rows: number, columns: number) =>
  memoryWeight(
    'w',
    [rows, columns],
    Float32Array.from({ length: rows * columns }, (_, i) => i),
  );

describe('keepSlices', () => {
  it('takes rows and columns out, whatever is read at a time', async () => {
    const rows = indices(0, 1, 4, 6);
    const columns = indices(1, 2, 4);
    const expected = [...rows].flatMap((row) => [...columns].map((column) => row * 5 + column));
    for (const chunkBytes of [1, 20, 45, 1e6]) {
      const kept = keepSlices(matrix(7, 5), { rows, columns }, chunkBytes);
      expect(kept).toMatchObject({ kind: 'dense', dtype: 'f32', shape: [4, 3], byteLength: 48 });
      expect([...(await kept.toF32())]).toEqual(expected);
      expect([...(await kept.toF32(1, 3))]).toEqual(expected.slice(3, 9));
      expect([...(await kept.slice(2, 4).toF32(1, 2))]).toEqual(expected.slice(9));
      expect(await kept.toF32(2, 2)).toHaveLength(0);
    }
  });

  it('moves bytes: a NaN keeps its payload, a bf16 its bits', async () => {
    const weight = memoryWeight('w', [2, 2], Float32Array.of(1, 2, 3, 4), 'bf16') as DenseWeight;
    const bytes = await weight.bytes();
    bytes.set([0x23, 0xff], 6);
    const kept = keepSlices(weight, { rows: indices(1), columns: indices(1) }) as DenseWeight;
    expect([...(await kept.bytes())]).toEqual([0x23, 0xff]);
  });

  it('takes elements of vectors', async () => {
    const bias = memoryWeight('b', [5], Float32Array.of(5, 6, 7, 8, 9));
    expect([...(await keepSlices(bias, { rows: indices(0, 3, 4) }).toF32())]).toEqual([5, 8, 9]);
  });

  it('takes rows out of the left and columns out of the right factor', async () => {
    const left = memoryWeight('w.left', [3, 2], Float32Array.of(1, 2, 3, 4, 5, 6)) as DenseWeight;
    const right = memoryWeight('w.right', [2, 3], Float32Array.of(1, 0, 2, 0, 1, 1)) as DenseWeight;
    const weight = factoredWeight({ name: 'w', left, right });
    const kept = keepSlices(weight, { rows: indices(0, 2), columns: indices(2) });
    expect(kept).toMatchObject({ kind: 'factored', rank: 2, shape: [2, 1] });
    expect([...(await kept.toF32())]).toEqual([1 * 2 + 2 * 1, 5 * 2 + 6 * 1]);
  });

  it('refuses codes', () => {
    const scheme = {
      kind: 'int',
      bits: 4,
      symmetric: true,
      granularity: { kind: 'channel' },
      scaleDType: 'f32',
    } as const;
    const weight = quantizedWeight({ name: 'w', shape: [2, 2], scheme, read: () => Promise.reject(new Error('read')) });
    expect(isSliceable(weight)).toBe(false);
    expect(() => keepSlices(weight, { rows: indices(0) })).toThrow(
      expect.objectContaining({ code: 'WEIGHT_NOT_SLICEABLE' }),
    );
  });
});

describe('renamed', () => {
  it('renames a weight, its parts and its factors', async () => {
    const weight = renamed(matrix(3, 2), 'v');
    expect([weight.name, weight.slice(1, 2).name]).toEqual(['v', 'v']);
    expect([...(await weight.slice(1, 2).toF32())]).toEqual([2, 3]);
    const left = memoryWeight('a.left.weight', [1, 1], Float32Array.of(1)) as DenseWeight;
    const right = memoryWeight('a.right.weight', [1, 1], Float32Array.of(1)) as DenseWeight;
    expect(renamed(factoredWeight({ name: 'a.weight', left, right }), 'b.c.weight')).toMatchObject({
      name: 'b.c.weight',
      left: { name: 'b.c.left.weight' },
      right: { name: 'b.c.right.weight' },
    });
  });
});
