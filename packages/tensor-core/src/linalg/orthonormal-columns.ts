// Orthonormal bases of the columns of a tall matrix. Cholesky QR (Gram matrix, factor, inverse, product) is all matrix
// products and several times as fast as Householder's QR, but needs columns that are well independent once each has norm
// one; where they are not, Householder's takes over, and the result says so.
import { isPithError } from '../errors/pith-error.ts';
import type { HostArrays } from '../device/device.ts';
import { factorInPlace } from './cholesky.ts';
import type { Products, RealDType } from './products.ts';
import { qrF64 } from './qr.ts';
import { invertInPlace } from './triangular-inverse.ts';

/** Below this smallest pivot, Cholesky QR gives way to Householder's. */
const RESCUE_PIVOT = 2 ** -10;

/** Below this smallest pivot, Cholesky QR runs a second time: the loss of orthogonality is eps / pivot^2. */
const REPEAT_PIVOT = 0.5;

/** A = q * r with orthonormal columns in q. */
export interface OrthonormalColumns {
  /** rows x columns. */
  readonly q: Float64Array;
  /** columns x columns, upper triangular. */
  readonly r: Float64Array;
  /** Householder's method was needed. */
  readonly rescued: boolean;
}

/** Factors `data` (rows x columns, rows >= columns). `data` is not changed. @throws PithError `STOPPED` */
export async function orthonormalColumns(
  data: Float64Array,
  rows: number,
  columns: number,
  products: Products<'f64'>,
  signal?: AbortSignal,
): Promise<OrthonormalColumns> {
  const norms = columnNorms(data, columns);
  const scaled = scaleColumns(data, columns, inverses(norms), new Float64Array(data.length));
  const first = norms.includes(0) ? undefined : await choleskyQr(scaled, rows, columns, products, signal);
  if (first === undefined || first.pivot < RESCUE_PIVOT) {
    return { ...(await qrF64(data, rows, columns, products, { ...(signal && { signal }) })), rescued: true };
  }
  if (first.pivot >= REPEAT_PIVOT) {
    return { q: first.q, r: scaleColumns(first.r, columns, norms, first.r), rescued: false };
  }
  const second = await choleskyQr(first.q, rows, columns, products, signal);
  if (second === undefined) {
    return { ...(await qrF64(data, rows, columns, products, { ...(signal && { signal }) })), rescued: true };
  }
  const square = { rows: columns, columns };
  const r = await products.multiply({ data: second.r, ...square }, { data: first.r, ...square });
  return { q: second.q, r: scaleColumns(r, columns, norms, r), rescued: false };
}

/**
 * The matrix A X that spans what the columns of A span and is far better conditioned: A X is orthonormal but for directions
 * that rounding in the dtype of A has drowned, which stay small. For use between steps of an iteration.
 *
 * `shifts` counts how often the Gram matrix had to be moved further from singular than by rounding alone.
 */
export async function wellConditioned<D extends RealDType>(
  data: HostArrays[D],
  rows: number,
  columns: number,
  products: Products<D>,
  exact: Products<'f64'>,
  signal?: AbortSignal,
): Promise<{ data: HostArrays[D]; shifts: number }> {
  const operand = { data, rows, columns };
  const gram = Float64Array.from(await products.multiply({ ...operand, transpose: true }, operand));
  const norms = new Float64Array(columns);
  for (let i = 0; i < columns; i++) norms[i] = Math.sqrt(Math.max(0, gram[i * columns + i]));
  const scale = inverses(norms);
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < columns; j++) gram[i * columns + j] *= scale[i] * scale[j];
    // A column of zeros stays one.
    gram[i * columns + i] = 1;
  }
  let shift = 16 * Math.sqrt(columns) * (products.dtype === 'f32' ? 2 ** -24 : 2 ** -53);
  for (let shifts = 0; ; shifts++, shift *= 16) {
    const shifted = gram.slice();
    for (let i = 0; i < columns; i++) shifted[i * columns + i] += shift;
    const inverse = await inverseFactor(shifted, columns, exact, signal);
    if (inverse === undefined) continue; // ends: at shift 1 the diagonal dominates
    const right = (products.dtype === 'f32' ? new Float32Array(columns * columns) : inverse.data) as HostArrays[D];
    for (let i = 0; i < columns; i++) {
      for (let j = 0; j < columns; j++) right[i * columns + j] = inverse.data[i * columns + j] * scale[j];
    }
    const result = await products.multiply(operand, { data: right, rows: columns, columns, transpose: true });
    return { data: result, shifts };
  }
}

async function choleskyQr(
  data: Float64Array,
  rows: number,
  columns: number,
  products: Products<'f64'>,
  signal: AbortSignal | undefined,
): Promise<{ q: Float64Array; r: Float64Array; pivot: number } | undefined> {
  const operand = { data, rows, columns };
  const gram = await products.multiply({ ...operand, transpose: true }, operand);
  const inverse = await inverseFactor(gram, columns, products, signal);
  if (inverse === undefined) return undefined;
  const q = await products.multiply(operand, { data: inverse.data, rows: columns, columns, transpose: true });
  const r = new Float64Array(columns * columns);
  for (let i = 0; i < columns; i++)
    for (let j = i; j < columns; j++) r[i * columns + j] = inverse.factor[j * columns + i];
  return { q, r, pivot: inverse.pivot };
}

// The Cholesky factor of a Gram matrix and its inverse; undefined where the matrix is not positive definite. `gram` is
// overwritten.
async function inverseFactor(
  gram: Float64Array,
  n: number,
  products: Products<'f64'>,
  signal: AbortSignal | undefined,
): Promise<{ factor: Float64Array; data: Float64Array; pivot: number } | undefined> {
  const options = signal === undefined ? {} : { signal };
  try {
    await factorInPlace({ dtype: 'f64', n, data: gram }, products, options);
  } catch (error) {
    if (isPithError(error) && error.code === 'NOT_POSITIVE_DEFINITE') return undefined;
    throw error;
  }
  let pivot = Infinity;
  for (let i = 0; i < n; i++) pivot = Math.min(pivot, gram[i * n + i]);
  const inverse = { dtype: 'f64' as const, n, data: gram.slice() };
  await invertInPlace(inverse, products, options);
  return { factor: gram, data: inverse.data, pivot };
}

/** The Euclidean norm of each column, without overflow for values within the range of f32. */
export function columnNorms(data: Float64Array, columns: number): Float64Array {
  const norms = new Float64Array(columns);
  for (let at = 0; at < data.length; at += columns) {
    for (let j = 0; j < columns; j++) norms[j] += data[at + j] * data[at + j];
  }
  return norms.map(Math.sqrt);
}

/** Column j of the result is column j of `data` times `factors[j]`. `into` may be `data`. */
export function scaleColumns(
  data: Float64Array,
  columns: number,
  factors: Float64Array,
  into: Float64Array,
): Float64Array {
  for (let at = 0; at < data.length; at += columns) {
    for (let j = 0; j < columns; j++) into[at + j] = data[at + j] * factors[j];
  }
  return into;
}

/** 1 / x, and 0 for 0. */
export function inverses(values: Float64Array): Float64Array {
  return values.map((value) => (value === 0 ? 0 : 1 / value));
}
