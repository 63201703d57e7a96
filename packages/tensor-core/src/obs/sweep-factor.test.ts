import { afterAll, describe, expect, it } from 'vitest';
import { cpuDevice } from '../node/cpu-device.ts';
import { sweepFactor, type SweepFactor } from './sweep-factor.ts';

const device = cpuDevice({ threads: 1 });
afterAll(() => device.dispose());
// Small blocks, so that the compiled path is reached.
const small = { blockSize: 16, plainWork: 16 ** 3 };

let state = 7;
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 31 - 1;
}

/** XᵀX of tokens [tokens, n]; columns of different size, each partly the one before. */
function gramOf(n: number, tokens: number, mix = 0.5): Float64Array {
  const gram = new Float64Array(n * n);
  for (let t = 0; t < tokens; t++) {
    const x = new Float64Array(n);
    for (let i = 0; i < n; i++) x[i] = (1 + (i % 7)) * random() + (i > 0 ? mix * x[i - 1] : 0);
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) gram[i * n + j] += x[i] * x[j];
  }
  return gram;
}

/** Largest element of |UᵀU (H + added) - I|, H in the order of the sweep. */
function residual({ coupling, added }: SweepFactor, gram: Float64Array, n: number, order?: Int32Array): number {
  const at = (i: number): number => (order ? order[i] : i);
  const u = (i: number, k: number): number => -coupling[k * n + i];
  let worst = 0;
  for (let j = 0; j < n; j++) {
    const image = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      for (let k = i; k < n; k++) image[i] += u(i, k) * (gram[at(k) * n + at(j)] + (k === j ? added : 0));
    }
    for (let i = 0; i < n; i++) {
      let value = i === j ? -1 : 0;
      for (let k = 0; k <= i; k++) value += u(k, i) * image[k];
      worst = Math.max(worst, Math.abs(value));
    }
  }
  return worst;
}

/** eps times the condition of these matrices, which damping holds below 1e4. */
const tolerance = 1e4 * 2 ** -23;

