// Reconstruction and orthogonality in units of eps and dimension; Jacobi's method beside; small blocks reach the blocked paths.
import { afterAll, describe, expect, test } from 'vitest';
import { cpuDevice } from '../node/cpu-device.ts';
import { jacobiSingularValues } from './jacobi-svd-reference.ts';
import type { RealMatrix } from './matrix.ts';
import { symmetricEigen, symmetricEigenvalues } from './symmetric-eigen.ts';
import type { SymmetricEigenOptions } from './symmetric-eigen.ts';
import {
  EPSILON,
  build,
  largestDifference,
  orthogonalityError,
  reconstructionError,
  uniform,
} from './measure.fixture.ts';

const device = cpuDevice({ threads: 2 });
afterAll(() => device.dispose());

// Panels and leaves of a few columns; products beyond 32^3 are compiled.
const small: SymmetricEigenOptions = { panel: 8, leafSize: 5, plainWork: 32 ** 3 };

function symmetric<D extends 'f32' | 'f64'>(
  dtype: D,
  n: number,
  element: (i: number, j: number) => number,
): RealMatrix<D> {
  return build(dtype, n, n, (i, j) => element(Math.max(i, j), Math.min(i, j)));
}

function noise(seed: number): (i: number, j: number) => number {
  const random = uniform(seed);
  const known = new Map<string, number>();
  return (i, j) => {
    const key = `${i},${j}`;
    if (!known.has(key)) known.set(key, random());
    return known.get(key)!;
  };
}

async function check(matrix: RealMatrix, options: SymmetricEigenOptions): Promise<void> {
  const { dtype, shape } = matrix;
  const [n] = shape;
  const { values, vectors } = await symmetricEigen(matrix, device, options);
  const largest = Math.max(Math.abs(values[0]!), Math.abs(values[n - 1]!));
  const unit = 4 * (n + 4) * EPSILON[dtype];
  expect(orthogonalityError(vectors)).toBeLessThanOrEqual(unit);
  expect(reconstructionError(matrix, vectors, values, vectors)).toBeLessThanOrEqual(unit * largest);
  for (let i = 1; i < n; i++) expect(values[i]!).toBeLessThanOrEqual(values[i - 1]!);
  // Singular values of a symmetric matrix are the magnitudes of its eigenvalues.
  const magnitudes = Float64Array.from(values, Math.abs).sort().reverse();
  const expected = jacobiSingularValues(matrix.data, n, n);
  expect(largestDifference(magnitudes, expected)).toBeLessThanOrEqual(unit * largest);
  const alone = await symmetricEigenvalues(matrix, device, options);
  expect(largestDifference(alone, values)).toBeLessThanOrEqual(unit * largest);
}

describe.each(['f32', 'f64'] as const)('symmetric eigendecomposition of %s', (dtype) => {
  test.each([1, 2, 3, 7, 31, 33, 129])('of %i columns, random', (n) => check(symmetric(dtype, n, noise(n)), small));

  test('with the blocks that it chooses itself', () => check(symmetric(dtype, 150, noise(5)), {}));

  test('zero', () =>
    check(
      symmetric(dtype, 33, () => 0),
      small,
    ));

  test('diagonal, unsorted, with repetitions', () =>
    check(
      symmetric(dtype, 40, (i, j) => (i === j ? (i * 7) % 5 : 0)),
      small,
    ));

  test('repeated: a rank-one change of the identity', () =>
    check(
      symmetric(dtype, 70, (i, j) => (i === j ? 3 : 1)),
      small,
    ));

  test('rank-deficient', () =>
    check(
      symmetric(dtype, 60, (i, j) => Math.sin(i) * Math.sin(j) + Math.cos(2 * i) * Math.cos(2 * j)),
      small,
    ));

  test('graded over 40 orders of magnitude of two', () => {
    const random = noise(9);
    return check(
      symmetric(dtype, 65, (i, j) => random(i, j) * 2 ** (-(i + j) / 3)),
      small,
    );
  });

  test('glued: blocks of equal spectra held together by little', () => {
    const bond = dtype === 'f32' ? 1e-6 : 1e-14;
    return check(
      symmetric(dtype, 84, (i, j) => (i === j ? Math.abs(10 - (i % 21)) : i - j === 1 ? (i % 21 === 0 ? bond : 1) : 0)),
      small,
    );
  });

  test('values near both ends of the range', async () => {
    for (const scale of dtype === 'f32' ? [2 ** 124, 2 ** -116] : [2 ** 1019, 2 ** -1000]) {
      const random = noise(4);
      const { values } = await symmetricEigen(
        symmetric(dtype, 12, (i, j) => random(i, j) * scale),
        device,
      );
      const { values: plain } = await symmetricEigen(
        symmetric('f64', 12, (i, j) => random(i, j)),
        device,
      );
      const rounded = 2 ** 12 * EPSILON[dtype];
      values.forEach((value, i) => expect(Math.abs(value / scale - plain[i]!)).toBeLessThan(rounded));
    }
  });
});

test('only the lower triangle is read', async () => {
  const matrix = symmetric('f64', 40, noise(2));
  const expected = await symmetricEigen(matrix, device, small);
  const changed = build('f64', 40, 40, (i, j) => (j > i ? 1e9 : matrix.data[i * 40 + j]!));
  expect((await symmetricEigen(changed, device, small)).values).toEqual(expected.values);
});

test('the same bits from one thread and from two', async () => {
  const one = cpuDevice({ threads: 1 });
  const matrix = symmetric('f64', 200, noise(6));
  const [a, b] = [await symmetricEigen(matrix, one, small), await symmetricEigen(matrix, device, small)];
  await one.dispose();
  expect(a.vectors.data).toEqual(b.vectors.data);
  expect(a.values).toEqual(b.values);
});

test('a known spectrum: the second difference', async () => {
  const n = 100;
  const { values } = await symmetricEigen(
    symmetric('f64', n, (i, j) => (i === j ? 2 : i - j === 1 ? -1 : 0)),
    device,
    small,
  );
  const expected = Float64Array.from({ length: n }, (_, i) => 2 + 2 * Math.cos(((i + 1) * Math.PI) / (n + 1)));
  expect(largestDifference(values, expected)).toBeLessThan(n * EPSILON.f64 * 4);
});

test('bad input is refused before any work', async () => {
  const bad = symmetric('f64', 3, () => 1);
  bad.data[5] = NaN;
  await expect(symmetricEigen(bad, device)).rejects.toMatchObject({
    code: 'LINALG_NOT_FINITE',
    details: { row: 1, column: 2 },
  });
  bad.data[5] = -Infinity;
  await expect(symmetricEigenvalues(bad, device)).rejects.toMatchObject({ code: 'LINALG_NOT_FINITE' });
  await expect(
    symmetricEigen(
      build('f32', 2, 3, () => 1),
      device,
    ),
  ).rejects.toMatchObject({ code: 'LINALG_SHAPE' });
  await expect(
    symmetricEigen({ dtype: 'f32', shape: [0, 0], data: new Float32Array(0) }, device),
  ).rejects.toMatchObject({ code: 'LINALG_SHAPE' });
});

test('stops at the signal', async () => {
  const signal = AbortSignal.abort();
  await expect(symmetricEigen(symmetric('f64', 20, noise(1)), device, { signal })).rejects.toMatchObject({
    code: 'STOPPED',
  });
});
