import { isPithError, memoryBytes, randomStream } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import {
  ggufImatrix,
  IMATRIX_METADATA,
  legacyImatrix,
  type ImatrixTensor,
  type LegacyEntry,
} from '../../testing/build-imatrix.fixture.ts';
import { countAllocations } from '../../testing/count-allocations.fixture.ts';
import { mutate } from '../../testing/mutate.fixture.ts';
import { MAX_IMATRIX_BYTES } from './imatrix.ts';
import { readImatrix } from './read-imatrix.ts';

const read = (bytes: Uint8Array) => readImatrix(memoryBytes(bytes), 'x.imatrix');

const LEGACY: LegacyEntry[] = [
  { name: 'blk.0.attn_q.weight', calls: 4, values: [4, 8, 0, 2] },
  { name: 'blk.0.ffn_down.weight', calls: 0, values: [3, 5] },
];
const NEWER: ImatrixTensor[] = [
  { name: 'blk.0.attn_q.weight.in_sum2', shape: [4], values: [4, 8, 0, 2] },
  { name: 'blk.0.attn_q.weight.counts', shape: [1], values: [4] },
  { name: 'blk.0.attn_q.weight.in_sum', shape: [4], values: [-1, 1, 0, 1] },
  { name: 'blk.0.ffn_up_exps.weight.in_sum2', shape: [3, 2], values: [2, 4, 9, 9, 6, 3] },
  { name: 'blk.0.ffn_up_exps.weight.counts', shape: [3, 1], values: [2, 0, 3] },
];
const changed = (at: number, change: Partial<ImatrixTensor>) =>
  NEWER.map((tensor, i) => (i === at ? { ...tensor, ...change } : tensor));

