// The bytes of stored tensors, in pieces and panels that are far too small, against the same worked out plainly.
import { fromF32, quantizedWeight, toF32 } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { memoryWeight } from '../testing/folder-model.fixture.ts';
import { storeBlocks, storeChannels, storeRows, storeTransposed } from './store-matrix.ts';
import type { StoredGroup, StoreLimits } from './store-matrix.ts';

const LIMITS: readonly StoreLimits[] = [
  { pieceValues: 2 ** 20, panelBytes: 2 ** 20 },
  { pieceValues: 10, panelBytes: 4 * 7 * 3 },
  { pieceValues: 1, panelBytes: 1 },
];

/** All bytes of a group by tensor; every byte is written once. */
async function collect(
  group: StoredGroup,
  sizes: Readonly<Record<string, number>>,
): Promise<Record<string, Uint8Array>> {
  const found = Object.fromEntries(group.tensors.map(({ name }) => [name, new Uint8Array(sizes[name])]));
  const written = Object.fromEntries(group.tensors.map(({ name }) => [name, new Uint8Array(sizes[name])]));
  for await (const { name, offset, bytes } of group.chunks()) {
    found[name].set(bytes, offset);
    for (let i = 0; i < bytes.length; i++) written[name][offset + i]++;
  }
  for (const [name, counts] of Object.entries(written))
    expect(
      counts.every((count) => count === 1),
      name,
    ).toBe(true);
  return found;
}

const [ROWS, COLUMNS] = [7, 90];
const values = Float32Array.from({ length: ROWS * COLUMNS }, (_, i) => Math.sin(i));
const weight = memoryWeight('w', [ROWS, COLUMNS], values);

describe.each(LIMITS)('pieces of %o', (limits) => {
  it.each(['f32', 'f16'] as const)('values in their own order and turned round, %s', async (dtype) => {
    const size = values.length * (dtype === 'f32' ? 4 : 2);
    const expected = toF32(dtype, fromF32(dtype, values));
    const plain = await collect(storeRows('w', weight, dtype, limits), { w: size });
    expect(toF32(dtype, plain['w'])).toEqual(expected);
    const group = storeTransposed('t', weight, dtype, limits);
    expect(group.tensors).toEqual([{ name: 't', dtype, dims: [COLUMNS, ROWS] }]);
    const turned = toF32(dtype, (await collect(group, { t: size }))['t']);
    const back = Float32Array.from(expected, (_, i) => turned[(i % COLUMNS) * ROWS + Math.floor(i / COLUMNS)]);
    expect(back).toEqual(expected);
  });

  it.each([
    [4, 32, 96],
    [4, 16, 96],
    [8, 64, 128],
  ] as const)('%d-bit blocks of %d with a last block that is not full', async (bits, blockSize, width) => {
    const half = 2 ** (bits - 1);
    const groups = width / blockSize;
    const codes = Int8Array.from({ length: ROWS * width }, (_, i) => ((i * 31) % (2 * half)) - half);
    const scales = Float32Array.from({ length: ROWS * groups }, (_, i) => 1 + i / 8);
    const zeroPoints = Int8Array.from(scales, (_, i) => ((i * 5) % (2 * half)) - half);
    const source = quantizedWeight({
      name: 'q',
      shape: [ROWS, width],
      scheme: {
        kind: 'int',
        bits,
        symmetric: false,
        granularity: { kind: 'group', size: blockSize },
        scaleDType: 'f32',
      },
      read: (start, end) =>
        Promise.resolve({
          codes: codes.slice(start * width, end * width),
          scales: scales.slice(start * groups, end * groups),
          zeroPoints: zeroPoints.slice(start * groups, end * groups),
        }),
    });
    const storage = { kind: 'blocks', bits, blockSize, symmetric: false, scaleDType: 'f16' } as const;
    const group = storeBlocks('w', 'q', [ROWS, COLUMNS], storage, () => Promise.resolve(source), limits);
    const zeroBytes = Math.ceil((groups * bits) / 8);
    const sizes = {
      [`w_Q${bits}`]: (ROWS * width * bits) / 8,
      w_scales: 2 * ROWS * groups,
      w_zp: ROWS * zeroBytes,
    };
    const found = await collect(group, sizes);
    expect(toF32('f16', found['w_scales'])).toEqual(scales);
    const code = (bytes: Uint8Array, i: number) =>
      (bits === 8 ? bytes[i] : (bytes[i >> 1] >> (4 * (i % 2))) & 15) - half;
    for (let row = 0; row < ROWS; row++) {
      for (let i = 0; i < groups; i++) {
        const zero = zeroPoints[row * groups + i];
        const at = row * zeroBytes * (8 / bits) + i;
        expect(code(found['w_zp'], at)).toBe(zero);
        for (let column = i * blockSize; column < (i + 1) * blockSize; column++) {
          const stored = code(found[`w_Q${bits}`], row * width + column);
          // Behind the last column stands the code of the value zero.
          expect(stored).toBe(column < COLUMNS ? codes[row * width + column] : zero);
        }
      }
    }
  });

  it.each([true, false])('rows of 8-bit codes, unsigned: %s', async (unsigned) => {
    const codes = Int8Array.from({ length: ROWS * COLUMNS }, (_, i) => ((i * 37) % 256) - 128);
    const scales = Float32Array.from({ length: ROWS }, (_, i) => 1 + i);
    const zeroPoints = Int8Array.from({ length: ROWS }, (_, i) => 10 * i - 30);
    const source = quantizedWeight({
      name: 'q',
      shape: [ROWS, COLUMNS],
      scheme: { kind: 'int', bits: 8, symmetric: false, granularity: { kind: 'channel' }, scaleDType: 'f32' },
      read: (start, end) =>
        Promise.resolve({
          codes: codes.slice(start * COLUMNS, end * COLUMNS),
          scales: scales.slice(start, end),
          zeroPoints: zeroPoints.slice(start, end),
        }),
    });
    const group = storeChannels(
      'w',
      'q',
      [ROWS, COLUMNS],
      { symmetric: false, unsigned },
      () => Promise.resolve(source),
      limits,
    );
    const found = await collect(group, { w_Q8: codes.length, w_scales: 4 * ROWS, w_zp: ROWS });
    const shift = unsigned ? 128 : 0;
    const signed = (bytes: Uint8Array) => (unsigned ? bytes : new Int8Array(bytes.buffer));
    expect(Array.from(signed(found['w_zp']))).toEqual(Array.from(zeroPoints, (zero) => zero + shift));
    expect(toF32('f32', found['w_scales'])).toEqual(scales);
    const turned = signed(found['w_Q8']);
    codes.forEach((value, i) => {
      expect(turned[(i % COLUMNS) * ROWS + Math.floor(i / COLUMNS)]).toBe(value + shift);
    });
  });
});

it('values that f16 cannot hold are refused by name', async () => {
  const large = memoryWeight('w', [1, 2], Float32Array.of(1, 70_000));
  await expect(storeRows('w', large, 'f16').chunks().next()).rejects.toMatchObject({ code: 'WEIGHT_OVERFLOWS' });
});
