import { describe, expect, it } from 'vitest';
import { memoryWeight } from '../testing/folder-model.fixture.ts';
import { gatherRows } from './restore.ts';

describe('gatherRows', () => {
  const [rows, columns] = [500, 1000];
  const values = Float32Array.from({ length: rows * columns }, (_, i) => i);
  const reads: [number, number][] = [];
  const stored = memoryWeight('embedding', [rows, columns], values);
  const weight = {
    ...stored,
    toF32: (start = 0, end = rows) => {
      reads.push([start, end]);
      return stored.toF32(start, end);
    },
  };

  it('puts each row where it was asked for, repeats included', async () => {
    const wanted = Int32Array.of(7, 499, 0, 7, 120, 121, 119);
    const gathered = await gatherRows(weight, wanted);
    wanted.forEach((row, i) => {
      expect(gathered.subarray(i * columns, (i + 1) * columns)).toEqual(
        values.subarray(row * columns, (row + 1) * columns),
      );
    });
  });

  it('reads neighbours together and nothing between distant rows', async () => {
    reads.length = 0;
    await gatherRows(weight, Int32Array.of(400, 10, 12, 10, 401));
    expect(reads).toEqual([
      [10, 13],
      [400, 402],
    ]);
  });
});