describe('readImatrix', () => {
  it('reads mean squares from the older form, whose sums are those times calls', async () => {
    const { form, entries, chunks } = await read(legacyImatrix(LEGACY, 9));
    expect({ form, chunks }).toEqual({ form: 'legacy', chunks: 9 });
    expect([...entries]).toEqual([
      ['blk.0.attn_q.weight', { meanSquares: Float32Array.of(1, 2, 0, 0.5), experts: 1 }],
      ['blk.0.ffn_down.weight', { meanSquares: Float32Array.of(3, 5), experts: 1 }],
    ]);
    expect((await read(legacyImatrix(LEGACY))).chunks).toBeNull();
  });

  it('reads the newer form, expert by expert; one that saw no token counts all columns the same', async () => {
    const { form, entries, chunks } = await read(ggufImatrix(NEWER));
    expect({ form, chunks }).toEqual({ form: 'gguf', chunks: 7 });
    expect([...entries]).toEqual([
      ['blk.0.attn_q.weight', { meanSquares: Float32Array.of(1, 2, 0, 0.5), experts: 1 }],
      ['blk.0.ffn_up_exps.weight', { meanSquares: Float32Array.of(1, 2, 1, 1, 2, 1), experts: 3 }],
    ]);
  });

  const whole = legacyImatrix(LEGACY, 9);
  const patched = (offset: number, value: number): Uint8Array => {
    const copy = whole.slice();
    new DataView(copy.buffer).setInt32(offset, value, true);
    return copy;
  };
  const afterName = 4 + 4 + LEGACY[0]!.name.length;
  it.each<[string, string, Uint8Array]>([
    ['TRUNCATED', 'an empty file', new Uint8Array(0)],
    ['TRUNCATED', 'a cut within values', whole.slice(0, afterName + 12)],
    ['TRUNCATED', 'a cut within a name', whole.slice(0, 12)],
    ['TRUNCATED', 'a cut within the name of the text', whole.slice(0, -1)],
    ['TRUNCATED', 'more entries than there is room for', patched(0, 100)],
    ['TRUNCATED', 'more values than there is room for', patched(afterName + 4, 2 ** 31 - 1)],
    ['COUNT_INVALID', 'no entries', patched(0, 0)],
    ['COUNT_INVALID', 'a negative number of entries', patched(0, -1)],
    ['COUNT_INVALID', 'a giant number of entries', patched(0, 2 ** 31 - 1)],
    ['COUNT_INVALID', 'a negative length of a name', patched(4, -5)],
    ['COUNT_INVALID', 'a giant length of a name', patched(4, 2 ** 20)],
    ['COUNT_INVALID', 'negative calls', patched(afterName, -1)],
    ['COUNT_INVALID', 'a negative number of values', patched(afterName + 4, -4)],
    ['NAME_INVALID', 'a control character', legacyImatrix([{ name: 'a\u001b[2J', calls: 1, values: [1] }])],
    ['NOT_UTF8', 'no text', whole.map((byte, at) => (at === 9 ? 0xff : byte))],
    ['DUPLICATE', 'a name twice', legacyImatrix([LEGACY[0]!, LEGACY[0]!])],
    ['VALUE_INVALID', 'NaN', legacyImatrix([{ name: 'a', calls: 1, values: [1, NaN] }])],
    ['VALUE_INVALID', 'infinity', legacyImatrix([{ name: 'a', calls: 1, values: [Infinity] }])],
    ['VALUE_INVALID', 'a negative sum', legacyImatrix([{ name: 'a', calls: 1, values: [-1] }])],
    ['TRAILING_BYTES', 'bytes behind the end', Uint8Array.from([...whole, 0])],
  ])('refuses the older form by name: %s, %s', async (code, _, bytes) => {
    await expect(read(bytes)).rejects.toMatchObject({
      code: `IMATRIX_${code}`,
      message: expect.stringContaining('x.imatrix') as string,
    });
  });

  it.each<[string, string, Uint8Array]>([
    ['NOT_ONE', 'a model', ggufImatrix(NEWER, new Map([['general.type', { type: 'string', value: 'model' }]]))],
    ['NOT_ONE', 'no sums', ggufImatrix([NEWER[2]!], new Map())],
    ['PAIR_MISSING', 'no counts', ggufImatrix([NEWER[0]!])],
    ['PAIR_MISSING', 'no sums', ggufImatrix([NEWER[1]!])],
    ['TYPE_INVALID', 'integers', ggufImatrix(changed(1, { type: 'i32' }))],
    ['SHAPE_INVALID', 'other numbers of rows', ggufImatrix(changed(4, { shape: [2, 1], values: [2, 3] }))],
    ['SHAPE_INVALID', 'no columns', ggufImatrix(changed(0, { shape: [0], values: [] }))],
    ['SHAPE_INVALID', 'no counts', ggufImatrix(changed(1, { shape: [0], values: [] }))],
    ['NAME_INVALID', 'no name', ggufImatrix(changed(0, { name: '.in_sum2' }).slice(0, 1))],
    ['COUNT_INVALID', 'a negative count', ggufImatrix(changed(1, { values: [-1] }))],
    ['COUNT_INVALID', 'less than a token', ggufImatrix(changed(1, { values: [1e-40] }))],
    ['COUNT_INVALID', 'NaN', ggufImatrix(changed(1, { values: [NaN] }))],
    ['VALUE_INVALID', 'NaN', ggufImatrix(changed(0, { values: [1, NaN, 1, 1] }))],
    ['VALUE_INVALID', 'a negative sum', ggufImatrix(changed(3, { values: [1, 1, 1, 1, 1, -1] }))],
  ])('refuses the newer form by name: %s, %s', async (code, _, bytes) => {
    await expect(read(bytes)).rejects.toMatchObject({ code: `IMATRIX_${code}` });
  });

  it('refuses what is too large before it is read', async () => {
    const source = { byteLength: MAX_IMATRIX_BYTES + 1, read: () => Promise.reject(new Error('was read')) };
    await expect(readImatrix(source as never, 'x')).rejects.toMatchObject({ code: 'IMATRIX_TOO_LARGE' });
  });

  it.each([
    ['older', legacyImatrix(LEGACY, 9)],
    ['newer', ggufImatrix(NEWER, IMATRIX_METADATA)],
  ])('reads the %s form soundly or refuses it, within the size of the input, whatever is damaged', async (_, good) => {
    const random = randomStream(20261127, 'imatrix');
    const codes = new Set<string>();
    for (let i = 0; i < 2000; i++) {
      const bytes = mutate(good, random);
      const allocated = await countAllocations(async () => {
        try {
          const { entries } = await read(bytes);
          codes.add('read');
          for (const { meanSquares } of entries.values()) {
            expect(meanSquares.every((value) => value >= 0 && value < Infinity)).toBe(true);
          }
        } catch (error) {
          if (!isPithError(error)) throw new Error(`case ${i}`, { cause: error });
          codes.add(error.code);
        }
      });
      expect(allocated).toBeLessThan(4 * bytes.length + 64 * 1024);
    }
    expect(codes.size).toBeGreaterThan(5);
  });
});
