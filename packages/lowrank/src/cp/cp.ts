// CP decomposition: a sum of outer products of vectors, by alternating least squares (Carroll & Chang 1970; Harshman 1970;
// Kolda & Bader 2009, figure 3.3). Two sets of vectors are held while the third is solved for, until the error stays.
//
// It starts from the leading singular vectors of the unfoldings, and from random vectors where there are fewer of them than
// terms. The least-squares problems are solved by eigendecomposition of the terms' Gram matrix, directions below rounding
// left out: terms that become parallel do no harm. ALS may end in a local minimum; starts are cheap, the best of `starts` is
// kept.
import { PithError, Products, randomStream, symmetricEigen, throwIfStopped } from '@pith/tensor-core';
import type { Device } from '@pith/tensor-core';
import { checkTensor, MODES, squaresOf, unfold, type Matrix, type Mode, type Tensor3 } from '../tensor/tensor3.ts';

/** Options of {@link cp}. */
export interface CpOptions {
  /** Terms, at least 1. */
  readonly rank: number;
  /** Most rounds of each start; 200 when left out. */
  readonly iterations?: number;
  /** A start ends when a round lowers the relative error by less than this; 1e-7 when left out. */
  readonly tolerance?: number;
  /** Starts: the first from singular vectors, the others random; 1 when left out. */
  readonly starts?: number;
  /** Seed of random vectors; 0 when left out. */
  readonly seed?: number;
  /** Stops between two rounds. */
  readonly signal?: AbortSignal;
}

/** tensor is about the sum over r of weights[r] times the outer product of column r of the three factors. */
export interface Cp {
  /** Sizes of the terms, descending. */
  readonly weights: Float64Array;
  /** [length of the axis, rank], columns of norm 1. */
  readonly factors: readonly [Matrix, Matrix, Matrix];
  /** Frobenius norm of the error as a share of that of the tensor. */
  readonly relativeError: number;
  /** Rounds of the start that was kept. */
  readonly iterations: number;
  /** Whether that start ended by its tolerance. */
  readonly converged: boolean;
}

/**
 * CP decomposition of a tensor by alternating least squares.
 *
 * @throws PithError `TENSOR_SHAPE`, `TENSOR_NOT_FINITE`, `CP_OPTIONS`, `NOT_CONVERGED` (an eigendecomposition), `STOPPED`
 */
export async function cp(tensor: Tensor3, device: Device, options: CpOptions): Promise<Cp> {
  const { rank, starts = 1, seed = 0 } = options;
  checkTensor('cp', tensor);
  if (!Number.isSafeInteger(rank) || rank < 1 || !Number.isSafeInteger(starts) || starts < 1) {
    const text = `cp: rank and starts must be whole numbers of at least 1, got ${rank} and ${starts}`;
    throw new PithError('CP_OPTIONS', text, { details: { rank, starts } });
  }
  const products = new Products(device, 'f64');
  const unfolded = MODES.map((mode) => unfold(tensor, mode));
  try {
    let best: Cp | undefined;
    for (let start = 0; start < starts; start++) {
      const first: Matrix[] = [];
      for (const mode of MODES) {
        const leading = start === 0 ? await leadingVectors(unfolded[mode], rank, products, device) : undefined;
        first.push(filled(unfolded[mode].rows, rank, leading, `cp ${start} ${mode}`, seed));
      }
      const found = await alternate(tensor, unfolded, first, products, device, options);
      if (best === undefined || found.relativeError < best.relativeError) best = found;
    }
    return best!;
  } finally {
    await products.dispose();
  }
}

/** The tensor that a decomposition stands for. */
export function cpTensor({ weights, factors: [a, b, c] }: Pick<Cp, 'weights' | 'factors'>): Tensor3 {
  const data = new Float64Array(a.rows * b.rows * c.rows);
  for (let r = 0; r < weights.length; r++) {
    for (let i = 0; i < a.rows; i++) {
      for (let j = 0; j < b.rows; j++) {
        const factor = weights[r] * a.data[i * a.columns + r] * b.data[j * b.columns + r];
        const at = (i * b.rows + j) * c.rows;
        for (let k = 0; k < c.rows; k++) data[at + k] += factor * c.data[k * c.columns + r];
      }
    }
  }
  return { shape: [a.rows, b.rows, c.rows], data };
}

