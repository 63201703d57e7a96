// The parts of the eigendecomposition on their own: QL against known spectra, roots of the secular equation over gaps and
// weights of very different sizes, divide and conquer against QL.
import { afterAll, describe, expect, test } from 'vitest';
import { cpuDevice } from '../node/cpu-device.ts';
import { EPSILON, build, largestDifference, orthogonalityError, transpose, uniform } from './measure.fixture.ts';
import { wellConditioned } from './orthonormal-columns.ts';
import { Products } from './products.ts';
import { secularRoot } from './secular-equation.ts';
import { tridiagonalEigen } from './tridiagonal-eigen.ts';
import { tridiagonalQl } from './tridiagonal-ql.ts';

const device = cpuDevice({ threads: 2 });
const products = new Products(device, 'f64', 24 ** 3);
afterAll(() => device.dispose());

describe('tridiagonalQl', () => {
  test('two by two, worked by hand', () => {
    const [values, vectors] = [Float64Array.of(2, 2), Float64Array.of(1, 0, 0, 1)];
    tridiagonalQl(values, Float64Array.of(1), vectors);
    expect(largestDifference(values, [1, 3])).toBeLessThan(4 * EPSILON.f64);
    expect(largestDifference(vectors.map(Math.abs), new Float64Array(4).fill(Math.SQRT1_2))).toBeLessThan(
      4 * EPSILON.f64,
    );
    expect(Math.sign(vectors[0]! * vectors[1]!)).toBe(-1);
  });

  test('the second difference', () => {
    const values = new Float64Array(50).fill(2);
    tridiagonalQl(values, new Float64Array(49).fill(-1));
    const expected = Float64Array.from({ length: 50 }, (_, i) => 2 - 2 * Math.cos(((i + 1) * Math.PI) / 51));
    expect(largestDifference(values, expected)).toBeLessThan(50 * EPSILON.f64);
  });

  test('what does not settle says which eigenvalue', () => {
    const broken = (): void => tridiagonalQl(Float64Array.of(1, NaN, 2), Float64Array.of(1, 1));
    expect(broken).toThrow(expect.objectContaining({ code: 'NOT_CONVERGED', details: { index: 0, iterations: 50 } }));
  });
});

describe('secularRoot', () => {
  // diag(poles) + rho z z^T: its eigenvectors, from the distances alone, must come out orthogonal.
  const cases: [string, Float64Array, Float64Array, number][] = [
    ['even gaps', Float64Array.from({ length: 40 }, (_, i) => i), new Float64Array(40).fill(1 / 40), 1],
    [
      'gaps near eps',
      Float64Array.from({ length: 30 }, (_, i) => 1 + i * 2 ** -44),
      new Float64Array(30).fill(1 / 30),
      2,
    ],
    [
      'tiny and large weights',
      Float64Array.from({ length: 25 }, (_, i) => i / 25),
      Float64Array.from({ length: 25 }, (_, i) => 10 ** -(i % 13)),
      0.5,
    ],
    ['a large update', Float64Array.of(-1, 0, 1e-8, 1), Float64Array.of(0.1, 0.4, 0.4, 0.1), 1e6],
    ['a small update', Float64Array.of(-1, 0, 1e-8, 1), Float64Array.of(0.1, 0.4, 0.4, 0.1), 1e-12],
    ['one pole', Float64Array.of(3), Float64Array.of(0.25), 8],
  ];

  test.each(cases)('%s', (_, poles, weights, rho) => {
    const count = poles.length;
    const distances = new Float64Array(count * count);
    const roots = Float64Array.from(poles, (_pole, j) =>
      secularRoot(poles, weights, rho, j, distances.subarray(j * count, (j + 1) * count)),
    );
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    for (let j = 0; j < count; j++) {
      // Interlaced: strictly between its poles, by the signs of the distances.
      for (let i = 0; i < count; i++) expect(Math.sign(distances[j * count + i]!)).toBe(i <= j ? -1 : 1);
      expect(roots[j]!).toBeLessThanOrEqual((poles[j + 1] ?? poles[j]! + rho * total) * (1 + 1e-15) + 1e-15);
    }
    // The trace grows by rho times the sum of the weights.
    const growth = roots.reduce((sum, root) => sum + root, 0) - poles.reduce((sum, pole) => sum + pole, 0);
    const scale = Math.max(1, ...poles.map(Math.abs)) + rho * total;
    expect(Math.abs(growth - rho * total)).toBeLessThan(count * 8 * EPSILON.f64 * scale);
    const components = build('f64', count, count, (i, j) => exactWeight(i) / distances[j * count + i]!);
    const norms = Float64Array.from({ length: count }, (_x, j) =>
      Math.hypot(...Array.from({ length: count }, (_y, i) => components.data[i * count + j]!)),
    );
    const vectors = build('f64', count, count, (i, j) => components.data[i * count + j]! / norms[j]!);
    expect(orthogonalityError(vectors)).toBeLessThan(count * 16 * EPSILON.f64);

    // Loewner's formula.
    function exactWeight(i: number): number {
      let square = -distances[i * count + i]!;
      for (let j = 0; j < count; j++) {
        if (j !== i) square *= distances[j * count + i]! / (poles[i]! - poles[j]!);
      }
      return Math.sqrt(square);
    }
  });
});

test.each([3, 10, 33, 70, 130])('divide and conquer agrees with QL, %i columns', async (n) => {
  const random = uniform(n);
  const diagonal = Float64Array.from({ length: n }, random);
  const offDiagonal = Float64Array.from(
    { length: n - 1 },
    (_, i) => (i % 11 === 5 ? 0 : i % 7 === 3 ? -1 : 1) * random(),
  );
  const expected = diagonal.slice();
  tridiagonalQl(expected, offDiagonal.slice());
  const { values, vectors } = await tridiagonalEigen(diagonal, offDiagonal, products, { leafSize: 3 });
  expect(largestDifference(values, expected)).toBeLessThan(8 * n * EPSILON.f64);
  const rows = { dtype: 'f64' as const, shape: [n, n], data: vectors };
  expect(orthogonalityError(transpose(rows))).toBeLessThan(8 * n * EPSILON.f64);
});

test('columns that are not finite end in an error, not in a loop', async () => {
  const broken = wellConditioned(Float64Array.of(1, NaN, 2, 3), 2, 2, products, products, new Float64Array(4));
  await expect(broken).rejects.toMatchObject({ code: 'NOT_CONVERGED' });
});
