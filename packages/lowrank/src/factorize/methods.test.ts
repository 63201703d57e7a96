// The mathematics of the methods on matrices: what each promises to be the best at.
import { cpuDevice } from '@pith/tensor-core/node';
import { plainProduct } from '../testing/products.fixture.ts';
import { randomStream, svd } from '@pith/tensor-core';
import type { Device, RealMatrix } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { columnScales, scaleColumns } from '../asvd/column-scales.ts';
import { projectOnto } from '../factors/project.ts';
import { singularBasis } from '../svd/singular-basis.ts';
import { whiten, whitening } from '../whitened-svd/whitening.ts';

let device: Device;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
});
afterAll(() => device.dispose());

const made = (rows: number, columns: number, name: string, rank = Math.min(rows, columns)): RealMatrix<'f32'> => {
  const random = randomStream(3, name);
  const draw = (length: number) => Float64Array.from({ length }, () => random.normal());
  const data = Float32Array.from(plainProduct(draw(rows * rank), draw(rank * columns), rows, rank, columns));
  return { dtype: 'f32', shape: [rows, columns], data };
};
const norm = (values: ArrayLike<number>) =>
  Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0));
const difference = (a: ArrayLike<number>, b: ArrayLike<number>) => Float64Array.from(a, (value, i) => value - b[i]);

/** Relative error of outputs X W^T, of an approximation by rank k under a method. */
async function outputError(
  matrix: RealMatrix<'f32'>,
  inputs: RealMatrix<'f32'>,
  rank: number,
  weighted: (gram: Float64Array) => Promise<RealMatrix<'f32'>>,
) {
  const [rows, columns] = matrix.shape;
  const gram = gramOf(inputs);
  const { u } = await singularBasis(await weighted(gram), device, { solver: 'exact', seed: 0 });
  const { left, right } = await projectOnto(matrix, u, rank, device);
  const approximation = plainProduct(left, right, rows, rank, columns);
  const of = (values: ArrayLike<number>) => {
    const transposed = Float64Array.from(
      { length: rows * columns },
      (_, i) => values[(i % rows) * columns + Math.floor(i / rows)],
    );
    return plainProduct(inputs.data, transposed, inputs.shape[0], columns, rows);
  };
  return norm(of(difference(matrix.data, approximation))) / norm(of(matrix.data));
}

function gramOf({ data, shape: [tokens, columns] }: RealMatrix<'f32'>): Float64Array {
  const gram = new Float64Array(columns * columns);
  for (let t = 0; t < tokens; t++) {
    for (let i = 0; i < columns; i++) {
      for (let j = 0; j < columns; j++) gram[i * columns + j] += data[t * columns + i] * data[t * columns + j];
    }
  }
  return gram;
}

/** Inputs whose channels differ in size by powers of ten. */
const uneven = (tokens: number, columns: number): RealMatrix<'f32'> => {
  const inputs = made(tokens, columns, 'inputs');
  return { ...inputs, data: inputs.data.map((value, i) => value * 10 ** (((i % columns) % 5) - 3)) };
};

const shapes: [number, number][] = [
  [20, 12],
  [12, 20],
  [16, 16],
  [7, 3],
  [3, 31],
  [33, 5],
];

describe.each(shapes)('a matrix [%i, %i]', (rows, columns) => {
  const matrix = made(rows, columns, 'weight');

  it('is approximated by plain SVD as well as any rank allows', async () => {
    const { u, values, relativeError } = await singularBasis(matrix, device, { solver: 'exact', seed: 0 });
    const smaller = Math.min(rows, columns);
    for (const rank of new Set([1, Math.ceil(smaller / 2), smaller])) {
      const { left, right } = await projectOnto(matrix, u, rank, device);
      const error = norm(difference(matrix.data, plainProduct(left, right, rows, rank, columns)));
      const best = norm(values.subarray(rank));
      // Roundings of f32 in the factors, each product of `rank` of them.
      const rounding = 4 * Math.sqrt(rank) * 2 ** -24 * norm(matrix.data);
      expect(Math.abs(error - best)).toBeLessThan(rounding + 1e-6 * best);
      expect(Math.abs(relativeError(rank) * norm(matrix.data) - best)).toBeLessThan(rounding + 1e-6 * best);
    }
  });

  it('is approximated best in its outputs where inputs are whitened', async () => {
    const inputs = uneven(60, columns);
    const rank = Math.max(1, Math.floor(Math.min(rows, columns) / 2));
    const white = await outputError(matrix, inputs, rank, async (gram) => {
      const made = await whitening(gram, columns, device);
      expect(made.rescue).toBeUndefined();
      return (await whiten(matrix, made, device)).matrix;
    });
    const scaled = await outputError(matrix, inputs, rank, async () => {
      const magnitude = Float64Array.from({ length: columns }, (_, j) => {
        let sum = 0;
        for (let t = 0; t < 60; t++) sum += Math.abs(inputs.data[t * columns + j]);
        return sum / 60;
      });
      return { ...matrix, data: scaleColumns(matrix.data, columnScales(magnitude, 0.5)) };
    });
    const plain = await outputError(matrix, inputs, rank, () => Promise.resolve(matrix));
    expect(white).toBeLessThanOrEqual(scaled * (1 + 1e-6));
    expect(white).toBeLessThanOrEqual(plain * (1 + 1e-6));
    // And as well as any approximation can be: by the singular values of the outputs themselves.
    const transposed = Float64Array.from(
      { length: rows * columns },
      (_, i) => matrix.data[(i % rows) * columns + Math.floor(i / rows)],
    );
    const outputs = Float32Array.from(plainProduct(inputs.data, transposed, 60, columns, rows));
    const { s } = await svd({ dtype: 'f32', shape: [60, rows], data: outputs }, device);
    expect(white).toBeCloseTo(norm(s.subarray(rank)) / norm(s), 5);
  });
});

