import { afterAll, describe, expect, it } from 'vitest';
import { cpuDevice } from '../node/cpu-device.ts';
import { createKernelPool } from '../node/kernel-pool.ts';
import { sweepReference } from './sweep-reference.ts';
import { blockColumnsFor, columnSolveBytes, solveColumns, type ColumnRule } from './solve.ts';
import { transposeMatrix } from './transpose.ts';

const pool = createKernelPool({ threads: 2 });
const device = cpuDevice({ threads: 1 });
afterAll(async () => {
  await pool.dispose();
  await device.dispose();
});

function values(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Small below the diagonal: errors neither vanish nor grow without bound. */
function factorOf(n: number) {
  const coupling = values(n * n, 9);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) coupling[i * n + j] = j < i ? coupling[i * n + j] / n : 0;
  }
  return { coupling, pivots: values(n, 8).map((x) => 1 + x / 4) };
}

/** Symmetric 4-bit groups whose scale comes from the columns as they are when the group begins. */
function groups(span: number, rows: number): ColumnRule {
  const scales = new Float32Array(rows);
  return {
    span,
    async decide({ weights: given, part }, block) {
      if (part.from === 0) {
        const weights = await given();
        scales.fill(0);
        for (let j = 0; j < span; j++) {
          for (let r = 0; r < rows; r++) scales[r] = Math.max(scales[r], Math.abs(weights[j * rows + r]) / 7.5);
        }
      }
      block.scales.set(scales);
      block.zeros.fill(0);
      return { masked: false, quantize: { low: -8, high: 7 } };
    },
  };
}

/** The same without blocks: every error reaches every later column at once. */
function whole(weights: Float32Array, rows: number, columns: number, span: number) {
  const w = new Float32Array(weights.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) w[c * rows + r] = weights[r * columns + c];
  const quantizer = {
    scales: new Float32Array(rows),
    zeros: new Float32Array(rows),
    low: -8,
    high: 7,
    codes: new Int8Array(w.length),
  };
  const { coupling, pivots: diagonal } = factorOf(columns);
  const errors = new Float32Array(w.length);
  const block = { weights: w, originals: w.slice(), rows, columns, coupling, diagonal, quantizer, errors };
  let loss = 0;
  for (let first = 0; first < columns; first += span) {
    quantizer.scales.fill(0);
    for (let j = first; j < first + span; j++) {
      for (let r = 0; r < rows; r++)
        quantizer.scales[r] = Math.max(quantizer.scales[r], Math.abs(w[j * rows + r]) / 7.5);
    }
    loss += sweepReference(block, first, first + span).loss;
  }
  return { loss, codes: quantizer.codes };
}

