// Orthonormal bases of the columns of a tall matrix. Cholesky QR (Gram matrix, factor, inverse, product) is all matrix
// products and several times as fast as Householder's QR, but needs columns that are well independent once each has norm
// one; where they are not, Householder's takes over, and the result says so.
import { PithError, isPithError } from '../errors/pith-error.ts';
import type { HostArrays } from '../device/device.ts';
import { factorInPlace } from './cholesky.ts';
import type { Products, RealDType } from './products.ts';
import { qrF64 } from './qr.ts';
import { invertInPlace } from './triangular-inverse.ts';

/** Below this smallest pivot, Cholesky QR gives way to Householder's. */
const RESCUE_PIVOT = 2 ** -10;

/** Below this smallest pivot, Cholesky QR runs a second time: the loss of orthogonality is 2^-52 / pivot^2. */
const REPEAT_PIVOT = { f32: 2 ** -11, f64: 0.5 } as const;

/** A = q * r with orthonormal columns in q. */
export interface OrthonormalColumns {
  /** rows x columns. */
  readonly q: Float64Array;
  /** columns x columns, upper triangular. */
  readonly r: Float64Array;
  /** Householder's method was needed. */
  readonly rescued: boolean;
}

/**
 * Factors `data` (rows x columns, rows >= columns, values whose squares f64 can hold) to the precision of `dtype`. `data` is
 * not changed.
 *
 * @throws PithError `STOPPED`
 */
export async function orthonormalColumns(
  data: HostArrays[RealDType],
  rows: number,
  columns: number,
  dtype: RealDType,
  products: Products<'f64'>,
  signal?: AbortSignal,
): Promise<OrthonormalColumns> {
  const exact = data instanceof Float64Array ? data : new Float64Array(data);
  const rescue = async (): Promise<OrthonormalColumns> => {
    return { ...(await qrF64(exact, rows, columns, products, { ...(signal && { signal }) })), rescued: true };
  };
  const first = await choleskyQr(exact, rows, columns, products, signal);
  if (first === undefined || first.pivot < RESCUE_PIVOT) return rescue();
  if (first.pivot >= REPEAT_PIVOT[dtype]) return { q: first.q, r: first.r, rescued: false };
  const second = await choleskyQr(first.q, rows, columns, products, signal);
  if (second === undefined) return rescue();
  const square = { rows: columns, columns };
  const r = await products.multiply({ data: second.r, ...square }, { data: first.r, ...square });
  return { q: second.q, r, rescued: false };
}

/** A basis of nearly what the columns of a matrix span, and how these were conditioned. */
export interface ConditionedColumns<D extends RealDType> {
  /** rows x columns: orthonormal but for directions that rounding in the dtype has drowned, which stay small. */
  readonly data: HostArrays[D];
  /** About the smallest singular value of the given matrix; 0 where rounding does not let it be told. */
  readonly smallest: number;
  /** Frobenius norm of the given matrix. */
  readonly norm: number;
  /** How often the Gram matrix had to be moved further from singular than by rounding alone. */
  readonly shifts: number;
}

/**
 * Columns that span what those of `data` span and are far better conditioned, for use between steps of an iteration: one
 * Cholesky QR in the dtype of the matrix, with the Gram matrix moved away from singular by its rounding. They are written
 * to `into`.
 *
 * @throws PithError `NOT_CONVERGED` (details: iterations) when the products are not finite; `STOPPED`.
 */