describe('rank-deficient input', () => {
  it('of rank 3 is exact at rank 3', async () => {
    const matrix = made(18, 11, 'deficient', 3);
    const { u } = await singularBasis(matrix, device, { solver: 'exact', seed: 0 });
    const { left, right } = await projectOnto(matrix, u, 3, device);
    const error = norm(difference(matrix.data, plainProduct(left, right, 18, 3, 11)));
    expect(error / norm(matrix.data)).toBeLessThan(1e-6);
  });

  it('of zeros gives zeros', async () => {
    const matrix = { dtype: 'f32' as const, shape: [6, 4], data: new Float32Array(24) };
    const { u, relativeError } = await singularBasis(matrix, device, { solver: 'exact', seed: 0 });
    const { left, right } = await projectOnto(matrix, u, 2, device);
    expect([...plainProduct(left, right, 6, 2, 4)]).toEqual(new Array(24).fill(0));
    expect(relativeError(2)).toBe(0);
  });

  it('in the inputs is whitened by eigenvalues, exactly where inputs go', async () => {
    const matrix = made(15, 10, 'weight');
    const inputs = made(40, 10, 'few directions', 4);
    inputs.data.forEach((_, i) => {
      if (i % 10 === 7) inputs.data[i] = 0; // a dead channel
    });
    const gram = gramOf(inputs);
    const white = await whitening(gram, 10, device);
    expect(white.rescue).toMatchObject({ zeroEigenvalues: 6 });
    const { matrix: weighted } = await whiten(matrix, white, device);
    const { u } = await singularBasis(weighted, device, { solver: 'exact', seed: 0 });
    const error = await outputError(matrix, inputs, 4, () => Promise.resolve(weighted));
    expect(error).toBeLessThan(1e-5);
    expect(u.shape).toEqual([15, 10]);
  });

  it('inputs of nothing but zeros leave the weight as it is, and NaN is refused', async () => {
    const white = await whitening(new Float64Array(16), 4, device);
    expect(white.rescue).toMatchObject({ zeroEigenvalues: 4, largestEigenvalue: 0 });
    const matrix = made(6, 4, 'weight');
    const { matrix: weighted, scale } = await whiten(matrix, white, device);
    expect(norm(weighted.data) / scale).toBeCloseTo(norm(matrix.data), 5);
    const broken = Float64Array.from({ length: 16 }, (_, i) => (i === 5 ? NaN : 1));
    await expect(whitening(broken, 4, device)).rejects.toMatchObject({ code: 'LINALG_NOT_FINITE' });
  });
});

describe('columnScales', () => {
  it('are powers of the magnitude, relative to the largest', () => {
    expect([...columnScales([4, 1, 0], 0.5)]).toEqual([1, 0.5, 0]);
    expect([...columnScales([0, 0], 0.5)]).toEqual([1, 1]);
  });
});

describe('randomized', () => {
  it('comes close to exact, and says its error', async () => {
    const matrix = made(90, 70, 'weight', 70);
    const rank = 20;
    const exact = await singularBasis(matrix, device, { solver: 'exact', seed: 0 });
    const random = await singularBasis(matrix, device, { solver: 'randomized', rank, seed: 5 });
    const again = await singularBasis(matrix, device, { solver: 'randomized', rank, seed: 5 });
    expect(random.values).toHaveLength(rank);
    expect(random.relativeError(rank)).toBeLessThan(1.02 * exact.relativeError(rank));
    expect(random.relativeError(rank)).toBeGreaterThan(exact.relativeError(rank) * (1 - 1e-5));
    expect(again.u.data).toEqual(random.u.data);
  });
});
