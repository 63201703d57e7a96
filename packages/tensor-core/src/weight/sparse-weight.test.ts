import { describe, expect, it } from 'vitest';
import { fromF32 } from '../dtype/convert.ts';
import { memoryBytes } from './byte-range.ts';
import { compactWeights, countZeros, representationBytes, sparseOf } from './compact-weights.ts';
import { denseWeight } from './dense-weight.ts';
import { sparseWeight } from './sparse-weight.ts';
import type { DenseWeight, SparseBlock } from './weight-tensor.ts';

function dense(values: readonly number[], columns: number, dtype: 'f32' | 'f16' | 'bf16' = 'f32', name = 'a.weight') {
  const source = memoryBytes(fromF32(dtype, Float32Array.from(values)));
  return denseWeight({ name, dtype, shape: [values.length / columns, columns], source });
}

/** 3 rows of 8 columns, by hand: 3, 0 and 4 values; no run of four has more than two. */
const VALUES = [...[1, 0, 0, -2, 0, 0, 3, 0], ...[0, 0, 0, -0, 0, 0, 0, 0], ...[0, 5, 6, 0, 7, 0, 0, 8]];

async function sparse(weight: DenseWeight, layout: 'bitmask' | '2:4') {
  return sparseOf(weight, layout, (await countZeros(weight))!);
}

describe.each(['f32', 'f16', 'bf16'] as const)('a sparse weight of %s', (dtype) => {
  const width = dtype === 'f32' ? 4 : 2;

  it('keeps values and a mask: bitmask', async () => {
    const weight = await sparse(dense(VALUES, 8, dtype), 'bitmask');
    expect(weight).toMatchObject({ kind: 'sparse', layout: 'bitmask', dtype, shape: [3, 8], kept: 7 });
    // Values, a byte of bits per row, 8 bytes per row for where it begins, 16 for the shape.
    expect(weight.byteLength).toBe(7 * width + 3 + 24 + 16);
    const { mask, values } = await weight.block();
    expect([...mask]).toEqual(VALUES.map((value) => (value === 0 ? 0 : 1)));
    expect([...values]).toEqual([...fromF32(dtype, Float32Array.of(1, -2, 3, 5, 6, 7, 8))]);
    expect([...(await weight.toF32())]).toEqual(VALUES.map((value) => value + 0));
  });

  it('keeps exactly two of four, the last zeros where there are fewer', async () => {
    const weight = await sparse(dense(VALUES, 8, dtype), '2:4');
    expect(weight).toMatchObject({ layout: '2:4', kept: 12, byteLength: 12 * width + 3 + 16 });
    const { mask, values } = await weight.block();
    expect([...mask]).toEqual([...[1, 0, 0, 1, 0, 0, 1, 1], ...[0, 0, 1, 1, 0, 0, 1, 1], ...[0, 1, 1, 0, 1, 0, 0, 1]]);
    expect([...values.subarray(0, 4 * width)]).toEqual([...fromF32(dtype, Float32Array.of(1, -2, 3, 0))]);
    expect((await weight.toF32()).map((value) => value + 0)).toEqual(Float32Array.from(VALUES, (value) => value + 0));
  });

  it('slices to rows with their exact size', async () => {
    for (const layout of ['bitmask', '2:4'] as const) {
      const whole = await sparse(dense(VALUES, 8, dtype), layout);
      const part = whole.slice(1, 3).slice(1, 2);
      expect(part.shape).toEqual([1, 8]);
      expect(part).toMatchObject({ kept: 4 });
      expect(part.byteLength).toBe(4 * width + 1 + 16 + (layout === 'bitmask' ? 8 : 0));
      expect([...(await part.toF32())]).toEqual(VALUES.slice(16));
      expect([...(await whole.toF32(1, 2))].every((value) => value === 0)).toBe(true);
      expect((await whole.slice(1, 1).toF32()).length).toBe(0);
    }
  });
});

