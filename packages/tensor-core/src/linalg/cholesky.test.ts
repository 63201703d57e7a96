// Identities in units of eps and dimension, on sizes that no block divides, with blocks small enough that the blocked path
// is reached; and agreement with the plain f64 reference.
import { afterAll, describe, expect, test } from 'vitest';
import { isPithError } from '../errors/pith-error.ts';
import type { HostTensor } from '../device/device.ts';
import { cpuDevice } from '../node/cpu-device.ts';
import { cholesky as choleskyOn } from './cholesky.ts';
import { choleskyReference, invertLowerReference } from './cholesky-reference.ts';
import { triangularInverse as inverseOn } from './triangular-inverse.ts';
import type { TriangularInverseOptions } from './triangular-inverse.ts';

const device = cpuDevice({ threads: 2 });
afterAll(() => device.dispose());

// Small blocks; a product of more than one of them is compiled.
const small = { blockSize: 16, plainWork: 16 ** 3 };
const cholesky = <T extends D>(a: HostTensor<T>, options = {}): Promise<HostTensor<T>> =>
  choleskyOn(a, device, { ...small, ...options });
const triangularInverse = <T extends D>(
  a: HostTensor<T>,
  options: TriangularInverseOptions = {},
): Promise<HostTensor<T>> => inverseOn(a, device, { ...small, ...options });

const SIZES = [1, 2, 7, 16, 31, 33, 129, 300];
const EPS = { f32: 2 ** -23, f64: 2 ** -52 } as const;
type D = keyof typeof EPS;
const DTYPES: readonly D[] = ['f32', 'f64'];

let state = 1;
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32 - 0.5;
}

const fill = (length: number, value: (i: number) => number): Float64Array =>
  Float64Array.from({ length }, (_, i) => value(i));

function toTensor(dtype: D, n: number, values: Float64Array): HostTensor<D> {
  const data = dtype === 'f32' ? Float32Array.from(values) : values.slice();
  return { dtype, shape: [n, n], data } as unknown as HostTensor<D>;
}

function multiply(n: number, a: ArrayLike<number>, b: ArrayLike<number>, transposeB: boolean): Float64Array {
  const c = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < n; k++) {
      const x = a[i * n + k]!;
      if (x === 0) continue;
      for (let j = 0; j < n; j++) c[i * n + j]! += x * (transposeB ? b[j * n + k]! : b[k * n + j]!);
    }
  }
  return c;
}

const norm = (a: ArrayLike<number>): number => Math.sqrt(Array.from(a).reduce((sum, x) => sum + x * x, 0));
const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number => norm(fill(a.length, (i) => a[i]! - b[i]!));

/** X Xᵀ / n + I, in the precision of `dtype`. */
function positiveDefinite(dtype: D, n: number): Float64Array {
  const x = fill(n * n, random);
  const a = multiply(n, x, x, true);
  for (let i = 0; i < n * n; i++) a[i] = a[i]! / n + (i % (n + 1) === 0 ? 1 : 0);
  return dtype === 'f32' ? Float64Array.from(Float32Array.from(a)) : a;
}

/** A lower triangle of small values with a diagonal between 1 and 2, in the precision of `dtype`. */
function lowerTriangle(dtype: D, n: number): Float64Array {
  const l = fill(n * n, (i) => {
    const [row, column] = [Math.floor(i / n), i % n];
    if (row === column) return 1.5 + random();
    return column < row ? random() / Math.sqrt(n) : 0;
  });
  return dtype === 'f32' ? Float64Array.from(Float32Array.from(l)) : l;
}

const transposed = (n: number, a: ArrayLike<number>): Float64Array =>
  fill(n * n, (i) => a[(i % n) * n + Math.floor(i / n)]!);
const isLower = (n: number, a: ArrayLike<number>): boolean =>
  Array.from(a).every((value, i) => i % n <= Math.floor(i / n) || value === 0);

