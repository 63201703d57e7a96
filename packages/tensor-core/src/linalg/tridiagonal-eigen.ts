// Symmetric tridiagonal eigenproblem by divide and conquer (Cuppen 1981; Gu & Eisenstat 1995): tear the matrix in two,
// solve the halves, join them by a rank-one update. Joining is one secular equation per eigenvalue and two matrix products,
// and the products take nearly all of the arithmetic, which is why this method is used here and QL is not.
//
// Eigenvectors are rows throughout, so that every gather and rotation runs over contiguous memory.
import { throwIfStopped } from '../errors/pith-error.ts';
import type { Products } from './products.ts';
import { secularRoot } from './secular-equation.ts';
import { tridiagonalQl } from './tridiagonal-ql.ts';

/** Matrices up to this dimension are solved by QL. */
export const LEAF_SIZE = 32;

/** Rows of eigenvectors that one product makes: bounds the scratch memory and the number of programs. */
const ROOT_CHUNK = 256;

/** Inner dimensions of products are rounded up to a multiple of this, for fewer programs. */
const POLE_MULTIPLE = 32;

const EPSILON = 2 ** -52;

/** Eigenvalues and eigenvectors of a tridiagonal matrix. */
export interface TridiagonalEigen {
  /** Ascending. */
  readonly values: Float64Array;
  /** n x n; row i is eigenvector i. */
  readonly vectors: Float64Array;
  /** Eigenvectors of halves that served the whole unchanged, to rounding: work saved, not accuracy lost. */
  readonly deflated: number;
}

