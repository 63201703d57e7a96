// Against the full decomposition: how near to the best error, which Eckart and Young give from the singular values.
import { afterAll, describe, expect, test } from 'vitest';
import { cpuDevice } from '../node/cpu-device.ts';
import type { RealMatrix } from './matrix.ts';
import { randomizedSvd } from './randomized-svd.ts';
import type { RandomizedSvd } from './randomized-svd.ts';
import { EPSILON, build, frobenius, largestDifference, orthogonalityError, uniform } from './measure.fixture.ts';

const device = cpuDevice({ threads: 2 });
afterAll(() => device.dispose());

const compiled = { plainWork: 24 ** 3 };

/** A matrix with these singular values, between two reflections. */
function planted<D extends 'f32' | 'f64'>(
  dtype: D,
  rows: number,
  columns: number,
  values: Float64Array,
): RealMatrix<D> {
  const mirror = (length: number, seed: number): ((i: number, j: number) => number) => {
    const w = Float64Array.from({ length }, uniform(seed));
    const factor = 2 / frobenius(w) ** 2;
    return (i, j) => (i === j ? 1 : 0) - factor * w[i] * w[j];
  };
  const [left, right] = [mirror(rows, 1), mirror(columns, 2)];
  const middle = build('f64', rows, columns, (i, j) => (j < values.length ? left(i, j) * values[j] : 0));
  const inner = Math.min(rows, columns);
  return build(dtype, rows, columns, (i, j) => {
    let sum = 0;
    for (let k = 0; k < inner; k++) sum += middle.data[i * columns + k] * right(j, k);
    return sum;
  });
}

function residual(matrix: RealMatrix, { rank, u, s, v }: RandomizedSvd): number {
  const [rows, columns] = matrix.shape;
  let sum = 0;
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      let value = matrix.data[i * columns + j]!;
      for (let k = 0; k < rank; k++) value -= u.data[i * rank + k]! * s[k]! * v.data[j * rank + k]!;
      sum += value * value;
    }
  }
  return Math.sqrt(sum);
}

const tail = (values: Float64Array, rank: number): number => frobenius(values.subarray(rank));
const power = (length: number, exponent: number): Float64Array =>
  Float64Array.from({ length }, (_, i) => (i + 1) ** exponent);

