import { describe, expect, it } from 'vitest';
import { fromF32, toF32 } from '../dtype/convert.ts';
import { STATIC_BYTES, compileKernels, createKernelMemory, instantiateKernels } from '../kernels/instance.ts';
import { randomStream } from '../random/random-stream.ts';
import { maskReference, scoreReference } from './select-reference.ts';

const memory = createKernelMemory(false, 16 * 2 ** 20);
const kernels = instantiateKernels(compileKernels(false), memory);
memory.grow(200);
// Places for the largest case below, far apart, and one byte off any alignment.
const VALUES = STATIC_BYTES + 1;
const FACTORS = STATIC_BYTES + 2 ** 20;
const MASK = STATIC_BYTES + 3 * 2 ** 20 + 1;
const HISTOGRAM = STATIC_BYTES + 4 * 2 ** 20;
const SUMS = STATIC_BYTES + 6 * 2 ** 20;
const SCRATCH = STATIC_BYTES + 5 * 2 ** 20;
const bytes = () => new Uint8Array(memory.buffer);

const DTYPES = ['f32', 'f16', 'bf16'] as const;
type Dtype = (typeof DTYPES)[number];

/** Normal values with ties, zeros and a few far out. */
function values(count: number, dtype: Dtype, name: string): { stored: Uint8Array; exact: Float32Array } {
  const stream = randomStream(3, name);
  const w = Float32Array.from({ length: count }, () => stream.normal());
  for (let i = 0; i < count; i += 7) w[i] = w[i >> 1]! * (i % 2 === 0 ? 1 : -1);
  for (let i = 3; i < count; i += 19) w[i] = i % 2 === 0 ? 0 : -0;
  for (let i = 5; i < count; i += 101) w[i] = w[i]! * 100;
  const stored = fromF32(dtype, w);
  return { stored, exact: toF32(dtype, stored) };
}

function uniforms(count: number): Float32Array {
  const stream = randomStream(3, 'factors');
  return Float32Array.from({ length: count }, () => stream.uniform());
}

function put(at: number, data: Uint8Array | Float32Array): void {
  bytes().set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
}

/** What a mask leaves: the stored bytes where it keeps, +0 elsewhere. */
function applied(stored: Uint8Array, mask: Uint8Array): Uint8Array {
  const width = stored.length / mask.length;
  return stored.map((byte, i) => (mask[Math.floor(i / width)] === 1 ? byte : 0));
}

/** Squared scores before and after, and zeros in the end, of each row. */
function expectSums(exact: Float32Array, scores: Float32Array, mask: Uint8Array, columns: number): void {
  const sums = new Float64Array(memory.buffer, SUMS, (3 * exact.length) / columns);
  for (let row = 0; row * columns < exact.length; row++) {
    const [from, to] = [row * columns, (row + 1) * columns];
    const before = scores.subarray(from, to).reduce((sum, x) => sum + x * x, 0);
    const after = scores.subarray(from, to).reduce((sum, x, i) => sum + (mask[from + i] === 1 ? x * x : 0), 0);
    const zeros = exact.subarray(from, to).filter((w, i) => w === 0 || mask[from + i] === 0).length;
    // f64 sums of exact squares, in another order.
    expect(Math.abs(sums[3 * row]! - before)).toBeLessThanOrEqual(columns * 2 ** -52 * before);
    expect(Math.abs(sums[3 * row + 1]! - after)).toBeLessThanOrEqual(columns * 2 ** -52 * before);
    expect(sums[3 * row + 2]).toBe(zeros);
  }
}

