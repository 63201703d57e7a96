// Tucker decomposition: a small core multiplied along each axis by a matrix with orthonormal columns. HOSVD takes the leading
// singular vectors of each unfolding (De Lathauwer, De Moor & Vandewalle 2000a); HOOI improves them in turn, each in the
// space that the other two leave (2000b; Kolda & Bader 2009, figure 4.4).
//
// Singular vectors come from the eigendecomposition of the Gram matrix of an unfolding: exact to the root of f64's precision.
import { PithError, Products, symmetricEigen, throwIfStopped } from '@pith/tensor-core';
import type { Device } from '@pith/tensor-core';
import {
  checkTensor,
  modeProduct,
  MODES,
  squaresOf,
  unfold,
  type Matrix,
  type Mode,
  type Tensor3,
} from '../tensor/tensor3.ts';

/** Lengths of the core's axes. */
export type TuckerRanks = readonly [number, number, number];

/** Options of {@link tucker}. */
export interface TuckerOptions {
  /** Each from 1 to the length of its axis. */
  readonly ranks: TuckerRanks;
  /** Rounds of HOOI; 0 leaves it at HOSVD, 25 when left out. */
  readonly iterations?: number;
  /** HOOI ends when a round lowers the relative error by less than this; 1e-6 when left out. */
  readonly tolerance?: number;
  /** Stops between two steps. */
  readonly signal?: AbortSignal;
}

/** tensor is about core times factors[0] along axis 0, factors[1] along axis 1, factors[2] along axis 2. */
export interface Tucker {
  /** [ranks]. */
  readonly core: Tensor3;
  /** [length of the axis, rank], orthonormal columns. */
  readonly factors: readonly [Matrix, Matrix, Matrix];
  /** Frobenius norm of the error as a share of that of the tensor. */
  readonly relativeError: number;
  /** Relative error after HOSVD and after each round of HOOI. */
  readonly errors: readonly number[];
}

/**
 * Tucker decomposition of a tensor by HOSVD, improved by HOOI.
 *
 * @throws PithError `TENSOR_SHAPE`, `TENSOR_NOT_FINITE`, `TUCKER_RANKS`, `NOT_CONVERGED`, `STOPPED`
 */
export async function tucker(tensor: Tensor3, device: Device, options: TuckerOptions): Promise<Tucker> {
  const { ranks, iterations = 25, tolerance = 1e-6, signal } = options;
  checkTensor('tucker', tensor);
  checkRanks(tensor, ranks);
  const products = new Products(device, 'f64');
  const whole = squaresOf(tensor.data);
  const errorOf = ({ data }: Tensor3) => (whole === 0 ? 0 : Math.sqrt(Math.max(0, whole - squaresOf(data)) / whole));
  try {
    const factors: Matrix[] = [];
    for (const mode of MODES) {
      throwIfStopped(signal, 'tucker');
      factors.push(await leadingVectors(tensor, mode, ranks[mode], products, device, signal));
    }
    let core = await project(tensor, factors, undefined, products);
    const errors = [errorOf(core)];
    for (let round = 0; round < iterations; round++) {
      for (const mode of MODES) {
        throwIfStopped(signal, 'tucker');
        // A basis of the whole axis cannot be improved.
        if (ranks[mode] === tensor.shape[mode]) continue;
        const rest = await project(tensor, factors, mode, products);
        factors[mode] = await leadingVectors(rest, mode, ranks[mode], products, device, signal);
      }
      core = await project(tensor, factors, undefined, products);
      errors.push(errorOf(core));
      if (errors.at(-2)! - errors.at(-1)! < tolerance) break;
    }
    const [a, b, c] = factors;
    return { core, factors: [a, b, c], relativeError: errors.at(-1)!, errors };
  } finally {
    await products.dispose();
  }
}

/** The tensor that a decomposition stands for. */
export async function tuckerTensor(
  { core, factors }: Pick<Tucker, 'core' | 'factors'>,
  device: Device,
): Promise<Tensor3> {
  const products = new Products(device, 'f64');
  try {
    let result = core;
    for (const mode of MODES) result = await modeProduct(result, factors[mode], mode, products);
    return result;
  } finally {
    await products.dispose();
  }
}

/** The tensor in the space of the factors, all of them or all but one. */
async function project(
  tensor: Tensor3,
  factors: readonly Matrix[],
  except: Mode | undefined,
  products: Products<'f64'>,
): Promise<Tensor3> {
  let result = tensor;
  for (const mode of MODES) {
    if (mode !== except) result = await modeProduct(result, factors[mode], mode, products, true);
  }
  return result;
}

/** Leading left singular vectors of an unfolding, [length of the axis, rank]. */
async function leadingVectors(
  tensor: Tensor3,
  mode: Mode,
  rank: number,
  products: Products<'f64'>,
  device: Device,
  signal?: AbortSignal,
): Promise<Matrix> {
  const unfolded = unfold(tensor, mode);
  const n = unfolded.rows;
  const gram = await products.multiply(unfolded, { ...unfolded, transpose: true });
  const { vectors } = await symmetricEigen(
    { dtype: 'f64', shape: [n, n], data: gram },
    device,
    signal ? { signal } : {},
  );
  const data = new Float64Array(n * rank);
  for (let i = 0; i < n; i++) data.set(vectors.data.subarray(i * n, i * n + rank), i * rank);
  return { data, rows: n, columns: rank };
}

function checkRanks({ shape }: Tensor3, ranks: TuckerRanks): void {
  const bad =
    ranks.length !== 3 || ranks.some((rank, axis) => !Number.isSafeInteger(rank) || rank < 1 || rank > shape[axis]);
  if (!bad) return;
  throw new PithError(
    'TUCKER_RANKS',
    `tucker: ranks must be from 1 to the lengths of the axes [${shape.join(', ')}], got [${ranks.join(', ')}]`,
    { details: { shape, ranks } },
  );
}
