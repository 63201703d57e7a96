import { quantizedWeight, memoryBlock, randomStream, type ColumnRounding, type IntegerScheme } from '@pith/tensor-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { apply, mask } from '../pattern/mask.ts';
import { parsePattern, prunedCount, type SparsityPattern } from '../pattern/pattern.ts';
import { columnNorms, wandaScore } from '../wanda/score.ts';
import { sparsify, type SparsifyOptions } from './solve.ts';

const device = cpuDevice({ threads: 1 });
let pool: KernelPool;
beforeAll(() => void (pool = createKernelPool({ threads: 2 })));
afterAll(async () => {
  await pool.dispose();
  await device.dispose();
});

/** A weight and the Gram matrix of inputs whose columns depend on one another. */
function problem(rows: number, columns: number, name = 'problem') {
  const stream = randomStream(5, name);
  const tokens = 4 * columns;
  const inputs = new Float64Array(tokens * columns);
  for (let t = 0; t < tokens; t++) {
    let last = 0;
    for (let c = 0; c < columns; c++) {
      last = 0.8 * last + stream.normal() * (1 + (c % 5));
      inputs[t * columns + c] = last;
    }
  }
  const gram = new Float64Array(columns * columns);
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < columns; j++) {
      let sum = 0;
      for (let t = 0; t < tokens; t++) sum += inputs[t * columns + i]! * inputs[t * columns + j]!;
      gram[i * columns + j] = sum;
    }
  }
  const weights = Float32Array.from({ length: rows * columns }, () => stream.normal());
  return { name: 'w', dtype: 'f32' as const, rows, columns, weights, gram };
}

/** tr(D (G + added I) Dᵀ), D the difference: f64. */
function outputError(target: ReturnType<typeof problem>, values: Float32Array, added = 0): number {
  const { rows, columns, weights, gram } = target;
  let total = 0;
  for (let r = 0; r < rows; r++) {
    const d = Array.from({ length: columns }, (_, c) => weights[r * columns + c]! - values[r * columns + c]!);
    for (let i = 0; i < columns; i++) {
      total += added * d[i]! ** 2;
      for (let j = 0; j < columns; j++) total += d[i]! * gram[i * columns + j]! * d[j]!;
    }
  }
  return total;
}

const solve = (target: ReturnType<typeof problem>, options: Partial<SparsifyOptions> & { pattern: SparsityPattern }) =>
  sparsify(target, { damping: 0.01, blockColumns: 128, device, pool, ...options });