describe('pruneRows', () => {
  const cases = [
    { rows: 1, columns: 1, pruned: 0, span: 1 },
    { rows: 1, columns: 1, pruned: 1, span: 1 },
    { rows: 3, columns: 7, pruned: 3, span: 7 },
    { rows: 4, columns: 8, pruned: 2, span: 4 },
    { rows: 5, columns: 31, pruned: 15, span: 31 },
    { rows: 2, columns: 30, pruned: 2, span: 3 },
    { rows: 3, columns: 48, pruned: 5, span: 8 },
    { rows: 3, columns: 64, pruned: 40, span: 64 },
    { rows: 3, columns: 172, pruned: 86, span: 172 },
    { rows: 2, columns: 1023, pruned: 1022, span: 1023 },
    { rows: 2, columns: 1024, pruned: 8, span: 16 },
    { rows: 3, columns: 2048, pruned: 1024, span: 2048 },
    { rows: 1, columns: 5632, pruned: 5632, span: 5632 },
  ];
  describe.each(DTYPES)('%s', (dtype) => {
    it.each(cases)('takes what the reference takes: %j', ({ rows, columns, pruned, span }) => {
      const { stored, exact } = values(rows * columns, dtype, `rows ${columns} ${span}`);
      const vector = uniforms(columns);
      const matrix = uniforms(rows * columns);
      for (const [factors, stride] of [
        [undefined, 0],
        [vector, 0],
        [matrix, columns],
      ] as const) {
        const expected = maskReference(scoreReference(exact, factors), { pruned, span });
        if (factors) put(FACTORS, factors);
        for (const [mask, sums] of [
          [0, 0],
          [0, SUMS],
          [MASK, 0],
        ] as const) {
          put(VALUES, stored);
          const args = [
            DTYPES.indexOf(dtype),
            rows,
            columns,
            factors ? FACTORS : 0,
            stride,
            pruned,
            span,
            mask,
            sums,
          ] as const;
          expect(kernels.pruneRows(VALUES, ...args, SCRATCH)).toBe(-1);
          const found = bytes().slice(VALUES, VALUES + stored.length);
          expect(Buffer.compare(found, mask === 0 ? applied(stored, expected) : stored)).toBe(0);
          if (sums !== 0) expectSums(exact, scoreReference(exact, factors), expected, columns);
        }
        expect(Buffer.compare(bytes().subarray(MASK, MASK + expected.length), expected)).toBe(0);
      }
    });
  });

  it.each([NaN, Infinity, -Infinity])('names the row that has %d', (value) => {
    const weights = new Float32Array(5 * 9).fill(1);
    weights[3 * 9 + 8] = value;
    put(VALUES, weights);
    expect(kernels.pruneRows(VALUES, 0, 5, 9, 0, 0, 4, 9, 0, 0, SCRATCH)).toBe(3);
  });

  it.each([0, 1, 2])('finds thresholds of rows that are nothing like the one before: %d of three pruned', (third) => {
    const columns = 300;
    const sizes = [1, 1, 1.05, 1.4, 1e-3, 1e-38, 1e-42, 0, 1, 5e37, 1e37];
    const stream = randomStream(5, 'scales');
    const exact = Float32Array.from(
      sizes.flatMap((size) => Array.from({ length: columns }, () => size * stream.normal())),
    );
    put(VALUES, exact);
    const pruned = (third * columns) / 3 + 7;
    const expected = maskReference(exact.map(Math.abs), { pruned, span: columns });
    expect(kernels.pruneRows(VALUES, 0, sizes.length, columns, 0, 0, pruned, columns, MASK, 0, SCRATCH)).toBe(-1);
    expect(Buffer.compare(bytes().subarray(MASK, MASK + expected.length), expected)).toBe(0);
  });

  it('stays within its scratch', () => {
    for (const columns of [1, 5, 64, 1023]) {
      const end = SCRATCH + kernels.selectScratchBytes(columns);
      bytes().fill(0xaa, SCRATCH, end + 4096);
      put(VALUES, values(columns, 'f32', 'scratch').stored);
      kernels.pruneRows(VALUES, 0, 1, columns, 0, 0, columns >> 1, columns, 0, 0, SCRATCH);
      expect(
        bytes()
          .subarray(end, end + 4096)
          .every((byte) => byte === 0xaa),
      ).toBe(true);
    }
  });
});

describe('countKeys and pruneBelow', () => {
  const histogram = () => new Uint32Array(memory.buffer, HISTOGRAM, 65536).slice();

  it.each(DTYPES)('find a threshold over all of a weight in %s', (dtype) => {
    const [rows, columns, pruned] = [37, 43, 700];
    const { stored, exact } = values(rows * columns, dtype, 'whole');
    const perRow = uniforms(rows);
    const factors = Float32Array.from({ length: rows * columns }, (_, i) => perRow[Math.floor(i / columns)]!);
    put(VALUES, stored);
    put(FACTORS, perRow);
    const shared = [DTYPES.indexOf(dtype), rows, columns, FACTORS, 1, 0] as const;
    const nth = (counts: Uint32Array, rank: number): [bin: number, left: number] => {
      let bin = 0;
      for (; rank >= counts[bin]!; bin++) rank -= counts[bin]!;
      return [bin, rank];
    };
    expect(kernels.countKeys(VALUES, ...shared, -1, HISTOGRAM, SCRATCH)).toBe(-1);
    const [upper, left] = nth(histogram(), pruned);
    expect(kernels.countKeys(VALUES, ...shared, upper, HISTOGRAM, SCRATCH)).toBe(-1);
    const [lower, ties] = nth(histogram(), left);
    const threshold = upper * 65536 + lower;
    expect(kernels.pruneBelow(VALUES, ...shared, threshold, ties, MASK, 0, SCRATCH)).toBe(pruned);
    const expected = maskReference(scoreReference(exact, factors), { pruned, span: rows * columns });
    expect(Buffer.compare(bytes().subarray(MASK, MASK + expected.length), expected)).toBe(0);
    expect(kernels.pruneBelow(VALUES, ...shared, threshold, ties, 0, SUMS, SCRATCH)).toBe(pruned);
    expect(Buffer.compare(bytes().subarray(VALUES, VALUES + stored.length), applied(stored, expected))).toBe(0);
    expectSums(exact, scoreReference(exact, factors), expected, columns);
  });

  it('names the row that is not finite', () => {
    put(VALUES, Float32Array.of(1, 2, 3, NaN, 5, 6));
    expect(kernels.countKeys(VALUES, 0, 3, 2, 0, 0, 1, -1, HISTOGRAM, SCRATCH)).toBe(1);
  });
});