describe.each(['f32', 'f64'] as const)('randomized svd of %s', (dtype) => {
  test.each([
    [160, 120],
    [120, 160],
  ])('slowly falling spectrum, [%i, %i]: within 1 percent of the best error', async (rows, columns) => {
    const values = power(120, -0.5);
    const matrix = planted(dtype, rows, columns, values);
    const found = await randomizedSvd(matrix, device, { rank: 30, oversampling: 10, powerIterations: 3, ...compiled });
    expect([found.u.shape, found.s.length, found.v.shape]).toEqual([[rows, 30], 30, [columns, 30]]);
    const error = residual(matrix, found);
    expect(error).toBeLessThan(1.01 * tail(values, 30));
    expect(found.relativeError).toBeCloseTo(error / frobenius(matrix.data), 4);
    const unit = 200 * EPSILON[dtype];
    expect(orthogonalityError(found.u)).toBeLessThan(unit);
    expect(orthogonalityError(found.v)).toBeLessThan(unit);
    for (let i = 0; i < 30; i++) expect(found.s[i]!).toBeLessThanOrEqual(values[i] * (1 + unit));
    expect(found).toMatchObject({ rank: 30, toleranceReached: true, rescues: 0 });
  });

  test('more power iterations come nearer; none is the plain sketch', async () => {
    const values = power(100, -0.5);
    const matrix = planted(dtype, 100, 100, values);
    const errors: number[] = [];
    for (const powerIterations of [0, 1, 2, 4]) {
      const found = await randomizedSvd(matrix, device, { rank: 20, oversampling: 5, powerIterations, ...compiled });
      errors.push(found.relativeError);
    }
    for (let i = 1; i < errors.length; i++) expect(errors[i]).toBeLessThan(errors[i - 1]!);
    expect(errors[3]! * frobenius(values)).toBeLessThan(1.01 * tail(values, 20));
  });

  test('steeply falling spectrum: rounding drowns directions between steps, not the result', async () => {
    const values = Float64Array.from({ length: 80 }, (_, i) => 2 ** -i);
    const matrix = planted(dtype, 90, 80, values);
    const found = await randomizedSvd(matrix, device, { rank: 12, oversampling: 8, powerIterations: 4, ...compiled });
    expect(residual(matrix, found)).toBeLessThan(1.01 * tail(values, 12) + 100 * EPSILON[dtype]);
    expect(largestDifference(found.s, values.subarray(0, 12))).toBeLessThan(100 * EPSILON[dtype]);
    expect(orthogonalityError(found.u)).toBeLessThan(200 * EPSILON[dtype]);
  });

  test('exact when the rank is that of the matrix', async () => {
    const matrix = planted(dtype, 70, 60, Float64Array.of(5, 4, 4, 3));
    const found = await randomizedSvd(matrix, device, { rank: 4, seed: 3, ...compiled });
    expect(residual(matrix, found)).toBeLessThan(200 * EPSILON[dtype] * 8);
    expect(largestDifference(found.s, [5, 4, 4, 3])).toBeLessThan(200 * EPSILON[dtype]);
  });

  test('a rank beyond that of the matrix is filled with singular values of about zero', async () => {
    const matrix = planted(dtype, 50, 40, Float64Array.of(2, 1));
    const found = await randomizedSvd(matrix, device, { rank: 6, ...compiled });
    expect(found.s[2]!).toBeLessThan(100 * EPSILON[dtype]);
    expect(orthogonalityError(found.u)).toBeLessThan(200 * EPSILON[dtype]);
    expect(orthogonalityError(found.v)).toBeLessThan(200 * EPSILON[dtype]);
  });

  test('the full rank', async () => {
    const matrix = planted(dtype, 33, 31, power(31, -1));
    const found = await randomizedSvd(matrix, device, { rank: 31 });
    expect(residual(matrix, found)).toBeLessThan(200 * EPSILON[dtype]);
  });

  test('zero, by rank and by tolerance', async () => {
    const zero = build(dtype, 20, 10, () => 0);
    const byRank = await randomizedSvd(zero, device, { rank: 3 });
    expect(byRank).toMatchObject({ rank: 3, relativeError: 0 });
    expect(orthogonalityError(byRank.u)).toBeLessThan(20 * EPSILON[dtype]);
    const byTolerance = await randomizedSvd(zero, device, { tolerance: 0.1 });
    expect(byTolerance).toMatchObject({ rank: 1, relativeError: 0, toleranceReached: true });
  });

  test.each([0.5, 0.2, 0.05, 0.01])('tolerance %d: the smallest rank that meets it, nearly', async (tolerance) => {
    const values = power(96, -1);
    const matrix = planted(dtype, 110, 96, values);
    const found = await randomizedSvd(matrix, device, { tolerance, blockSize: 12, powerIterations: 3, ...compiled });
    const norm = frobenius(matrix.data);
    expect(found.toleranceReached).toBe(true);
    expect(residual(matrix, found)).toBeLessThanOrEqual(tolerance * norm * 1.0001);
    let best = 1;
    while (tail(values, best) > tolerance * norm) best++;
    expect(found.rank).toBeGreaterThanOrEqual(best);
    expect(found.rank).toBeLessThanOrEqual(Math.ceil(1.1 * best) + 1);
    expect(orthogonalityError(found.u)).toBeLessThan(200 * EPSILON[dtype]);
  });

  test('a tolerance out of reach is reported', async () => {
    const matrix = planted(dtype, 60, 60, power(60, -0.2));
    const found = await randomizedSvd(matrix, device, { tolerance: 0.01, maxRank: 20, blockSize: 8 });
    expect(found).toMatchObject({ rank: 20, toleranceReached: false });
    expect(found.relativeError).toBeGreaterThan(0.01);
    expect(residual(matrix, found)).toBeCloseTo(found.relativeError * frobenius(matrix.data), 3);
  });

  test('values near both ends of the range', async () => {
    for (const scale of dtype === 'f32' ? [2 ** 120, 2 ** -110] : [2 ** 1010, 2 ** -1000]) {
      const matrix = planted(dtype, 30, 20, Float64Array.of(4 * scale, 2 * scale, scale));
      const { s } = await randomizedSvd(matrix, device, { rank: 3 });
      const rescaled = Float64Array.from(s, (value) => value / scale);
      expect(largestDifference(rescaled, [4, 2, 1])).toBeLessThan(200 * EPSILON[dtype]);
    }
  });
});

