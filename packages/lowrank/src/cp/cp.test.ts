import { cpuDevice } from '@pith/tensor-core/node';
import { randomStream } from '@pith/tensor-core';
import type { Device } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { squaresOf, type Matrix, type Tensor3 } from '../tensor/tensor3.ts';
import { cp, cpTensor } from './cp.ts';

let device: Device;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
});
afterAll(() => device.dispose());

const unit = (rows: number, rank: number, name: string): Matrix => {
  const stream = randomStream(23, name);
  const data = Float64Array.from({ length: rows * rank }, () => stream.normal());
  for (let r = 0; r < rank; r++) {
    let squares = 0;
    for (let i = 0; i < rows; i++) squares += data[i * rank + r] ** 2;
    for (let i = 0; i < rows; i++) data[i * rank + r] /= Math.sqrt(squares);
  }
  return { data, rows, columns: rank };
};
const planted = ([a, b, c]: readonly [number, number, number], rank: number) => {
  const weights = Float64Array.from({ length: rank }, (_, r) => 5 / (r + 1));
  const factors = [unit(a, rank, 'a'), unit(b, rank, 'b'), unit(c, rank, 'c')] as const;
  return { weights, factors, tensor: cpTensor({ weights, factors }) };
};
const distance = (a: Tensor3, b: Tensor3) =>
  Math.sqrt(squaresOf(a.data.map((value, i) => value - b.data[i])) / squaresOf(a.data));

describe('cp', () => {
  it.each([
    [[7, 8, 9], 3],
    [[6, 20, 5], 2],
    [[30, 12, 9], 4],
    [[4, 5, 6], 1],
  ] as const)('recovers the terms planted in %j, %i of them', async (shape, rank) => {
    const { weights, factors, tensor } = planted(shape, rank);
    const found = await cp(tensor, device, { rank, iterations: 600, tolerance: 1e-10, starts: 2 });
    expect(found.relativeError).toBeLessThan(1e-5);
    expect(distance(tensor, cpTensor(found))).toBeLessThan(1e-5);
    // Terms are unique: each planted one is found, whatever the signs.
    for (let r = 0; r < rank; r++) {
      let best = 0;
      for (let s = 0; s < rank; s++) {
        const cosines = factors.map(({ data, rows }, mode) => {
          let dot = 0;
          for (let i = 0; i < rows; i++) dot += data[i * rank + r] * found.factors[mode].data[i * rank + s];
          return dot;
        });
        best = Math.max(
          best,
          cosines.reduce((a, b) => a * b, 1),
        );
      }
      expect(best).toBeGreaterThan(1 - 1e-4);
    }
    expect([...found.weights].map((value, r) => value / weights[r]).every((q) => Math.abs(q - 1) < 1e-3)).toBe(true);
  });

  it('says its error, and more terms or more starts are no worse', async () => {
    const stream = randomStream(5, 'noise');
    const tensor: Tensor3 = { shape: [5, 6, 7], data: Float64Array.from({ length: 210 }, () => stream.normal()) };
    const errors: number[] = [];
    for (const rank of [1, 3, 8]) {
      const found = await cp(tensor, device, { rank });
      expect(found.relativeError).toBeCloseTo(distance(tensor, cpTensor(found)), 6);
      errors.push(found.relativeError);
    }
    expect(errors[0]).toBeGreaterThan(errors[1]);
    expect(errors[1]).toBeGreaterThan(errors[2]);
    const again = await cp(tensor, device, { rank: 3, starts: 3 });
    expect(again.relativeError).toBeLessThanOrEqual(errors[1]);
    expect((await cp(tensor, device, { rank: 3, starts: 3 })).weights).toEqual(again.weights);
  });

  it('takes more terms than there are, and zeros', async () => {
    const { tensor } = planted([4, 5, 6], 2);
    expect((await cp(tensor, device, { rank: 5 })).relativeError).toBeLessThan(1e-3);
    const zeros = { shape: [2, 3, 4], data: new Float64Array(24) } as const;
    expect((await cp(zeros, device, { rank: 2 })).relativeError).toBe(0);
  });

  it('refuses a rank of 0, NaN and what is no tensor', async () => {
    const zeros = { shape: [2, 3, 4], data: new Float64Array(24) } as const;
    await expect(cp(zeros, device, { rank: 0 })).rejects.toMatchObject({ code: 'CP_OPTIONS' });
    const broken = { ...zeros, data: zeros.data.map((_, i) => (i === 7 ? NaN : 1)) };
    await expect(cp(broken, device, { rank: 1 })).rejects.toMatchObject({ code: 'TENSOR_NOT_FINITE' });
    const flat = { shape: [2, 3, 5] as const, data: new Float64Array(24) };
    await expect(cp(flat, device, { rank: 1 })).rejects.toMatchObject({ code: 'TENSOR_SHAPE' });
  });
});