async function alternate(
  tensor: Tensor3,
  unfolded: readonly Matrix[],
  first: readonly Matrix[],
  products: Products<'f64'>,
  device: Device,
  { rank, iterations = 200, tolerance = 1e-7, signal }: CpOptions,
): Promise<Cp> {
  const factors = [...first];
  const grams = await Promise.all(factors.map((factor) => gramOf(factor, products)));
  const whole = squaresOf(tensor.data);
  let weights: Float64Array = new Float64Array(rank).fill(1);
  let error = Infinity;
  let round = 0;
  let converged = false;
  while (round < iterations && !converged) {
    throwIfStopped(signal, 'cp');
    round++;
    let inner = 0;
    for (const mode of MODES) {
      const [p, q] = MODES.filter((other) => other !== mode) as [Mode, Mode];
      // Terms of the least-squares problem: its right side and the Gram matrix of the products of the other two factors.
      const right = await products.multiply(unfolded[mode], khatriRao(factors[p], factors[q]));
      const gram = Float64Array.from(grams[p], (value, i) => value * grams[q][i]);
      const inverse = await pseudoInverse(gram, rank, device);
      const rows = unfolded[mode].rows;
      const solved = await products.multiply(
        { data: right, rows, columns: rank },
        { data: inverse, rows: rank, columns: rank },
      );
      const { factor, norms } = normalized(solved, rows, rank);
      weights = norms;
      factors[mode] = factor;
      grams[mode] = await gramOf(factor, products);
      inner = weightedInner(right, factor, weights);
    }
    // |T - S|^2 = |T|^2 - 2 <T, S> + |S|^2, from what the last step has at hand.
    let own = 0;
    for (let r = 0; r < rank; r++) {
      for (let s = 0; s < rank; s++) {
        const i = r * rank + s;
        own += weights[r] * weights[s] * grams[0][i] * grams[1][i] * grams[2][i];
      }
    }
    const next = whole === 0 ? 0 : Math.sqrt(Math.max(0, whole - 2 * inner + own) / whole);
    converged = error - next < tolerance;
    error = next;
  }
  return { ...ordered(weights, factors), relativeError: error, iterations: round, converged };
}

/** Row (i, j) is the product of row i of a and row j of b, element by element: [a.rows * b.rows, rank]. */
function khatriRao(a: Matrix, b: Matrix): Matrix {
  const rank = a.columns;
  const data = new Float64Array(a.rows * b.rows * rank);
  for (let i = 0; i < a.rows; i++) {
    for (let j = 0; j < b.rows; j++) {
      const at = (i * b.rows + j) * rank;
      for (let r = 0; r < rank; r++) data[at + r] = a.data[i * rank + r] * b.data[j * rank + r];
    }
  }
  return { data, rows: a.rows * b.rows, columns: rank };
}

function gramOf(factor: Matrix, products: Products<'f64'>): Promise<Float64Array> {
  return products.multiply({ ...factor, transpose: true }, factor);
}

/** The inverse of a positive semidefinite matrix where it has one, zero elsewhere. */
async function pseudoInverse(gram: Float64Array, n: number, device: Device): Promise<Float64Array> {
  const { values, vectors } = await symmetricEigen({ dtype: 'f64', shape: [n, n], data: gram }, device);
  const least = Math.max(0, values[0]) * n * Number.EPSILON;
  const result = new Float64Array(n * n);
  for (let k = 0; k < n; k++) {
    if (values[k] <= least) continue;
    for (let i = 0; i < n; i++) {
      const factor = vectors.data[i * n + k] / values[k];
      for (let j = 0; j < n; j++) result[i * n + j] += factor * vectors.data[j * n + k];
    }
  }
  return result;
}

function normalized(data: Float64Array, rows: number, rank: number): { factor: Matrix; norms: Float64Array } {
  const norms = new Float64Array(rank);
  for (let i = 0; i < data.length; i++) norms[i % rank] += data[i] * data[i];
  for (let r = 0; r < rank; r++) norms[r] = Math.sqrt(norms[r]);
  for (let i = 0; i < data.length; i++) if (norms[i % rank] > 0) data[i] /= norms[i % rank];
  return { factor: { data, rows, columns: rank }, norms };
}

/** Inner product of the tensor and the sum of terms, from the right side of the last factor's problem. */
function weightedInner(right: Float64Array, factor: Matrix, weights: Float64Array): number {
  const rank = weights.length;
  let sum = 0;
  for (let i = 0; i < right.length; i++) sum += weights[i % rank] * right[i] * factor.data[i];
  return sum;
}

async function leadingVectors(
  unfolded: Matrix,
  rank: number,
  products: Products<'f64'>,
  device: Device,
): Promise<Matrix> {
  const n = unfolded.rows;
  const gram = await products.multiply(unfolded, { ...unfolded, transpose: true });
  const { vectors } = await symmetricEigen({ dtype: 'f64', shape: [n, n], data: gram }, device);
  const columns = Math.min(n, rank);
  const data = new Float64Array(n * columns);
  for (let i = 0; i < n; i++) data.set(vectors.data.subarray(i * n, i * n + columns), i * columns);
  return { data, rows: n, columns };
}

/** A factor [rows, rank] that starts with given columns and goes on with random ones of norm 1. */
function filled(rows: number, rank: number, given: Matrix | undefined, name: string, seed: number): Matrix {
  const random = randomStream(seed, name);
  const data = Float64Array.from({ length: rows * rank }, () => random.normal());
  const { factor } = normalized(data, rows, rank);
  for (let i = 0; given && i < rows; i++) {
    factor.data.set(given.data.subarray(i * given.columns, (i + 1) * given.columns), i * rank);
  }
  return factor;
}

/** Terms by size. */
function ordered(weights: Float64Array, factors: readonly Matrix[]): Pick<Cp, 'weights' | 'factors'> {
  const order = [...weights.keys()].sort((a, b) => weights[b] - weights[a] || a - b);
  const sorted = ({ data, rows, columns }: Matrix): Matrix => {
    const result = new Float64Array(data.length);
    for (let i = 0; i < rows; i++)
      for (let r = 0; r < columns; r++) result[i * columns + r] = data[i * columns + order[r]];
    return { data: result, rows, columns };
  };
  const [a, b, c] = factors;
  return { weights: Float64Array.from(order, (r) => weights[r]), factors: [sorted(a), sorted(b), sorted(c)] };
}
