import { describe, expect, it } from 'vitest';
import { fromF32 } from '../dtype/convert.ts';
import { byteRange, memoryBytes } from './byte-range.ts';
import type { ByteSource } from './byte-source.ts';
import { denseWeight } from './dense-weight.ts';

const VALUES = Float32Array.from({ length: 24 }, (_, i) => i / 4 - 3);

function weight(source: ByteSource = memoryBytes(fromF32('bf16', VALUES))) {
  return denseWeight({ name: 'w', dtype: 'bf16', shape: [4, 3, 2], source });
}

/** A source that tells what was read of it. */
function watched(source: ByteSource): { source: ByteSource; reads: [number, number][] } {
  const reads: [number, number][] = [];
  return {
    reads,
    source: {
      ...source,
      read: (offset, length) => {
        reads.push([offset, length]);
        return source.read(offset, length);
      },
    },
  };
}

describe('denseWeight', () => {
  it('says its bytes, and restores all rows or some', async () => {
    expect(weight().byteLength).toBe(48);
    expect(await weight().toF32()).toEqual(VALUES);
    expect(await weight().toF32(1, 3)).toEqual(VALUES.slice(6, 18));
    expect(await weight().bytes(3)).toEqual(fromF32('bf16', VALUES.slice(18)));
    expect(await weight().toF32(2, 2)).toHaveLength(0);
  });

  it('reads nothing until asked, and then the rows alone', async () => {
    const { source, reads } = watched(memoryBytes(fromF32('bf16', VALUES)));
    const slice = weight(source).slice(1, 4).slice(1, 2);
    expect(reads).toEqual([]);
    expect(slice).toMatchObject({ name: 'w', shape: [1, 3, 2], byteLength: 12, dtype: 'bf16' });
    expect(await slice.toF32()).toEqual(VALUES.slice(12, 18));
    expect(reads).toEqual([[24, 12]]);
  });

  it('tells where a slice lies in its file', () => {
    const file = { path: 'x.bin', offset: 100 };
    const source = { ...memoryBytes(fromF32('bf16', VALUES)), file };
    expect(weight(source).file).toEqual(file);
    expect(weight(source).slice(2, 4)).toMatchObject({ file: { path: 'x.bin', offset: 124 } });
    expect('file' in weight()).toBe(false);
  });

  it('takes scalars and empty tensors', async () => {
    const scalar = denseWeight({
      name: 's',
      dtype: 'f32',
      shape: [],
      source: memoryBytes(fromF32('f32', VALUES.slice(0, 1))),
    });
    expect([...(await scalar.toF32())]).toEqual([-3]);
    const empty = denseWeight({ name: 'e', dtype: 'f32', shape: [0, 5], source: memoryBytes(new Uint8Array()) });
    expect([empty.byteLength, (await empty.toF32()).length]).toEqual([0, 0]);
  });

  it('refuses other bytes, other rows and shapes that are none', async () => {
    expect(() => weight(memoryBytes(new Uint8Array(47)))).toThrow(
      'dense weight w: [4, 3, 2] of bf16 takes 48 bytes, got 47',
    );
    for (const [start, end] of [
      [-1, 2],
      [3, 2],
      [0, 5],
      [0.5, 1],
    ] as const) {
      await expect(weight().toF32(start, end)).rejects.toMatchObject({ code: 'ROWS_OUT_OF_RANGE' });
      expect(() => weight().slice(start, end)).toThrow(expect.objectContaining({ code: 'ROWS_OUT_OF_RANGE' }));
    }
    const source = memoryBytes(new Uint8Array());
    expect(() => denseWeight({ name: 'w', dtype: 'u8', shape: [2 ** 40, 2 ** 40], source })).toThrow(
      expect.objectContaining({ code: 'SHAPE_TOO_LARGE' }),
    );
  });
});

describe('byteRange', () => {
  it('is a part of a source and refuses to leave it', async () => {
    const part = byteRange(byteRange(memoryBytes(Uint8Array.of(0, 1, 2, 3, 4, 5)), 1, 4), 1, 2);
    expect([...(await part.read(0, 2))]).toEqual([2, 3]);
    const target = new Uint8Array(1);
    await part.readInto(1, target);
    expect([...target]).toEqual([3]);
    for (const [offset, length] of [
      [0, 3],
      [-1, 1],
      [2, 1],
      [1.5, 1],
      [NaN, 1],
    ] as const) {
      await expect(part.read(offset, length)).rejects.toMatchObject({ code: 'BYTES_OUT_OF_RANGE' });
    }
    await expect(part.readInto(1, new Uint8Array(2))).rejects.toMatchObject({ code: 'BYTES_OUT_OF_RANGE' });
    await expect(memoryBytes(new Uint8Array(2)).read(1, 2)).rejects.toMatchObject({ code: 'BYTES_OUT_OF_RANGE' });
    expect(() => byteRange(part, 1, 2)).toThrow(expect.objectContaining({ code: 'BYTES_OUT_OF_RANGE' }));
  });
});