/** Options of {@link tridiagonalEigen}. */
export interface TridiagonalEigenOptions {
  /** Largest dimension that is not divided; {@link LEAF_SIZE} when left out. */
  readonly leafSize?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Diagonalizes a symmetric tridiagonal matrix in f64; both arguments (n and n - 1 values) are overwritten. Errors are
 * of the order of eps times the largest element, whatever the size of the eigenvalue.
 *
 * @throws PithError `NOT_CONVERGED`, `STOPPED`
 */
export async function tridiagonalEigen(
  diagonal: Float64Array,
  offDiagonal: Float64Array,
  products: Products<'f64'>,
  options: TridiagonalEigenOptions = {},
): Promise<TridiagonalEigen> {
  const { leafSize = LEAF_SIZE, signal } = options;
  throwIfStopped(signal, 'symmetric eigendecomposition');
  const n = diagonal.length;
  if (n <= leafSize) {
    const vectors = new Float64Array(n * n);
    for (let i = 0; i < n; i++) vectors[i * n + i] = 1;
    tridiagonalQl(diagonal, offDiagonal, vectors);
    return { values: diagonal, vectors, deflated: 0 };
  }
  const cut = n >> 1;
  const bridge = offDiagonal[cut - 1];
  diagonal[cut - 1] -= Math.abs(bridge);
  diagonal[cut] -= Math.abs(bridge);
  const top = await tridiagonalEigen(diagonal.subarray(0, cut), offDiagonal.subarray(0, cut - 1), products, options);
  const bottom = await tridiagonalEigen(diagonal.subarray(cut), offDiagonal.subarray(cut), products, options);
  return join(top, bottom, bridge, products);
}

/** An eigenvector of the two halves side by side: its parts, where they are not zero. */
interface Pole {
  value: number;
  /** Component in the direction of the update. */
  z: number;
  top: Float64Array | undefined;
  bottom: Float64Array | undefined;
}

// Eigenvectors of diag(top, bottom) + rho u u^T, where u is 1 at the last row of the top and sign(bridge) at the first of the
// bottom; scaled so that u has norm 1.
async function join(
  upper: TridiagonalEigen,
  lower: TridiagonalEigen,
  bridge: number,
  products: Products<'f64'>,
): Promise<TridiagonalEigen> {
  const [m1, m2] = [upper.values.length, lower.values.length];
  const size = m1 + m2;
  const poles = sortedPoles(upper, lower, bridge < 0 ? -1 : 1);
  const rho = 2 * Math.abs(bridge);
  const { kept, dropped } = deflate(poles, rho);
  const count = kept.length;

  const roots = new Float64Array(count);
  const weights = Float64Array.from(kept, ({ z }) => z * z);
  const values = Float64Array.from(kept, ({ value }) => value);
  const distances = new Float64Array(count * count);
  for (let j = 0; j < count; j++) {
    roots[j] = secularRoot(values, weights, rho, j, distances.subarray(j * count, (j + 1) * count));
  }
  const z = exactWeights(kept, values, distances);

  const result = { values: new Float64Array(size), vectors: new Float64Array(size * size) };
  const order = placesOf(roots, dropped);
  dropped.forEach((pole, i) => {
    const at = order.dropped[i] * size;
    result.values[order.dropped[i]] = pole.value;
    if (pole.top) result.vectors.set(pole.top, at);
    if (pole.bottom) result.vectors.set(pole.bottom, at + m1);
  });
  roots.forEach((root, j) => (result.values[order.kept[j]] = root));
  const parts = [
    { at: 0, width: m1, lines: kept.map(({ top }) => top) },
    { at: m1, width: m2, lines: kept.map(({ bottom }) => bottom) },
  ];
  const norms = vectorNorms(z, distances);
  for (const { at, width, lines } of parts) {
    await combine(lines, width, z, distances, norms, products, (j, line) =>
      result.vectors.set(line, order.kept[j] * size + at),
    );
  }
  return { ...result, deflated: upper.deflated + lower.deflated + dropped.length };
}

function sortedPoles(upper: TridiagonalEigen, lower: TridiagonalEigen, sign: number): Pole[] {
  const [m1, m2] = [upper.values.length, lower.values.length];
  const poles: Pole[] = [];
  let [i, j] = [0, 0];
  while (i < m1 || j < m2) {
    if (j === m2 || (i < m1 && upper.values[i] <= lower.values[j])) {
      const top = upper.vectors.subarray(i * m1, (i + 1) * m1);
      poles.push({ value: upper.values[i++], z: top[m1 - 1] * Math.SQRT1_2, top, bottom: undefined });
    } else {
      const bottom = lower.vectors.subarray(j * m2, (j + 1) * m2);
      poles.push({ value: lower.values[j++], z: sign * bottom[0] * Math.SQRT1_2, top: undefined, bottom });
    }
  }
  return poles;
}

// Takes out the poles that the update does not move (no component), and of two equal poles the one whose component a
// rotation makes zero. What is neglected is below 8 eps times the largest element.
function deflate(poles: readonly Pole[], rho: number): { kept: Pole[]; dropped: Pole[] } {
  let largest = 0;
  for (const { value, z } of poles) largest = Math.max(largest, Math.abs(value), Math.abs(z));
  const tolerance = 8 * EPSILON * largest;
  const kept: Pole[] = [];
  const dropped: Pole[] = [];
  let pending: Pole | undefined;
  for (const pole of poles) {
    if (rho * Math.abs(pole.z) <= tolerance) {
      dropped.push(pole);
    } else if (pending === undefined) {
      pending = pole;
    } else {
      const radius = Math.hypot(pole.z, pending.z);
      const cosine = pole.z / radius;
      const sine = -pending.z / radius;
      const gap = pole.value - pending.value;
      if (Math.abs(gap * cosine * sine) <= tolerance) {
        rotate(pending, pole, cosine, sine);
        const { value } = pending;
        pending.value = value * cosine * cosine + pole.value * sine * sine;
        pole.value = value * sine * sine + pole.value * cosine * cosine;
        pole.z = radius;
        dropped.push(pending);
      } else {
        kept.push(pending);
      }
      pending = pole;
    }
  }
  if (pending !== undefined) kept.push(pending);
  return { kept, dropped };
}

function rotate(a: Pole, b: Pole, cosine: number, sine: number): void {
  for (const part of ['top', 'bottom'] as const) {
    const length = (a[part] ?? b[part])?.length;
    if (length === undefined) continue;
    const x = (a[part] ??= new Float64Array(length));
    const y = (b[part] ??= new Float64Array(length));
    for (let i = 0; i < length; i++) {
      const value = cosine * x[i] + sine * y[i];
      y[i] = cosine * y[i] - sine * x[i];
      x[i] = value;
    }
  }
}

// The update for which the computed roots are exact (Loewner's formula): eigenvectors made of it are orthogonal to rounding,
// however close the roots.
function exactWeights(kept: readonly Pole[], poles: Float64Array, distances: Float64Array): Float64Array {
  const count = kept.length;
  const squares = new Float64Array(count).fill(1);
  for (let j = 0; j < count; j++) {
    const at = j * count;
    const pole = poles[j];
    for (let i = 0; i < j; i++) squares[i] *= distances[at + i] / (poles[i] - pole);
    squares[j] *= distances[at + j];
    for (let i = j + 1; i < count; i++) squares[i] *= distances[at + i] / (poles[i] - pole);
  }
  return squares.map((square, i) => Math.sign(kept[i].z) * Math.sqrt(Math.abs(square)));
}

function vectorNorms(z: Float64Array, distances: Float64Array): Float64Array {
  const count = z.length;
  const norms = new Float64Array(count);
  for (let j = 0; j < count; j++) {
    let sum = 0;
    for (let i = 0; i < count; i++) {
      const component = z[i] / distances[j * count + i];
      sum += component * component;
    }
    norms[j] = Math.sqrt(sum);
  }
  return norms;
}

// One half of the new eigenvectors: each is a combination of the kept poles that have a part in this half.
async function combine(
  lines: readonly (Float64Array | undefined)[],
  width: number,
  z: Float64Array,
  distances: Float64Array,
  norms: Float64Array,
  products: Products<'f64'>,
  emit: (root: number, line: Float64Array) => void,
): Promise<void> {
  const count = z.length;
  const present = [...lines.keys()].filter((i) => lines[i] !== undefined);
  if (present.length === 0) return;
  const inner = Math.ceil(present.length / POLE_MULTIPLE) * POLE_MULTIPLE;
  const packed = new Float64Array(inner * width);
  present.forEach((i, row) => packed.set(lines[i]!, row * width));
  const chunk = Math.min(ROOT_CHUNK, Math.ceil(count / POLE_MULTIPLE) * POLE_MULTIPLE);
  const coefficients = new Float64Array(chunk * inner);
  const into = new Float64Array(chunk * width);
  for (let first = 0; first < count; first += chunk) {
    const end = Math.min(count, first + chunk);
    for (let j = first; j < end; j++) {
      const at = (j - first) * inner;
      for (let c = 0; c < present.length; c++) {
        const i = present[c];
        coefficients[at + c] = z[i] / (distances[j * count + i] * norms[j]);
      }
    }
    await products.multiply(
      { data: coefficients, rows: chunk, columns: inner },
      { data: packed, rows: inner, columns: width },
      { into },
    );
    for (let j = first; j < end; j++) emit(j, into.subarray((j - first) * width, (j - first + 1) * width));
  }
}

// Where each root and each dropped pole stands among all, ascending.
function placesOf(roots: Float64Array, dropped: readonly Pole[]): { kept: Int32Array; dropped: Int32Array } {
  const count = roots.length;
  const valueOf = (i: number): number => (i < count ? roots[i] : dropped[i - count].value);
  const order = Array.from({ length: count + dropped.length }, (_, i) => i);
  order.sort((a, b) => valueOf(a) - valueOf(b) || a - b);
  const places = new Int32Array(order.length);
  order.forEach((i, place) => (places[i] = place));
  return { kept: places.subarray(0, count), dropped: places.subarray(count) };
}