describe('sweepFactor', () => {
  it.each([1, 2, 33, 70])('factors %d columns', async (n) => {
    const gram = gramOf(n, 3 * n);
    const factor = await sweepFactor(gram, n, device, small);
    const { coupling, pivots, added, damping, dtype, failures, deadColumns } = factor;
    const mean = gram.reduce((sum, value, i) => (i % (n + 1) === 0 ? sum + value : sum), 0) / n;
    expect(added / mean).toBeCloseTo(0.01, 12);
    expect({ damping, dtype, failures, deadColumns }).toEqual({
      damping: 0.01,
      dtype: 'f32',
      failures: [],
      deadColumns: [],
    });
    for (let i = 0; i < n; i++) {
      expect(coupling[i * (n + 1)] * pivots[i]).toBeCloseTo(-1, 6);
      for (let j = i + 1; j < n; j++) expect(coupling[i * n + j]).toBe(0);
    }
    expect(residual(factor, gram, n)).toBeLessThan(tolerance);
  });

  it('follows an order', async () => {
    const n = 40;
    const gram = gramOf(n, 100);
    const order = Int32Array.from({ length: n }, (_, i) => (i * 7) % n);
    const factor = await sweepFactor(gram, n, device, { ...small, order });
    expect(residual(factor, gram, n, order)).toBeLessThan(tolerance);
  });

  it('does not care for the unit of the inputs', async () => {
    const gram = gramOf(20, 60);
    const one = await sweepFactor(gram, 20, device, small);
    const many = await sweepFactor(
      gram.map((value) => value * 2 ** 100),
      20,
      device,
      small,
    );
    expect(many.coupling).toEqual(one.coupling.map((value) => value / 2 ** 50));
    expect(many.pivots).toEqual(one.pivots.map((value) => value * 2 ** 50));
  });

  it('lets damping carry a matrix of fewer tokens than columns', async () => {
    const n = 50;
    const gram = gramOf(n, 9);
    const factor = await sweepFactor(gram, n, device, small);
    expect(factor.failures).toEqual([]);
    expect(residual(factor, gram, n)).toBeLessThan(tolerance);
  });

  it('stands in for dead columns and names them', async () => {
    const n = 30;
    const gram = gramOf(n, 90);
    for (const dead of [4, 29]) for (let i = 0; i < n; i++) gram[dead * n + i] = gram[i * n + dead] = 0;
    const factor = await sweepFactor(gram, n, device, small);
    const { coupling, deadColumns } = factor;
    expect(deadColumns).toEqual([4, 29]);
    const live = 28;
    const mean = gram.reduce((sum, value, i) => (i % (n + 1) === 0 ? sum + value : sum), 0) / live;
    for (const dead of deadColumns) gram[dead * (n + 1)] = mean;
    expect(residual(factor, gram, n)).toBeLessThan(tolerance);
    // Column 4 neither gives nor takes.
    for (let j = 0; j < n; j++) {
      if (j !== 4) expect([coupling[4 * n + j], coupling[j * n + 4]]).toEqual([0, 0]);
    }
  });

  it('is the unit matrix where all columns are dead', async () => {
    const { coupling, pivots, deadColumns } = await sweepFactor(new Float64Array(9), 3, device, { damping: 0 });
    expect([...coupling]).toEqual([-1, 0, 0, 0, -1, 0, 0, 0, -1]);
    expect([...pivots]).toEqual([1, 1, 1]);
    expect(deadColumns).toEqual([0, 1, 2]);
  });

  it('goes to f64 where f32 loses a pivot, and is right there', async () => {
    const n = 48;
    const gram = gramOf(n, 200);
    // Column 20 is column 11 but for a part in 10^4: in squares, less than f32 resolves.
    const x = (j: number): number => gram[11 * n + j];
    const own = 1e-8 * gram[11 * n + 11];
    for (let j = 0; j < n; j++) gram[20 * n + j] = gram[j * n + 20] = x(j);
    gram[20 * n + 20] = gram[11 * n + 11] + own;
    const { pivots, damping, dtype, failures } = await sweepFactor(gram, n, device, { ...small, damping: 0 });
    expect({ damping, dtype }).toEqual({ damping: 0, dtype: 'f64' });
    expect(failures).toMatchObject([{ dtype: 'f32', damping: 0, position: 11 }]);
    // In the sweep column 20 comes last of the two: what it leaves of column 11 is U's diagonal there.
    expect(pivots[11] ** 2 / own).toBeCloseTo(1, 4);
  });

  it('raises damping where the matrix is singular, and says so', async () => {
    const n = 24;
    const gram = gramOf(n, 5);
    const { damping, dtype, failures } = await sweepFactor(gram, n, device, { ...small, damping: 0 });
    expect({ damping, dtype }).toEqual({ damping: 1e-4, dtype: 'f64' });
    expect(failures.map((failure) => [failure.dtype, failure.damping])).toEqual([
      ['f32', 0],
      ['f64', 0],
    ]);
  });

  it('refuses what is no Gram matrix by name', async () => {
    const gram = gramOf(6, 20);
    const of = (change: (gram: Float64Array) => void): Float64Array => {
      const copy = gram.slice();
      change(copy);
      return copy;
    };
    const options = { ...small, label: 'model.layers.3.mlp' };
    await expect(
      sweepFactor(
        of((g) => (g[8] = NaN)),
        6,
        device,
        options,
      ),
    ).rejects.toMatchObject({
      code: 'GRAM_NOT_FINITE',
      message: expect.stringContaining('model.layers.3.mlp must be finite, got NaN at row 1, column 2') as string,
    });
    await expect(
      sweepFactor(
        of((g) => (g[0] = Infinity)),
        6,
        device,
        options,
      ),
    ).rejects.toMatchObject({
      code: 'GRAM_NOT_FINITE',
      details: { row: 0, column: 0, value: 'Infinity' },
    });
    await expect(
      sweepFactor(
        of((g) => (g[7] = -1)),
        6,
        device,
        options,
      ),
    ).rejects.toMatchObject({
      code: 'GRAM_NOT_POSITIVE',
      details: { column: 1 },
    });
    const indefinite = of((g) => (g[1] = g[6] = 100 * g[0]));
    await expect(sweepFactor(indefinite, 6, device, options)).rejects.toMatchObject({ code: 'GRAM_NOT_POSITIVE' });
  });
});