describe('the smallest representation', () => {
  const zeros = (share: number, columns = 64) =>
    Array.from({ length: 32 * columns }, (_, i) => ((i * 7) % 16 < 16 * share ? 0 : 1 + i));

  it('says the bytes of each one', async () => {
    const weight = dense(zeros(0.5), 64, 'bf16');
    const bytes = representationBytes(weight, (await countZeros(weight))!);
    expect(bytes.dense).toBe(32 * 64 * 2);
    expect(bytes.bitmask).toBe((await sparse(weight, 'bitmask')).byteLength);
    expect(bytes['2:4']).toBeUndefined();
  });

  it('stays dense where that is smallest', async () => {
    const weights = [dense(zeros(0), 64, 'bf16'), dense(zeros(1 / 16), 64, 'bf16'), dense([1, 2, 0], 1)];
    expect(await compactWeights(weights)).toEqual(weights);
  });

  it('takes the layout that saves most, for all weights alike', async () => {
    const half = dense(zeros(0.5), 64, 'bf16', 'half.weight');
    const most = dense(zeros(0.9), 64, 'f32', 'most.weight');
    const pairs = dense(
      Array.from({ length: 64 }, (_, i) => (i % 4 < 2 ? 0 : i)),
      64,
      'f16',
      'pairs.weight',
    );
    const other = dense(zeros(0.9), 64, 'f32', 'embedding');
    const [a, b, c, d] = await compactWeights([half, most, pairs, other]);
    expect([a, b, c].map((weight) => weight?.kind === 'sparse' && weight.layout)).toEqual(Array(3).fill('bitmask'));
    expect(d).toBe(other);
    expect(await b!.toF32()).toEqual(await most.toF32());
    const [e] = await compactWeights([pairs]);
    expect(e).toMatchObject({ kind: 'sparse', layout: '2:4' });
  });

  it('counts nothing of other shapes and dtypes', async () => {
    const source = memoryBytes(new Uint8Array(8));
    expect(await countZeros(denseWeight({ name: 'a', dtype: 'i8', shape: [2, 4], source }))).toBeNull();
    expect(await countZeros(denseWeight({ name: 'a', dtype: 'bf16', shape: [4], source }))).toBeNull();
  });
});

describe('what is refused', () => {
  const read = (block: Partial<SparseBlock>) => () =>
    Promise.resolve({ values: new Uint8Array(8), mask: Uint8Array.of(1, 0, 0, 1), ...block });
  const parts = { name: 'a', shape: [1, 4], dtype: 'f32' } as const;

  it.each([
    ['too few row starts', { layout: 'bitmask', rowStarts: Float64Array.of(0) }],
    ['row starts that go back', { layout: 'bitmask', rowStarts: Float64Array.of(2, 1) }],
    ['more values than columns', { layout: 'bitmask', rowStarts: Float64Array.of(0, 5) }],
    ['no number', { layout: 'bitmask', rowStarts: Float64Array.of(0, NaN) }],
    ['no row starts', { layout: 'bitmask' }],
    ['row starts of 2:4', { layout: '2:4', rowStarts: Float64Array.of(0, 2) }],
  ] as const)('%s', (_, rest) => {
    const make = () => sparseWeight({ ...parts, ...rest, read: read({}) });
    expect(make).toThrow(expect.objectContaining({ code: 'SPARSE_ROWS_INVALID' }));
  });

  it.each([[[4]], [[2, 3, 4]], [[1, 6]], [[-1, 4]]])('shape %j for 2:4', (shape) => {
    const make = () => sparseWeight({ ...parts, shape, layout: '2:4', read: read({}) });
    expect(make).toThrow(expect.objectContaining({ code: 'SHAPE_INVALID' }));
  });

  it.each([
    ['a mask of another size', { mask: Uint8Array.of(1, 1) }],
    ['a mask that keeps another number', { mask: Uint8Array.of(1, 1, 1, 0) }],
    ['too few values', { values: new Uint8Array(4) }],
  ])('%s', async (_, block) => {
    const weight = sparseWeight({ ...parts, layout: '2:4', read: read(block) });
    await expect(weight.toF32()).rejects.toMatchObject({ code: 'SPARSE_BLOCK_MALFORMED' });
  });

  it('three of four in 2:4', async () => {
    const weight = dense([1, 2, 3, 0, 0, 4, 0, 0], 8);
    const zeros = (await countZeros(weight))!;
    expect(zeros.twoOfFour).toBe(false);
    await expect(sparseOf(weight, '2:4', zeros).block()).rejects.toMatchObject({ code: 'SPARSE_BLOCK_MALFORMED' });
  });
});