describe('sparsify', () => {
  it.each([
    ['50%', { kind: 'unstructured', sparsity: 0.5 }],
    ['75%', { kind: 'unstructured', sparsity: 0.75 }],
    ['2:4', parsePattern('2:4')],
    ['1:3', parsePattern('1:3')],
  ] as const)('%s: loses less than the Wanda mask without an update, and says how much', async (_, pattern) => {
    const target = problem(40, 48);
    const { values, mask: kept, squaredError, factor } = await solve(target, { pattern });
    const norms = columnNorms(Float64Array.from({ length: 48 }, (_, i) => target.gram[i * 49]!));
    const wanda = mask(wandaScore(target.weights, norms), 48, { pattern, comparison: 'row' });
    const before = outputError(target, apply(target.weights, wanda));
    expect(outputError(target, values)).toBeLessThan(before);
    // The sum of the sweep's errors is the error with damping: f32 sums of 48 * 40 terms.
    expect(squaredError / outputError(target, values, factor.added)).toBeCloseTo(1, 3);
    values.forEach((value, i) => expect(value === 0).toBe(kept[i] === 0));
  });

  it.each([
    [40, 48, 16],
    [17, 43, 16],
    [33, 20, 128],
    [5, 130, 128],
  ])('prunes exactly the share of each block: [%i, %i], blocks of %i', async (rows, columns, blockColumns) => {
    const sparsity = 0.6;
    const { mask: kept } = await solve(problem(rows, columns), {
      pattern: { kind: 'unstructured', sparsity },
      blockColumns,
    });
    for (let from = 0; from < columns; from += blockColumns) {
      const width = Math.min(blockColumns, columns - from);
      let gone = 0;
      for (let r = 0; r < rows; r++) for (let c = from; c < from + width; c++) gone += 1 - kept[r * columns + c]!;
      expect(gone).toBe(prunedCount(rows * width, sparsity));
    }
  });

  it('keeps exactly n of each m', async () => {
    const { mask: kept } = await solve(problem(9, 30), { pattern: parsePattern('2:5'), blockColumns: 12 });
    for (let i = 0; i < kept.length; i += 5) expect(kept.subarray(i, i + 5).reduce((a, b) => a + b)).toBe(2);
  });

  it('is the mask of magnitudes times norms where inputs are uncorrelated, and moves nothing', async () => {
    const target = problem(12, 8);
    const gram = new Float64Array(64);
    for (let i = 0; i < 8; i++) gram[i * 9] = (1 + i) ** 2;
    // U is diagonal, 1 / (1 + i).
    const pattern = { kind: 'unstructured', sparsity: 0.5 } as const;
    const { values, mask: kept } = await solve({ ...target, gram }, { pattern, damping: 0 });
    const scores = target.weights.map((weight, i) => Math.abs(weight) * (1 + (i % 8)));
    expect(kept).toEqual(mask(scores, 8, { pattern, comparison: 'layer' }));
    expect(values.map((value) => value + 0)).toEqual(apply(target.weights, kept).map((value) => value + 0));
  });

  it('two columns by hand', async () => {
    // H = [[2, 1], [1, 1]]: H⁻¹ = [[1, -1], [-1, 2]] = UᵀU with U = [[1, -1], [0, 1]].
    const target = { ...problem(1, 2), weights: Float32Array.of(1, 3), gram: Float64Array.of(2, 1, 1, 1) };
    const { values, squaredError } = await solve(target, { pattern: parsePattern('1:2'), damping: 0 });
    // Column 0 has the lesser (w / d)²; its error 1 / 1 goes onto column 1 times -U[0, 1].
    expect([...values].map((value) => Math.round(1e5 * value) / 1e5)).toEqual([0, 4]);
    // D = (1, -1): 2 - 2 + 1.
    expect(squaredError).toBeCloseTo(1, 5);
  });

  it('does not depend on the number of threads', async () => {
    const one = createKernelPool({ threads: 0 });
    const target = problem(300, 24);
    const pattern = { kind: 'unstructured', sparsity: 0.5 } as const;
    const [a, b] = [await solve(target, { pattern }), await solve(target, { pattern, pool: one })];
    await one.dispose();
    expect(a.values).toEqual(b.values);
    expect(a.squaredError).toBe(b.squaredError);
  });

  it('clears columns that no token reaches, and prunes by magnitude where none is reached', async () => {
    const target = problem(6, 8);
    for (let i = 0; i < 8; i++) target.gram[3 * 8 + i] = target.gram[i * 8 + 3] = 0;
    const pattern = { kind: 'unstructured', sparsity: 0.25 } as const;
    const { values, factor } = await solve(target, { pattern });
    expect(factor.deadColumns).toEqual([3]);
    for (let r = 0; r < 6; r++) expect(values[r * 8 + 3]).toBe(0);
    const nothing = await solve({ ...target, gram: new Float64Array(64) }, { pattern });
    expect(nothing.mask).toEqual(mask(target.weights.map(Math.abs), 8, { pattern, comparison: 'layer' }));
  });

  it('refuses a Gram matrix that is none', async () => {
    const target = problem(3, 4);
    const pattern = parsePattern('2:4');
    target.gram[5] = NaN;
    await expect(solve(target, { pattern })).rejects.toMatchObject({ code: 'GRAM_NOT_FINITE' });
    target.gram[5] = -1;
    await expect(solve(target, { pattern })).rejects.toMatchObject({ code: 'GRAM_NOT_POSITIVE' });
  });
});

describe('with a rounding', () => {
  const scheme: IntegerScheme = {
    ...{ kind: 'int', bits: 4, symmetric: false, scaleDType: 'f32' },
    granularity: { kind: 'group', size: 8 },
  };
  /** Groups of 8 with a step of 1/4 and a zero point of 1. */
  const rounding: ColumnRounding = {
    config: { method: 'quarters' },
    scheme: () => scheme,
    begin: async ({ name, rows, columns }) => ({
      span: 8,
      decide: async (_, block) => {
        block.scales.fill(0.25);
        block.zeros.fill(1);
        return { low: -8, high: 7 };
      },
      finish: (codes) => {
        const groups = rows * (columns / 8);
        const block = { codes, scales: new Float32Array(groups).fill(0.25), zeroPoints: new Int8Array(groups).fill(1) };
        const read = memoryBlock(block, scheme, rows, columns);
        return quantizedWeight({ name, shape: [rows, columns], scheme, read });
      },
    }),
  };

  it.each([
    ['50%', { kind: 'unstructured', sparsity: 0.5 }],
    ['2:4', parsePattern('2:4')],
  ] as const)('%s: what goes has the code of zero, what stays is quantized', async (_, pattern) => {
    const target = problem(20, 40);
    const { quantized, mask: kept, values } = await solve(target, { pattern, rounding, blockColumns: 20 });
    const { codes } = await quantized!.block();
    expect(kept.reduce((sum, bit) => sum + bit, 0)).toBe(400);
    kept.forEach((bit, i) => {
      if (bit === 0) expect(codes[i]).toBe(1);
    });
    expect(await quantized!.toF32()).toEqual(values.map((value) => value + 0));
    // Better than rounding what pruning alone leaves.
    const alone = (await solve(target, { pattern })).values.map((value) => {
      const code = Math.min(6, Math.max(-9, Math.round(4 * value)));
      return code / 4;
    });
    expect(outputError(target, values)).toBeLessThan(outputError(target, alone));
  });
});
