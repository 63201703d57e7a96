import { cpuDevice } from '@pith/tensor-core/node';
import { randomStream } from '@pith/tensor-core';
import type { Device } from '@pith/tensor-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fold, MODES, squaresOf, unfold, type Matrix, type Tensor3 } from '../tensor/tensor3.ts';
import { tucker, tuckerTensor, type TuckerRanks } from './tucker.ts';

let device: Device;
beforeAll(() => {
  device = cpuDevice({ threads: 1 });
});
afterAll(() => device.dispose());

const random = (name: string, length: number) => {
  const stream = randomStream(11, name);
  return Float64Array.from({ length }, () => stream.normal());
};
const noise = (shape: readonly [number, number, number], name = 'noise'): Tensor3 => ({
  shape,
  data: random(name, shape[0] * shape[1] * shape[2]),
});

/** A tensor with a core of these ranks inside. */
async function planted(shape: readonly [number, number, number], ranks: TuckerRanks) {
  const factors = MODES.map((mode): Matrix => {
    return { data: random(`factor ${mode}`, shape[mode] * ranks[mode]), rows: shape[mode], columns: ranks[mode] };
  }) as [Matrix, Matrix, Matrix];
  return { tensor: await tuckerTensor({ core: noise(ranks, 'core'), factors }, device), factors };
}

const distance = (a: Tensor3, b: Tensor3) =>
  Math.sqrt(squaresOf(a.data.map((value, i) => value - b.data[i])) / squaresOf(a.data));

/** Share of the columns of `inside` that lies outside the space of the orthonormal columns of `basis`. */
function outside(inside: Matrix, basis: Matrix): number {
  let rest = 0;
  for (let c = 0; c < inside.columns; c++) {
    const column = Float64Array.from({ length: inside.rows }, (_, i) => inside.data[i * inside.columns + c]);
    const whole = squaresOf(column);
    for (let k = 0; k < basis.columns; k++) {
      let dot = 0;
      for (let i = 0; i < basis.rows; i++) dot += column[i] * basis.data[i * basis.columns + k];
      for (let i = 0; i < basis.rows; i++) column[i] -= dot * basis.data[i * basis.columns + k];
    }
    rest = Math.max(rest, squaresOf(column) / whole);
  }
  return rest;
}

it('unfolding is undone by folding, and puts an axis first', () => {
  const tensor = noise([2, 3, 5]);
  for (const mode of MODES) {
    const { data, rows, columns } = unfold(tensor, mode);
    expect([rows, columns]).toEqual([tensor.shape[mode], 30 / tensor.shape[mode]]);
    expect(fold(data, tensor.shape, mode).data).toEqual(tensor.data);
  }
  // Element (1, 2, 3): row 2 of the second unfolding, column 1 * 5 + 3.
  expect(unfold(tensor, 1).data[2 * 10 + 8]).toBe(tensor.data[(1 * 3 + 2) * 5 + 3]);
  expect(unfold(tensor, 2).data[3 * 6 + 5]).toBe(tensor.data[(1 * 3 + 2) * 5 + 3]);
});

describe('tucker', () => {
  it.each([
    [
      [6, 7, 8],
      [2, 3, 4],
    ],
    [
      [5, 30, 4],
      [2, 3, 2],
    ],
    [
      [1, 9, 6],
      [1, 2, 2],
    ],
    [
      [3, 3, 3],
      [3, 3, 3],
    ],
    [
      [40, 33, 21],
      [3, 2, 5],
    ],
  ] as const)('recovers what was planted in %j with ranks %j', async (shape, ranks) => {
    const { tensor, factors } = await planted(shape, ranks);
    const found = await tucker(tensor, device, { ranks });
    // Gram matrices square the condition: what is left is the root of f64's precision at worst.
    expect(distance(tensor, await tuckerTensor(found, device))).toBeLessThan(1e-7);
    expect(found.relativeError).toBeLessThan(1e-7);
    for (const mode of MODES) expect(outside(factors[mode], found.factors[mode])).toBeLessThan(1e-12);
  });

  it('has orthonormal factors and says its error', async () => {
    const tensor = noise([8, 9, 10]);
    const found = await tucker(tensor, device, { ranks: [3, 4, 5] });
    expect(found.relativeError).toBeCloseTo(distance(tensor, await tuckerTensor(found, device)), 10);
    for (const { data, rows, columns } of found.factors) {
      for (let a = 0; a < columns; a++) {
        for (let b = 0; b <= a; b++) {
          let dot = 0;
          for (let i = 0; i < rows; i++) dot += data[i * columns + a] * data[i * columns + b];
          expect(Math.abs(dot - (a === b ? 1 : 0))).toBeLessThan(1e-13 * rows);
        }
      }
    }
  });

  it('HOOI only ever improves on HOSVD, which keeps to its bound', async () => {
    const tensor = noise([8, 9, 10]);
    const hosvd = await tucker(tensor, device, { ranks: [2, 3, 3], iterations: 0 });
    const hooi = await tucker(tensor, device, { ranks: [2, 3, 3], tolerance: 0, iterations: 15 });
    expect(hosvd.errors).toHaveLength(1);
    expect(hooi.errors[0]).toBe(hosvd.relativeError);
    for (let i = 1; i < hooi.errors.length; i++) expect(hooi.errors[i]).toBeLessThan(hooi.errors[i - 1] + 1e-12);
    expect(hooi.relativeError).toBeLessThan(hosvd.relativeError - 1e-3);
    // sqrt(3) times the best error: De Lathauwer et al. 2000a, property 10.
    expect(hosvd.relativeError).toBeLessThan(Math.sqrt(3) * hooi.relativeError);
  });

  it('takes zeros, refuses ranks that there are not, NaN and what is no tensor', async () => {
    const zeros = { shape: [2, 3, 4], data: new Float64Array(24) } as const;
    expect((await tucker(zeros, device, { ranks: [1, 1, 1] })).relativeError).toBe(0);
    for (const ranks of [
      [0, 1, 1],
      [1, 4, 1],
      [1, 1, 1.5],
    ] as [number, number, number][]) {
      await expect(tucker(zeros, device, { ranks })).rejects.toMatchObject({ code: 'TUCKER_RANKS' });
    }
    const broken = { ...zeros, data: zeros.data.map((_, i) => (i === 7 ? NaN : 1)) };
    await expect(tucker(broken, device, { ranks: [1, 1, 1] })).rejects.toMatchObject({ code: 'TENSOR_NOT_FINITE' });
    const short = { ...zeros, data: new Float64Array(23) };
    await expect(tucker(short, device, { ranks: [1, 1, 1] })).rejects.toMatchObject({ code: 'TENSOR_SHAPE' });
  });
});
