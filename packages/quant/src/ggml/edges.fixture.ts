// What ggml makes of rows that are hard to code, beside what we make of them: the same bytes, but for two rows of one type.
import { restoreBlocks } from '@pith/checkpoint';
import { expect } from 'vitest';

/** Where our bytes are not those of ggml: rows of a golden, and how many times less our squared error is at least. */
const DEVIATIONS: Readonly<Record<string, ReadonlyMap<number, number>>> = {
  // They have runs of 32 zeros: ggml leaves the vectors and signs of these out, and what follows is read at the wrong place.
  'edges.IQ3_S.bin': new Map([
    [1, 4],
    [7, 100],
  ]),
};

/** Holds the blocks of the ten rows of `edges.f32` (256 values each) to those of a golden. */
export function expectEdges(file: string, bytes: Uint8Array, expected: Uint8Array, values: Float32Array): void {
  expect(bytes.length).toBe(expected.length);
  const rowBytes = expected.length / 10;
  for (let at = 0; at < 10; at++) {
    const [ours, theirs] = [bytes, expected].map((all) => all.slice(at * rowBytes, (at + 1) * rowBytes));
    const times = DEVIATIONS[file]?.get(at);
    if (times === undefined) {
      expect(Buffer.compare(ours!, theirs!), `row ${at}`).toBe(0);
      continue;
    }
    const x = values.subarray(256 * at, 256 * at + 256);
    const [small, large] = [ours!, theirs!].map((blocks) =>
      restoreBlocks('iq3_s', blocks).reduce((sum, value, i) => sum + (value - x[i]!) ** 2, 0),
    );
    expect(large! / small!).toBeGreaterThan(times);
  }
}
