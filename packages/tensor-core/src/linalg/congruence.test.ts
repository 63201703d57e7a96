import { afterAll, expect, it } from 'vitest';
import { cpuDevice } from '../node/cpu-device.ts';
import { congruence } from './congruence.ts';

const device = cpuDevice({ threads: 1 });
afterAll(() => device.dispose());

it('is the Gram matrix behind a matrix', async () => {
  const [rows, columns, tokens] = [37, 120, 50];
  const a = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * 7.1));
  const x = Float64Array.from({ length: tokens * columns }, (_, i) => Math.cos(i * 3.7));
  const gram = new Float64Array(columns * columns);
  const expected = new Float64Array(rows * rows);
  for (let t = 0; t < tokens; t++) {
    const input = x.subarray(t * columns, (t + 1) * columns);
    for (let i = 0; i < columns; i++) for (let j = 0; j < columns; j++) gram[i * columns + j] += input[i] * input[j];
    const output = Float64Array.from({ length: rows }, (_, r) =>
      input.reduce((sum, value, c) => sum + value * a[r * columns + c], 0),
    );
    for (let i = 0; i < rows; i++) for (let j = 0; j < rows; j++) expected[i * rows + j] += output[i] * output[j];
  }
  const found = await congruence(a, gram, rows, columns, device);
  // Two sums of `columns` products each: their magnitudes bound the rounding.
  const scale = columns * columns * Math.max(...gram.map(Math.abs));
  for (let i = 0; i < found.length; i++) expect(Math.abs(found[i] - expected[i])).toBeLessThan(4 * 2 ** -23 * scale);
});

it('refuses shapes that do not fit', async () => {
  await expect(congruence(new Float32Array(6), new Float64Array(4), 2, 3, device)).rejects.toMatchObject({
    code: 'LINALG_SHAPE',
  });
});
