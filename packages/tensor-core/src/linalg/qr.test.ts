// Reconstruction, triangularity and orthogonality in units of eps and dimension; narrow panels reach the blocked path.
import { afterAll, describe, expect, test } from 'vitest';
import { cpuDevice } from '../node/cpu-device.ts';
import type { RealMatrix } from './matrix.ts';
import { qr } from './qr.ts';
import type { QrOptions } from './qr.ts';
import {
  EPSILON,
  SHAPES,
  build,
  frobenius,
  orthogonalityError,
  reconstructionError,
  transpose,
  uniform,
} from './measure.fixture.ts';

const device = cpuDevice({ threads: 2 });
afterAll(() => device.dispose());

const small: QrOptions = { panel: 5, plainWork: 16 ** 3 };

async function check(matrix: RealMatrix, options: QrOptions): Promise<void> {
  const { dtype, shape } = matrix;
  const [rows, columns] = shape;
  const inner = Math.min(rows, columns);
  const { q, r } = await qr(matrix, device, options);
  expect([q.shape, r.shape]).toEqual([
    [rows, inner],
    [inner, columns],
  ]);
  const unit = 2 * (inner + 4) * EPSILON[dtype];
  expect(orthogonalityError(q)).toBeLessThanOrEqual(unit);
  const ones = new Float64Array(inner).fill(1);
  expect(reconstructionError(matrix, q, ones, transpose(r))).toBeLessThanOrEqual(unit * frobenius(matrix.data));
  for (let i = 1; i < inner; i++) for (let j = 0; j < i; j++) expect(r.data[i * columns + j]).toBe(0);
}

describe.each(['f32', 'f64'] as const)('qr of %s', (dtype) => {
  test.each(SHAPES)('[%i, %i], random', (rows, columns) => {
    const random = uniform(rows + columns);
    return check(build(dtype, rows, columns, random), small);
  });

  test('with the panel that it chooses itself', () => check(build(dtype, 200, 150, uniform(1)), {}));

  test('zero', () =>
    check(
      build(dtype, 20, 12, () => 0),
      small,
    ));

  test('rank one: columns are noise after the first, and noise of noise', () =>
    check(
      build(dtype, 90, 70, () => 1),
      small,
    ));

  test('columns of zeros, and columns twice', () =>
    check(
      build(dtype, 40, 30, (i, j) => (j % 3 === 0 ? 0 : Math.sin(i * (1 + (j % 7))))),
      small,
    ));

  test('graded', () => {
    const random = uniform(8);
    return check(
      build(dtype, 50, 40, (i, j) => random() * 2 ** (-(i + 2 * j) / 2)),
      small,
    );
  });

  test('values near both ends of the range', async () => {
    for (const scale of dtype === 'f32' ? [2 ** 124, 2 ** -116] : [2 ** 1019, 2 ** -1000]) {
      const random = uniform(4);
      const { q, r } = await qr(
        build(dtype, 12, 9, () => random() * scale),
        device,
      );
      expect(orthogonalityError(q)).toBeLessThan(64 * EPSILON[dtype]);
      expect(Math.abs(r.data[0]!) / scale).toBeGreaterThan(0.1);
    }
  });
});

test('the same bits from one thread and from two', async () => {
  const one = cpuDevice({ threads: 1 });
  const matrix = build('f64', 220, 130, uniform(6));
  const [a, b] = [await qr(matrix, one, small), await qr(matrix, device, small)];
  await one.dispose();
  expect(a).toEqual(b);
});

test('bad input is refused before any work', async () => {
  const bad = build('f32', 4, 3, () => 1);
  bad.data[7] = Infinity;
  const refused = { code: 'LINALG_NOT_FINITE', details: { row: 2, column: 1, value: 'Infinity' } };
  await expect(qr(bad, device)).rejects.toMatchObject(refused);
  await expect(qr({ dtype: 'f32', shape: [3], data: new Float32Array(3) }, device)).rejects.toMatchObject({
    code: 'LINALG_SHAPE',
  });
  await expect(qr({ dtype: 'f32', shape: [2, 2], data: new Float32Array(3) }, device)).rejects.toMatchObject({
    code: 'LINALG_SHAPE',
  });
  const integers = { dtype: 'i32', shape: [1, 1], data: new Int32Array(1) } as unknown as RealMatrix;
  await expect(qr(integers, device)).rejects.toMatchObject({ code: 'LINALG_DTYPE' });
});

test('stops at the signal', async () => {
  const signal = AbortSignal.abort();
  await expect(qr(build('f64', 20, 20, uniform(1)), device, { signal })).rejects.toMatchObject({ code: 'STOPPED' });
});
