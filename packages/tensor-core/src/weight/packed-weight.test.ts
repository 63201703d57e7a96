import { describe, expect, it } from 'vitest';
import { packedWeight } from './packed-weight.ts';

// Bytes count halves: a byte of 3 is the value 1.5.
const stored = Uint8Array.from({ length: 12 }, (_, i) => i);
const weight = packedWeight({
  name: 'w',
  shape: [4, 3],
  coding: 'halves',
  dtype: 'f16',
  byteLengthOfRows: (start, end) => 3 * (end - start),
  restore: async (start, end) => Float32Array.from(stored.subarray(3 * start, 3 * end), (byte) => byte / 2),
  bytes: async (start, end) => stored.subarray(3 * start, 3 * end),
});

describe('packedWeight', () => {
  it('restores rows, gives their bytes, and is cut', async () => {
    expect(weight).toMatchObject({ kind: 'packed', coding: 'halves', dtype: 'f16', byteLength: 12 });
    expect([...(await weight.toF32())]).toEqual([...stored].map((byte) => byte / 2));
    const part = weight.slice(1, 3);
    expect([part.shape, part.byteLength]).toEqual([[2, 3], 6]);
    expect([...(await part.toF32(1, 2))]).toEqual([3, 3.5, 4]);
    expect(part.kind === 'packed' && [...(await part.bytes!(0, 1))]).toEqual([3, 4, 5]);
  });

  it('refuses rows that are not there, and a reader that gives too little', async () => {
    await expect(weight.toF32(3, 5)).rejects.toMatchObject({ code: 'ROWS_OUT_OF_RANGE' });
    await expect(weight.bytes!(-1, 2)).rejects.toMatchObject({ code: 'ROWS_OUT_OF_RANGE' });
    const short = packedWeight({
      name: 'w',
      shape: [4, 3],
      coding: 'x',
      dtype: 'f32',
      byteLengthOfRows: () => 0,
      restore: async () => new Float32Array(1),
    });
    await expect(short.toF32()).rejects.toMatchObject({ code: 'PACKED_BLOCK_MALFORMED', kind: 'internal' });
  });
});
