import { afterAll, describe, expect, it } from 'vitest';
import { createKernelPool } from '../node/kernel-pool.ts';
import { sweepReference, type SweepBlock, type SweepSums } from './sweep-reference.ts';
import { addOriginals, allocateBlock, sweep, type PoolBlock } from './sweep.ts';

const pool = createKernelPool({ threads: 2 });
afterAll(() => pool.dispose());

/** Deterministic values in (-1, 1). */
function values(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** A lower triangular coupling. */
function lower(n: number, seed: number): Float32Array {
  const u = values(n * n, seed);
  for (let i = 0; i < n; i++) {
    u.fill(0, i * n + i, (i + 1) * n);
  }
  return u;
}

interface Case {
  rows: number;
  columns: number;
  quantize: boolean;
  asymmetric?: boolean;
  perColumn?: boolean;
  pattern?: { pruned: number; span: number };
  givenMask?: boolean;
}

function make({ rows, columns, quantize, asymmetric, perColumn, pattern, givenMask }: Case): SweepBlock {
  return {
    weights: values(rows * columns, 1),
    originals: values(rows * columns, 6),
    rows,
    columns,
    coupling: lower(columns, 2),
    diagonal: values(columns, 7).map((x) => 0.5 + Math.abs(x)),
    errors: new Float32Array(rows * columns),
    ...(quantize && {
      quantizer: {
        scales: values(perColumn ? rows * columns : rows, 3).map((x) => 0.05 + Math.abs(x) / 8),
        zeros: new Float32Array(perColumn ? rows * columns : rows).map((_, i) => (asymmetric ? (i % 7) - 3 : 0)),
        low: -8,
        high: 7,
        codes: new Int8Array(rows * columns),
      },
    }),
    ...((pattern || givenMask) && {
      mask: Uint8Array.from(values(rows * columns, 4), (x) => (givenMask && x > 0 ? 1 : 0)),
    }),
    ...(pattern && { pattern }),
  };
}

async function onPool(block: SweepBlock, first: number, last: number): Promise<{ sums: SweepSums; result: PoolBlock }> {
  const target = allocateBlock(pool, block.rows, block.columns);
  target.weights.set(block.weights);
  target.originals.set(block.originals);
  target.coupling.set(block.coupling);
  target.diagonal.set(block.diagonal);
  if (block.quantizer) {
    target.scales.set(block.quantizer.scales);
    target.zeros.set(block.quantizer.zeros);
  }
  if (block.mask) target.mask.set(block.mask);
  const rule = {
    ...(block.quantizer && {
      quantize: {
        low: block.quantizer.low,
        high: block.quantizer.high,
        perColumn: block.quantizer.scales.length > block.rows,
      },
    }),
    masked: block.mask !== undefined,
    ...(block.pattern && { pattern: block.pattern }),
  };
  return { sums: await sweep(pool, target, rule, first, last), result: target };
}

describe('sweep', () => {
  const shapes = [
    { rows: 1, columns: 1 },
    { rows: 7, columns: 5 },
    { rows: 16, columns: 8 },
    { rows: 33, columns: 31 },
    { rows: 70, columns: 128 },
    { rows: 321, columns: 6 },
  ];
  const kinds: Omit<Case, 'rows' | 'columns'>[] = [
    { quantize: true },
    { quantize: true, asymmetric: true },
    { quantize: true, asymmetric: true, perColumn: true },
    { quantize: false, givenMask: true },
    { quantize: false, pattern: { pruned: 2, span: 4 } },
    { quantize: true, asymmetric: true, pattern: { pruned: 1, span: 2 } },
  ];
  it.each(shapes.flatMap((shape) => kinds.map((kind) => ({ ...shape, ...kind }))))(
    'equals the reference: %j',
    async (c) => {
      const expected = make(c);
      const { sums, result } = await onPool(make(c), 0, c.columns);
      const expectedSums = sweepReference(expected, 0, c.columns);
      expect(Buffer.from(result.weights.slice().buffer).equals(Buffer.from(expected.weights.buffer))).toBe(true);
      expect(result.errors.slice()).toEqual(expected.errors);
      if (expected.quantizer) expect(result.codes.slice()).toEqual(expected.quantizer.codes);
      if (expected.mask) expect(result.mask.slice()).toEqual(expected.mask);
      // The same f64 terms in another order.
      for (const name of ['loss', 'squaredDifference', 'squares'] as const) {
        const difference = Math.abs(sums[name] - expectedSums[name]);
        expect(difference).toBeLessThanOrEqual(c.rows * c.columns * 2 ** -52 * expectedSums[name]);
      }
      result.free();
    },
  );

  it('sweeps a block in two parts as in one', async () => {
    const c = { rows: 20, columns: 12, quantize: true };
    const { result } = await onPool(make(c), 0, 12);
    const { result: parts } = await onPool(make(c), 0, 5);
    await sweep(pool, parts, { quantize: { low: -8, high: 7 }, masked: false }, 5, 12);
    expect(parts.weights.slice()).toEqual(result.weights.slice());
    result.free();
    parts.free();
  });

  it('adds the weights to what errors made of them', async () => {
    const block = allocateBlock(pool, 70, 5);
    const [given, originals] = [values(350, 1), values(350, 2)];
    block.weights.set(given);
    block.originals.set(originals);
    await addOriginals(pool, block, 3);
    block.weights.forEach((value, i) => expect(value).toBe(i < 210 ? Math.fround(given[i] + originals[i]) : given[i]));
    block.free();
  });

  it('leaves less output error than rounding alone', () => {
    // H⁻¹ = UᵀU, U_ik = -coupling[k, i], U_kk = 1 / diagonal[k]: the error of a row e is e H eᵀ = |U⁻ᵀ e|².
    const c = { rows: 24, columns: 16, quantize: true };
    const block = { ...make(c), originals: values(24 * 16, 1) };
    sweepReference(block, 0, c.columns);
    const plain = { ...make(c), coupling: new Float32Array(16 * 16) };
    sweepReference(plain, 0, c.columns);
    const { originals, coupling, diagonal } = block;
    const outputError = (rounded: Float32Array): number => {
      let total = 0;
      for (let row = 0; row < c.rows; row++) {
        // Solve Uᵀ x = e forward.
        const x: number[] = [];
        for (let k = 0; k < c.columns; k++) {
          let sum = rounded[k * c.rows + row] - originals[k * c.rows + row];
          for (let i = 0; i < k; i++) sum += coupling[k * c.columns + i] * x[i];
          x.push(sum * diagonal[k]);
          total += x[k] ** 2;
        }
      }
      return total;
    };
    expect(outputError(block.weights)).toBeLessThan(outputError(plain.weights));
  });
});