describe('solveColumns', () => {
  it.each([
    { rows: 5, columns: 24, span: 4, blockColumns: 8 },
    { rows: 33, columns: 40, span: 8, blockColumns: 8 },
    { rows: 17, columns: 43, span: 43, blockColumns: 43 },
    { rows: 17, columns: 44, span: 44, blockColumns: 11 },
    { rows: 20, columns: 96, span: 48, blockColumns: 16 },
    // Several levels of halving: over many spans, over spans of several blocks, and under one span.
    { rows: 3, columns: 1100, span: 50, blockColumns: 100 },
    { rows: 3, columns: 1200, span: 600, blockColumns: 100 },
    { rows: 3, columns: 1100, span: 1100, blockColumns: 128 },
  ])('gives the codes of the unblocked solver: %j', async ({ rows, columns, span, blockColumns }) => {
    const weights = values(rows * columns, 5);
    const before = weights.slice();
    const options = { weights, rows, columns, factor: factorOf(columns), device, pool, blockColumns };
    const solution = await solveColumns({ ...options, rule: groups(span, rows) });
    const expected = whole(weights, rows, columns, span);
    expect(weights).toEqual(before);
    // Sums of f32 products in another order: a weight within rounding of a tie may get the neighbouring code, and then
    // moves what follows. Such rows are rare; all others agree.
    let different = 0;
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        if (solution.codes[r * columns + c] !== expected.codes[c * rows + r]) {
          different++;
          break;
        }
      }
    }
    expect(different).toBeLessThanOrEqual(Math.ceil(rows / 20));
    expect(Math.abs(solution.loss / expected.loss - 1)).toBeLessThan(0.02);
  });

  it('does not depend on the number of threads', async () => {
    const [rows, columns] = [600, 32];
    const options = { weights: values(rows * columns, 5), rows, columns, factor: factorOf(columns), device };
    const serial = createKernelPool({ threads: 0 });
    const a = await solveColumns({ ...options, pool, rule: groups(8, rows) });
    const b = await solveColumns({ ...options, pool: serial, rule: groups(8, rows) });
    await serial.dispose();
    expect(a.values).toEqual(b.values);
    expect(a.loss).toBe(b.loss);
  });

  it.each([
    { rows: 600, columns: 32, span: 8, blockColumns: 8 },
    { rows: 21, columns: 48, span: 8, blockColumns: 16, reordered: true },
    { rows: 3, columns: 1200, span: 600, blockColumns: 100 },
  ])('is the same where the memory of kernels is lent to the device: %j', async ({ reordered, ...shape }) => {
    const { rows, columns, span } = shape;
    const order = Int32Array.from({ length: columns }, (_, i) => (i * 5) % columns);
    const weights = values(rows * columns, 5);
    const options = { ...shape, weights, factor: factorOf(columns), device, ...(reordered && { order }) };
    const expected = await solveColumns({ ...options, pool, rule: groups(span, rows) });
    const masked: ColumnRule = { span: 4, decide: () => ({ masked: true, pattern: { pruned: 2, span: 4 } }) };
    await pool.near(columnSolveBytes(rows, columns), async (near) => {
      expect(near).not.toBe(pool);
      // Twice: what the first one leaves in the memory does not matter.
      for (let round = 0; round < 2; round++) {
        const found = await solveColumns({ ...options, pool: near, rule: groups(span, rows) });
        expect([found.values, found.codes, found.loss]).toEqual([expected.values, expected.codes, expected.loss]);
      }
      const pruned = await solveColumns({ ...options, blockColumns: 4, pool: near, rule: masked });
      const same = await solveColumns({ ...options, blockColumns: 4, pool, rule: masked });
      expect([pruned.values, pruned.mask, pruned.codes]).toEqual([same.values, same.mask, same.codes]);
    });
  });

  it('takes columns in another order, and weights that lie transposed', async () => {
    const [rows, columns] = [21, 48];
    const order = Int32Array.from({ length: columns }, (_, i) => (i * 5) % columns);
    const weights = values(rows * columns, 5);
    const shared = { rows, columns, factor: factorOf(columns), device, pool };
    const moved = Float32Array.from(weights, (_, at) => weights[at - (at % columns) + order[at % columns]]);
    const expected = await solveColumns({ ...shared, weights: moved, rule: groups(8, rows) });
    for (const transposed of [false, true]) {
      const given = transposed ? transposeMatrix(weights, rows, columns) : weights;
      const before = given.slice();
      const solution = await solveColumns({ ...shared, weights: given, transposed, order, rule: groups(8, rows) });
      expect(given).toEqual(before);
      // Each access makes an array.
      const [found, codes, movedValues, movedCodes] = [solution, solution, expected, expected].map((one, i) =>
        i % 2 === 0 ? one.values : one.codes,
      );
      const back = (array: ArrayLike<number>, at: number) => array[at - (at % columns) + order[at % columns]];
      for (let at = 0; at < weights.length; at++) {
        expect([back(found, at), back(codes, at)]).toEqual([movedValues[at], movedCodes[at]]);
      }
      expect(solution.mask.every((keep) => keep === 1)).toBe(true);
    }
  });

  it('prunes 2 of 4 and keeps the mask', async () => {
    const [rows, columns] = [18, 32];
    const weights = values(rows * columns, 5);
    const rule: ColumnRule = { span: 4, decide: () => ({ masked: true, pattern: { pruned: 2, span: 4 } }) };
    const { values: pruned, mask } = await solveColumns({
      weights,
      rows,
      columns,
      factor: factorOf(columns),
      device,
      pool,
      rule,
    });
    for (let i = 0; i < pruned.length; i += 4) {
      expect(mask.subarray(i, i + 4).reduce((a, b) => a + b, 0)).toBe(2);
      for (let j = i; j < i + 4; j++) expect(pruned[j] === 0).toBe(mask[j] === 0);
    }
  });
});

describe('blockColumnsFor', () => {
  it.each([
    [4, 128, 128],
    [128, 128, 128],
    [43, 128, 86],
    [256, 128, 128],
    [172, 128, 86],
    [131, 128, 1],
  ])('span %i, limit %i: %i', (span, limit, expected) => {
    expect(blockColumnsFor(span, limit)).toBe(expected);
  });
});