export async function wellConditioned<D extends RealDType>(
  data: HostArrays[D],
  rows: number,
  columns: number,
  products: Products<D>,
  exact: Products<'f64'>,
  into: HostArrays[D],
  signal?: AbortSignal,
): Promise<ConditionedColumns<D>> {
  const operand = { data, rows, columns };
  const gram = new Float64Array(await products.multiply({ ...operand, transpose: true }, operand));
  const norms = new Float64Array(columns);
  let squares = 0;
  for (let i = 0; i < columns; i++) {
    const square = Math.max(0, gram[i * columns + i]);
    norms[i] = Math.sqrt(square);
    squares += square;
  }
  const scale = inverses(norms);
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < i; j++) gram[i * columns + j] *= scale[i] * scale[j];
    // A column of zeros stays one.
    gram[i * columns + i] = 1;
  }
  let shift = 16 * Math.sqrt(columns) * (products.dtype === 'f32' ? 2 ** -24 : 2 ** -53);
  for (let shifts = 0; ; shifts++, shift *= 16) {
    const shifted = gram.slice();
    for (let i = 0; i < columns; i++) shifted[i * columns + i] += shift;
    const inverse = await inverseFactor(shifted, columns, exact, signal);
    if (inverse === undefined) {
      // From there on the diagonal dominates a Gram matrix of columns of norm one.
      if (shift > columns) throw notConverged(shifts + 1);
      continue;
    }
    const { data: right } = inverse;
    for (let i = 0; i < columns; i++) for (let j = 0; j <= i; j++) right[i * columns + j] *= scale[j];
    const factor = (products.dtype === 'f32' ? new Float32Array(right) : right) as HostArrays[D];
    await products.multiply(operand, { data: factor, rows: columns, columns, transpose: true }, { into });
    return { data: into, smallest: smallestOf(right, norms, shift), norm: Math.sqrt(squares), shifts };
  }
}

// The smallest singular value of a matrix with these column norms, from the inverse of the Cholesky factor of its Gram matrix
// moved by `shift` times their squares: a few steps of the inverse power method, which end a few percent above it.
function smallestOf(l: Float64Array, norms: Float64Array, shift: number): number {
  const n = norms.length;
  let x = new Float64Array(n).fill(1 / Math.sqrt(n));
  let square = 0;
  for (let step = 0; step < 8; step++) {
    // L^T L x, a row of L at a time.
    const back = new Float64Array(n);
    for (let i = 0, at = 0; i < n; i++, at += n) {
      let image = 0;
      for (let j = 0; j <= i; j++) image += l[at + j] * x[j];
      for (let j = 0; j <= i; j++) back[j] += l[at + j] * image;
    }
    const growth = Math.sqrt(back.reduce((sum, value) => sum + value * value, 0));
    square = 1 / growth;
    x = back.map((value) => value / growth);
  }
  let moved = 0;
  for (let i = 0; i < n; i++) moved += shift * norms[i] ** 2 * x[i] ** 2;
  return square > 1.25 * moved ? Math.sqrt(square - moved) : 0;
}

// Cholesky QR of the columns scaled to norm one: the scales go into the small matrices. `pivot` is the smallest of the scaled
// Gram matrix. Undefined where that is not positive definite, or a column is zero.
async function choleskyQr(
  data: Float64Array,
  rows: number,
  columns: number,
  products: Products<'f64'>,
  signal: AbortSignal | undefined,
): Promise<{ q: Float64Array; r: Float64Array; pivot: number } | undefined> {
  const operand = { data, rows, columns };
  const gram = await products.multiply({ ...operand, transpose: true }, operand);
  const norms = Float64Array.from({ length: columns }, (_, i) => Math.sqrt(gram[i * columns + i]));
  if (norms.includes(0)) return undefined;
  const scale = inverses(norms);
  for (let i = 0; i < columns; i++) for (let j = 0; j <= i; j++) gram[i * columns + j] *= scale[i] * scale[j];
  const inverse = await inverseFactor(gram, columns, products, signal);
  if (inverse === undefined) return undefined;
  const { data: right, factor, pivot } = inverse;
  for (let i = 0; i < columns; i++) for (let j = 0; j <= i; j++) right[i * columns + j] *= scale[j];
  const q = await products.multiply(operand, { data: right, rows: columns, columns, transpose: true });
  const r = new Float64Array(columns * columns);
  for (let j = 0; j < columns; j++)
    for (let i = 0; i <= j; i++) r[i * columns + j] = factor[j * columns + i] * norms[j];
  return { q, r, pivot };
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

function notConverged(iterations: number): PithError {
  return new PithError(
    'NOT_CONVERGED',
    `orthonormal columns: the Gram matrix must become positive definite, and did not in ${iterations} shifts; ` +
      'report this with the matrix',
    { kind: 'internal', details: { iterations } },
  );
}
