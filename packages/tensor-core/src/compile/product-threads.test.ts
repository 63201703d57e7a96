import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, it } from 'vitest';
import type { Device } from '../device/device.ts';
import { Products, type RealDType } from '../linalg/products.ts';
import { cpuDevice } from '../node/cpu-device.ts';
import { randomStream } from '../random/random-stream.ts';
import { compile } from './compile.ts';
import { productThreads } from './product-threads.ts';

const product = (m: number, k: number, n: number, dtype: RealDType = 'f32', transposeA = false) => ({
  ...{ m, k, n, dtype, transposeA },
});

describe('productThreads', () => {
  it.each([
    ['no run of 16 columns is as narrow as half a stride: 1280 / 16 in 16 runs', product(300, 300, 1280), 16, 16],
    ['runs of 64 columns have strides of 256 summands', product(100, 300, 128), 8, 1],
    ['one stride holds all summands, however long', product(100, 128, 144), 8, 8],
    ['144 columns are runs of 80 and 64', product(100, 300, 144), 8, 1],
    ['strides of f64 are half as wide: runs of 48 are right, of 32 not', product(100, 300, 144, 'f64'), 8, 3],
    ['rows are cut where there are more of them: 22, 14, 11 of 44', product(44, 1000, 44), 22, 22],
    ['and no run is a single row', product(44, 1000, 44), 32, 22],
    ['but of a transposed operand it may be', product(44, 1000, 44, 'f32', true), 32, 32],
    ['small products run on one thread anyway', product(2, 300, 100), 32, 32],
  ])('%s', (_, shape, threads, most) => {
    expect(productThreads(shape, threads)).toBe(most);
  });
});

const THREADS = [2, 3, 8, 32];

/** What `run` gives on one thread, and on each other number of them. */
async function onThreads<T>(run: (device: Device) => Promise<T>): Promise<[one: T, others: T[]]> {
  const results: T[] = [];
  for (const threads of [1, ...THREADS]) {
    const device = cpuDevice({ threads });
    results.push(await run(device));
    await device.dispose();
  }
  return [results[0]!, results.slice(1)];
}

describe('products have the same bits with any number of threads', () => {
  // Wide, tall, square, one column; what no stride cuts and what several do.
  const shapes = [
    [44, 520, 172],
    [100, 300, 128],
    [64, 1000, 144],
    [17, 300, 600],
    [300, 1000, 1],
    [44, 1000, 44],
    [172, 172, 172],
  ] as const;

  it.each([
    ['f32', false, false],
    ['f32', true, false],
    ['f32', false, true],
    ['f64', false, true],
  ] as const)('of linear algebra: %s, transposed: %s, %s', async (dtype, tA, tB) => {
    for (const [m, k, n] of shapes) {
      const stream = randomStream(3, 'operands');
      const make = (rows: number, columns: number, transpose: boolean) => {
        const data = dtype === 'f32' ? new Float32Array(m * k + k * n) : new Float64Array(m * k + k * n);
        const values = data.subarray(0, rows * columns).map(() => stream.normal()) as Float32Array<ArrayBuffer>;
        return { data: values, rows: transpose ? columns : rows, columns: transpose ? rows : columns, transpose };
      };
      const [a, b] = [make(m, k, tA), make(k, n, tB)];
      const [one, others] = await onThreads((device) => new Products(device, dtype as 'f32', 0).multiply(a, b));
      others.forEach((other, i) => expect(other, `${[m, k, n].join()} on ${THREADS[i]}`).toEqual(one));
    }
  });

  it('of compiled programs', async () => {
    const [x, w] = [randomStream(1, 'x'), randomStream(1, 'w')];
    const inputs = {
      x: { dtype: 'f32' as const, shape: [2, 20, 300], data: Float32Array.from({ length: 12000 }, () => x.normal()) },
      w: { dtype: 'f32' as const, shape: [172, 300], data: Float32Array.from({ length: 51600 }, () => w.normal()) },
    };
    const [one, others] = await onThreads(async (device) => {
      const program = await compile(
        ({ x, w }) => ({ y: tf.matMul(tf.reshape(x!, [40, 300]) as tf.Tensor2D, w as tf.Tensor2D, false, true) }),
        { x: { shape: [2, 20, 300] }, w: { shape: [172, 300] } },
        device,
      );
      return (await program.run(inputs))['y']!.data;
    });
    others.forEach((other, i) => expect(other, `on ${THREADS[i]}`).toEqual(one));
  });
});
