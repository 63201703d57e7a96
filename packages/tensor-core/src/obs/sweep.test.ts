import { afterAll, describe, expect, it } from 'vitest';
import { createKernelPool } from '../node/kernel-pool.ts';
import { sweepReference, type SweepBlock } from './sweep-reference.ts';
import { sweep, type PoolBlock } from './sweep.ts';

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

/** An upper triangular factor with a positive diagonal. */
function upper(n: number, seed: number): Float32Array {
  const u = values(n * n, seed);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) u[i * n + j] = 0;
    u[i * n + i] = 0.5 + Math.abs(u[i * n + i]);
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
    rows,
    columns,
    factor: upper(columns, 2),
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

async function onPool(block: SweepBlock, first: number, last: number): Promise<{ loss: number; result: PoolBlock }> {
  const target = await import('./sweep.ts').then(({ allocateBlock }) => allocateBlock(pool, block.rows, block.columns));
  target.weights.set(block.weights);
  target.factor.set(block.factor);
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
  return { loss: await sweep(pool, target, rule, first, last), result: target };
}

describe('sweep', () => {
  const shapes = [
    { rows: 1, columns: 1 },
    { rows: 7, columns: 5 },
    { rows: 16, columns: 8 },
    { rows: 33, columns: 31 },
    { rows: 70, columns: 128 },
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
      const { loss, result } = await onPool(make(c), 0, c.columns);
      const expectedLoss = sweepReference(expected, 0, c.columns);
      expect(Buffer.from(result.weights.slice().buffer).equals(Buffer.from(expected.weights.buffer))).toBe(true);
      expect(result.errors.slice()).toEqual(expected.errors);
      if (expected.quantizer) expect(result.codes.slice()).toEqual(expected.quantizer.codes);
      if (expected.mask) expect(result.mask.slice()).toEqual(expected.mask);
      // The same f64 terms in another order.
      expect(Math.abs(loss - expectedLoss)).toBeLessThanOrEqual(c.rows * c.columns * 2 ** -52 * Math.abs(expectedLoss));
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

  it('leaves less output error than rounding alone', () => {
    // H = (UᵀU)⁻¹: the error of a row e is eᵀHe = |U⁻ᵀe|².
    const c = { rows: 24, columns: 16, quantize: true };
    const block = make(c);
    const original = block.weights.slice();
    sweepReference(block, 0, c.columns);
    const plain = make(c);
    sweepReference({ ...plain, factor: identity(c.columns) }, 0, c.columns);
    const outputError = (rounded: Float32Array): number => {
      let total = 0;
      for (let row = 0; row < c.rows; row++) {
        const e = Array.from({ length: c.columns }, (_, j) => rounded[j * c.rows + row] - original[j * c.rows + row]);
        // Solve Uᵀ x = e forward.
        const x: number[] = [];
        for (let j = 0; j < c.columns; j++) {
          let sum = e[j];
          for (let k = 0; k < j; k++) sum -= block.factor[k * c.columns + j] * x[k];
          x.push(sum / block.factor[j * c.columns + j]);
          total += x[j] ** 2;
        }
      }
      return total;
    };
    expect(outputError(block.weights)).toBeLessThan(outputError(plain.weights));
  });
});

function identity(n: number): Float32Array {
  return Float32Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0));
}
