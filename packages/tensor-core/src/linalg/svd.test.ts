// Reconstruction and orthogonality in units of eps and dimension, singular values against one-sided Jacobi.
import { afterAll, describe, expect, test } from 'vitest';
import { cpuDevice } from '../node/cpu-device.ts';
import { jacobiSingularValues } from './jacobi-svd-reference.ts';
import type { RealMatrix } from './matrix.ts';
import { svd } from './svd.ts';
import type { Svd, SvdOptions } from './svd.ts';
import {
  EPSILON,
  SHAPES,
  build,
  frobenius,
  largestDifference,
  orthogonalityError,
  reconstructionError,
  transpose,
  uniform,
} from './measure.fixture.ts';

const device = cpuDevice({ threads: 2 });
afterAll(() => device.dispose());

const small: SvdOptions = { panel: 8, leafSize: 5, plainWork: 24 ** 3 };

async function check(matrix: RealMatrix, options: SvdOptions): Promise<Svd> {
  const { dtype, shape } = matrix;
  const [rows, columns] = shape;
  const inner = Math.min(rows, columns);
  const found = await svd(matrix, device, options);
  const { u, s, v } = found;
  expect([u.shape, s.length, v.shape]).toEqual([[rows, inner], inner, [columns, inner]]);
  const unit = 4 * (inner + 8) * EPSILON[dtype];
  const scale = frobenius(matrix.data);
  expect(orthogonalityError(u)).toBeLessThanOrEqual(unit);
  expect(orthogonalityError(v)).toBeLessThanOrEqual(unit);
  expect(reconstructionError(matrix, u, s, v)).toBeLessThanOrEqual(unit * scale);
  for (let i = 0; i < inner; i++) expect(s[i]!).toBeGreaterThanOrEqual(0);
  for (let i = 1; i < inner; i++) expect(s[i]!).toBeLessThanOrEqual(s[i - 1]!);
  const tall = rows >= columns ? matrix : transpose(matrix);
  const expected = jacobiSingularValues(tall.data, Math.max(rows, columns), inner);
  expect(largestDifference(s, expected)).toBeLessThanOrEqual(unit * scale);
  return found;
}

describe.each(['f32', 'f64'] as const)('svd of %s', (dtype) => {
  test.each(SHAPES)('[%i, %i], random', async (rows, columns) => {
    await check(build(dtype, rows, columns, uniform(rows + columns)), small);
  });

  test('with the blocks that it chooses itself', async () => {
    const { passes, rescues } = await check(build(dtype, 160, 100, uniform(1)), {});
    expect(rescues).toBe(0);
    expect(passes).toBeLessThanOrEqual(dtype === 'f32' ? 1 : 2);
  });

  test.each([
    [20, 12],
    [12, 20],
  ])('zero, [%i, %i]: orthonormal all the same', async (rows, columns) => {
    const { rescues } = await check(
      build(dtype, rows, columns, () => 0),
      small,
    );
    expect(rescues).toBeGreaterThan(0);
  });

  test('rank one', async () => {
    const { s } = await check(
      build(dtype, 90, 70, () => 1),
      small,
    );
    expect(s[0]).toBeCloseTo(Math.sqrt(6300), 3);
    expect(s[1]!).toBeLessThan(1000 * EPSILON[dtype]);
  });

  test('rank two with zero columns', async () => {
    await check(
      build(dtype, 45, 40, (i, j) => (j % 5 === 0 ? 0 : Math.sin(i) * Math.cos(j) + Math.cos(3 * i) * Math.sin(j))),
      small,
    );
  });

  test('repeated singular values: a scaled permutation with signs', async () => {
    const { s } = await check(
      build(dtype, 50, 50, (i, j) => (j === (i * 7) % 50 ? (i % 2 ? -2 : 2) : 0)),
      small,
    );
    expect(largestDifference(s, new Float64Array(50).fill(2))).toBeLessThan(100 * EPSILON[dtype]);
  });

  test('graded over 120 powers of two: several passes', async () => {
    const random = uniform(8);
    const { passes } = await check(
      build(dtype, 60, 50, (i, j) => random() * 2 ** -(i + j)),
      small,
    );
    expect(passes).toBeGreaterThan(1);
  });

  test('a clear step', async () => {
    await check(
      build(dtype, 64, 64, (i, j) => Math.sin(i * j) * 1e-4 + (i === j && i < 10 ? 1 : 0)),
      small,
    );
  });

  test('values near both ends of the range', async () => {
    for (const scale of dtype === 'f32' ? [2 ** 122, 2 ** -116] : [2 ** 1018, 2 ** -1000]) {
      const [random, same] = [uniform(4), uniform(4)];
      const { s } = await svd(
        build(dtype, 12, 9, () => random() * scale),
        device,
      );
      const plain = await svd(build('f64', 12, 9, same), device);
      const rescaled = Float64Array.from(s, (value) => value / scale);
      expect(largestDifference(rescaled, plain.s)).toBeLessThan(100 * EPSILON[dtype]);
    }
  });
});

test('the same bits from one thread and from two', async () => {
  const one = cpuDevice({ threads: 1 });
  const matrix = build('f64', 120, 90, uniform(6));
  const [a, b] = [await svd(matrix, one, small), await svd(matrix, device, small)];
  await one.dispose();
  expect(a).toEqual(b);
});

test('bad input is refused before any work', async () => {
  const bad = build('f64', 2, 2, () => 1);
  bad.data[1] = NaN;
  await expect(svd(bad, device)).rejects.toMatchObject({ code: 'LINALG_NOT_FINITE', details: { row: 0, column: 1 } });
  await expect(svd({ dtype: 'f64', shape: [0, 4], data: new Float64Array(0) }, device)).rejects.toMatchObject({
    code: 'LINALG_SHAPE',
  });
});
