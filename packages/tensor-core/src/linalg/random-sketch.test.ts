import { afterAll, describe, expect, it } from 'vitest';
import { cpuDevice } from '../node/cpu-device.ts';
import { randomStream } from '../random/random-stream.ts';
import { build, orthogonalityError } from './measure.fixture.ts';
import { plainProduct, Products } from './products.ts';
import { randomizedSvd } from './randomized-svd.ts';
import { randomSketch } from './random-sketch.ts';

const device = cpuDevice({ threads: 2 });
afterAll(() => device.dispose());
const random = () => randomStream(7, 'sketch');

describe.each(['f32', 'f64'] as const)('random sketch of %s', (dtype) => {
  const products = new Products(device, dtype);

  it.each([
    ['signs', 1024, 100],
    ['dense vectors', 300, 100],
    ['dense vectors', 1024, 600],
  ])('is a product with the same vectors for every matrix: %s', async (kind, columns, size) => {
    const rows = 5;
    const matrix = build(dtype, rows, columns, (i, j) => Math.sin(i * 31 + j));
    const unit = build(dtype, columns, columns, (i, j) => (i === j ? 1 : 0));
    const found = await randomSketch(matrix.data, rows, columns, size, products, random());
    const vectors = await randomSketch(unit.data, columns, columns, size, products, random());
    const expected = plainProduct('f64', ...operands(matrix.data, vectors));
    // A sum of `columns` values up to one, in another order.
    const tolerance = columns * (dtype === 'f32' ? 2 ** -23 : 2 ** -52);
    for (const [i, value] of expected.entries()) expect(Math.abs(found[i]! - value)).toBeLessThan(tolerance);
    if (kind !== 'signs') return;
    for (let j = 0; j < columns; j++) {
      const row = [...vectors.subarray(j * size, (j + 1) * size)].map(Math.abs);
      expect(row.filter((value) => value === 1).length).toBe(8);
      expect(row.filter((value) => value === 0).length).toBe(size - 8);
    }

    function operands(a: ArrayLike<number>, b: ArrayLike<number>) {
      return [
        { data: Float64Array.from(a), rows, columns },
        { data: Float64Array.from(b), rows: columns, columns: size },
      ] as const;
    }
  });
});

it.each([
  ['spread', true],
  ['along the axes', false],
])('begins a decomposition within 1 percent of the best error: singular vectors %s', async (_, spread) => {
  const [rows, columns, rank] = [400, 1024, 64];
  const value = (i: number): number => (i + 1) ** -0.5;
  const [left, right] = [rows, columns].map((length, seed) => {
    const stream = randomStream(seed, 'mirror');
    const w = Float64Array.from({ length }, () => stream.normal());
    const factor = spread ? 2 / w.reduce((sum, x) => sum + x * x, 0) : 0;
    return { w, factor };
  }) as [{ w: Float64Array; factor: number }, { w: Float64Array; factor: number }];
  // (I - f w wT) S (I - g v vT), S diagonal.
  const between = left.w.reduce((sum, x, k) => sum + x * value(k) * right.w[k]!, 0);
  const matrix = build('f32', rows, columns, (i, j) => {
    const [w, v, f, g] = [left.w[i]!, right.w[j]!, left.factor, right.factor];
    const onRight = j < rows ? f * w * left.w[j]! * value(j) : 0;
    return (i === j ? value(i) : 0) - onRight - g * value(i) * right.w[i]! * v + f * g * w * between * v;
  });
  const found = await randomizedSvd(matrix, device, { rank, oversampling: 16, powerIterations: 3 });
  let [best, total] = [0, 0];
  for (let i = 0; i < rows; i++) {
    total += value(i) ** 2;
    if (i >= rank) best += value(i) ** 2;
  }
  expect(found.relativeError / Math.sqrt(best / total)).toBeLessThan(1.01);
  expect(found.relativeError / Math.sqrt(best / total)).toBeGreaterThan(0.999);
  expect(orthogonalityError(found.u)).toBeLessThan(200 * 2 ** -23);
});