test('the same seed gives the same bits, on one thread and on two; another seed does not', async () => {
  const one = cpuDevice({ threads: 1 });
  const matrix = planted('f32', 130, 100, power(100, -0.5));
  const options = { rank: 20, seed: 11, ...compiled };
  const a = await randomizedSvd(matrix, device, options);
  const b = await randomizedSvd(matrix, one, options);
  await one.dispose();
  expect(a).toEqual(b);
  const other = await randomizedSvd(matrix, device, { ...options, seed: 12 });
  expect(other.u.data).not.toEqual(a.u.data);
});

test('the matrix is not changed', async () => {
  const matrix = planted('f32', 40, 30, power(30, -1));
  const before = matrix.data.slice();
  await randomizedSvd(matrix, device, { tolerance: 0.1, blockSize: 5 });
  expect(matrix.data).toEqual(before);
});

test.each([
  [{}, 'either rank or tolerance'],
  [{ rank: 2, tolerance: 0.1 }, 'either rank or tolerance'],
  [{ rank: 0 }, 'rank'],
  [{ rank: 1.5 }, 'rank'],
  [{ rank: 7 }, 'rank: must be at most 5, got 7'],
  [{ tolerance: 1 }, 'tolerance'],
  [{ tolerance: -0.1 }, 'tolerance'],
  [{ tolerance: NaN }, 'tolerance'],
  [{ tolerance: 0.1, maxRank: 6 }, 'maxRank: must be at most 5'],
  [{ tolerance: 0.1, oversampling: 3 }, 'oversampling goes with rank'],
  [{ rank: 2, blockSize: 3 }, 'go with tolerance'],
  [{ rank: 2, powerIterations: -1 }, 'powerIterations'],
  [{ rank: 2, powerIteration: 1 }, 'did you mean powerIterations'],
  [{ rank: 9, seed: -1 }, 'seed: must be at least 0'],
  [{ rank: 2, seed: -1 }, 'seed'],
])('options %j are refused', async (options, message) => {
  const refused = randomizedSvd(
    build('f32', 8, 5, () => 1),
    device,
    options,
  );
  await expect(refused).rejects.toMatchObject({ code: 'RANDOMIZED_SVD_OPTIONS' });
  await expect(refused).rejects.toThrow(message);
});

test('a NaN is refused before any work, and the signal stops', async () => {
  const bad = build('f32', 8, 5, (i, j) => (i === 3 && j === 2 ? NaN : 1));
  await expect(randomizedSvd(bad, device, { rank: 1 })).rejects.toMatchObject({
    code: 'LINALG_NOT_FINITE',
    details: { row: 3, column: 2 },
  });
  const signal = AbortSignal.abort();
  const stopped = randomizedSvd(
    build('f32', 8, 5, () => 1),
    device,
    { rank: 1, signal },
  );
  await expect(stopped).rejects.toMatchObject({ code: 'STOPPED' });
});
