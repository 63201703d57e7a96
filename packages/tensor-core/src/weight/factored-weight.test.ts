import { describe, expect, it } from 'vitest';
import { denseWeight } from './dense-weight.ts';
import { memoryBytes } from './byte-range.ts';
import { factoredWeight, factorNames } from './factored-weight.ts';
import { memoryBlock, quantizedWeight } from './quantized-weight.ts';
import type { DenseWeight } from './weight-tensor.ts';

const dense = (name: string, shape: readonly number[], values: number[]): DenseWeight =>
  denseWeight({ name, dtype: 'f32', shape, source: memoryBytes(new Uint8Array(Float32Array.from(values).buffer)) });

// [[1, 2], [3, 4], [5, 6]] [[1, 0, 2, 1], [0, 1, 1, -1]]
const left = dense('m.left.weight', [3, 2], [1, 2, 3, 4, 5, 6]);
const right = dense('m.right.weight', [2, 4], [1, 0, 2, 1, 0, 1, 1, -1]);
const product = [1, 2, 4, -1, 3, 4, 10, -1, 5, 6, 16, -1];

describe('factoredWeight', () => {
  it('is the product of its factors', async () => {
    const weight = factoredWeight({ name: 'm.weight', left, right });
    expect(weight).toMatchObject({ kind: 'factored', shape: [3, 4], rank: 2, byteLength: 4 * (6 + 8) });
    expect([...(await weight.toF32())]).toEqual(product);
    expect([...(await weight.toF32(1, 2))]).toEqual(product.slice(4, 8));
    expect([...(await weight.toF32(2, 2))]).toEqual([]);
  });

  it('is sliced by rows of the left factor', async () => {
    const part = factoredWeight({ name: 'm.weight', left, right }).slice(1, 3);
    expect(part).toMatchObject({ kind: 'factored', shape: [2, 4], rank: 2, byteLength: 4 * (4 + 8) });
    expect([...(await part.toF32())]).toEqual(product.slice(4));
  });

  it('sums in f64', async () => {
    const big = dense('a', [1, 3], [2 ** 24, 1, -(2 ** 24)]);
    const ones = dense('b', [3, 1], [1, 1, 1]);
    expect([...(await factoredWeight({ name: 'm', left: big, right: ones }).toF32())]).toEqual([1]);
  });

  it('takes quantized factors', async () => {
    const scheme = {
      kind: 'int',
      bits: 4,
      symmetric: true,
      granularity: { kind: 'channel' },
      scaleDType: 'f32',
    } as const;
    const block = { codes: Int8Array.of(1, 2, 3, 4, 5, 6), scales: Float32Array.of(0.5, 1, 2) };
    const codes = quantizedWeight({
      ...{ name: 'm.left.weight', shape: [3, 2], scheme },
      read: memoryBlock(block, scheme, 3, 2),
    });
    const weight = factoredWeight({ name: 'm.weight', left: codes, right });
    expect(weight.byteLength).toBe(codes.byteLength + right.byteLength);
    expect([...(await weight.toF32())]).toEqual(product.map((value, i) => value * [0.5, 1, 2][Math.floor(i / 4)]));
  });

  it('refuses factors that do not fit, and rows that it has not', async () => {
    const code = 'FACTORS_DO_NOT_FIT';
    expect(() => factoredWeight({ name: 'm', left: right, right: left })).toThrow(expect.objectContaining({ code }));
    const nothing = { left: dense('a', [3, 0], []), right: dense('b', [0, 4], []) };
    expect(() => factoredWeight({ name: 'm', ...nothing })).toThrow(/rank of at least 1, got \[3, 0\] and \[0, 4\]/);
    const vector = dense('a', [2], [1, 2]);
    expect(() => factoredWeight({ name: 'm', left: vector, right })).toThrow(expect.objectContaining({ code }));
    const weight = factoredWeight({ name: 'm', left, right });
    await expect(weight.toF32(0, 4)).rejects.toMatchObject({ code: 'ROWS_OUT_OF_RANGE' });
    expect(() => weight.slice(-1, 2)).toThrow(expect.objectContaining({ code: 'ROWS_OUT_OF_RANGE' }));
  });
});

describe('factorNames', () => {
  it('puts two linears in the place of one', () => {
    const names = { left: 'a.q_proj.left.weight', right: 'a.q_proj.right.weight' };
    expect(factorNames('a.q_proj.weight')).toEqual(names);
  });
});