describe.each(DTYPES)('%s', (dtype) => {
  test.each(SIZES)('cholesky of %i rows reconstructs and agrees with the reference', async (n) => {
    const a = positiveDefinite(dtype, n);
    const before = toTensor(dtype, n, a);
    const l = await cholesky(before);
    expect(before).toEqual(toTensor(dtype, n, a));
    expect(l.dtype).toBe(dtype);
    expect(l.shape).toEqual([n, n]);
    expect(isLower(n, l.data)).toBe(true);
    const unit = EPS[dtype] * Math.sqrt(n) * norm(a);
    expect(distance(multiply(n, l.data, l.data, true), a) / unit).toBeLessThan(2);
    const exact = a.slice();
    choleskyReference(exact, n);
    for (let i = 0; i < n; i++) exact.fill(0, i * n + i + 1, (i + 1) * n);
    expect(distance(l.data, exact) / (EPS[dtype] * Math.sqrt(n) * norm(exact))).toBeLessThan(4);
  });

  test.each(SIZES)('the inverse of a triangle of %i rows', async (n) => {
    const l = lowerTriangle(dtype, n);
    const exact = l.slice();
    invertLowerReference(exact, n);
    const inverse = await triangularInverse(toTensor(dtype, n, l));
    expect(isLower(n, inverse.data)).toBe(true);
    const identity = fill(n * n, (i) => (i % (n + 1) === 0 ? 1 : 0));
    const unit = EPS[dtype] * Math.sqrt(n) * norm(l) * norm(exact);
    expect(distance(multiply(n, l, inverse.data, false), identity) / unit).toBeLessThan(1);
    expect(distance(inverse.data, exact) / (EPS[dtype] * Math.sqrt(n) * norm(exact))).toBeLessThan(4);
    const upper = await triangularInverse(toTensor(dtype, n, transposed(n, l)), { triangle: 'upper' });
    expect(upper.data).toEqual(toTensor(dtype, n, transposed(n, inverse.data)).data);
  });

  test('only the named triangle is read', async () => {
    const n = 33;
    const a = positiveDefinite(dtype, n);
    const dirty = fill(n * n, (i) => (i % n > Math.floor(i / n) ? 1e3 : a[i]!));
    expect((await cholesky(toTensor(dtype, n, dirty))).data).toEqual((await cholesky(toTensor(dtype, n, a))).data);
    const l = lowerTriangle(dtype, n);
    const dirtyL = fill(n * n, (i) => (i % n > Math.floor(i / n) ? 1e3 : l[i]!));
    expect((await triangularInverse(toTensor(dtype, n, dirtyL))).data).toEqual(
      (await triangularInverse(toTensor(dtype, n, l))).data,
    );
  });

  // L D Lᵀ with one negative number in D: the pivots of its Cholesky factorization are D.
  test.each([0, 5, 15, 16, 40, 99])('an indefinite matrix fails at pivot %i, with its value', async (index) => {
    const n = 100;
    const l = lowerTriangle('f64', n);
    for (let i = 0; i < n; i++) l[i * n + i] = 1;
    const d = fill(n, (i) => (i === index ? -0.75 : 2));
    const scaled = fill(n * n, (i) => l[i]! * d[i % n]!);
    const failure = await cholesky(toTensor(dtype, n, multiply(n, scaled, l, true))).catch((error: unknown) => error);
    expect(isPithError(failure) && failure.code).toBe('NOT_POSITIVE_DEFINITE');
    const { details, message } = failure as { details: { index: number; pivot: number }; message: string };
    expect(details.index).toBe(index);
    expect(details.pivot).toBeCloseTo(-0.75, dtype === 'f32' ? 4 : 10);
    expect(message).toContain(`at index ${index}`);
  });

  test('a singular matrix fails, and a NaN before any work', async () => {
    const n = 40;
    const a = positiveDefinite(dtype, n);
    for (let i = 0; i < n; i++) a[i * n + 30] = a[30 * n + i] = 0;
    const fails = async (values: Float64Array): Promise<unknown> =>
      ((await cholesky(toTensor(dtype, n, values)).catch((error: unknown) => error)) as { details: unknown }).details;
    expect(await fails(a)).toEqual({ index: 30, pivot: 0 });
    const b = positiveDefinite(dtype, n);
    b[20 * n + 3] = NaN;
    expect(await fails(b)).toMatchObject({ row: 20, column: 3 });
  });

  test.each([0, 17, 32])('a triangle with a zero at %i on its diagonal is named', async (index) => {
    const n = 33;
    const l = lowerTriangle(dtype, n);
    l[index * n + index] = 0;
    const failure = await triangularInverse(toTensor(dtype, n, l)).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'SINGULAR_TRIANGLE', details: { index, pivot: 0 } });
  });
});

test('f64 keeps what f32 loses', async () => {
  // The Hilbert matrix of 8 rows has a condition of 1.5e10.
  const n = 8;
  const hilbert = fill(n * n, (i) => 1 / (Math.floor(i / n) + (i % n) + 1));
  const l = await cholesky(toTensor('f64', n, hilbert));
  expect(distance(multiply(n, l.data, l.data, true), hilbert)).toBeLessThan(1e-15);
  const blocked = await cholesky(toTensor('f64', n, hilbert), { blockSize: 2 });
  expect(distance(multiply(n, blocked.data, blocked.data, true), hilbert)).toBeLessThan(1e-13);
  // 13 rows are beyond f32: what is left of the pivots is rounding.
  const beyond = fill(169, (i) => 1 / (Math.floor(i / 13) + (i % 13) + 1));
  await expect(cholesky(toTensor('f32', 13, beyond), { blockSize: 2 })).rejects.toMatchObject({
    code: 'NOT_POSITIVE_DEFINITE',
  });
});

test('what is no square float matrix is refused; an abort stops', async () => {
  const wrong = (shape: number[], dtype = 'f32'): HostTensor<'f32'> =>
    ({ dtype, shape, data: new Float32Array(6) }) as unknown as HostTensor<'f32'>;
  for (const tensor of [wrong([2, 3]), wrong([6]), wrong([2, 2]), wrong([2, 3], 'i32')]) {
    await expect(cholesky(tensor)).rejects.toMatchObject({ code: expect.stringMatching(/^LINALG_(SHAPE|DTYPE)$/) });
  }
  const signal = AbortSignal.abort();
  await expect(cholesky(toTensor('f32', 33, positiveDefinite('f32', 33)), { signal })).rejects.toMatchObject({
    code: 'STOPPED',
  });
});
