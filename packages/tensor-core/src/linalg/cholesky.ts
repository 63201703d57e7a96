// Cholesky factorization by recursive halving: factor the first half, solve for the part below it, subtract its square from
// the rest, factor the rest. All but the blocks on the diagonal are compiled matrix products in the dtype of the matrix;
// these blocks are factored and inverted in f64, in plain TypeScript. Solving with a block multiplies by its inverse, as
// blocked solvers on accelerators do: the error grows with the condition of single blocks, not of the matrix.
import { throwIfStopped } from '../errors/pith-error.ts';
import type { Device, HostArrays } from '../device/device.ts';
import type { RunOptions } from '../progress/progress.ts';
import { newArray, readBlock, splitPoint, writeBlock, zeroAbove } from './blocks.ts';
import type { SquareMatrix } from './blocks.ts';
import { checkSquare } from './matrix.ts';
import type { RealMatrix } from './matrix.ts';
import { Products } from './products.ts';
import type { RealDType } from './products.ts';
import { choleskyReference, invertLowerReference } from './cholesky-reference.ts';

/** Options of the blocked operations on triangular matrices. */
export interface TriangularOptions extends RunOptions {
  /** Rows of the blocks on the diagonal; 128 when left out. Results differ by rounding. */
  readonly blockSize?: number;
  /** Products of at most this many multiplications run as plain loops. */
  readonly plainWork?: number;
}

/**
 * The Cholesky factor of a symmetric positive definite matrix: the lower triangular L with A = L L^T.
 *
 * Products run in the dtype of the matrix on the device; blocks on the diagonal are factored in f64.
 *
 * @param matrix f32 or f64 [n, n], of which only the lower triangle is used. Not changed.
 * @returns The dtype of the matrix, [n, n], zero above the diagonal.
 * @throws PithError `NOT_POSITIVE_DEFINITE` with `details` `{index, pivot}`: the first pivot, counted from 0, that is not a
 * positive number; `LINALG_SHAPE`, `LINALG_DTYPE`, `LINALG_NOT_FINITE` before any work; `STOPPED`.
 */
export async function cholesky<D extends RealDType>(
  matrix: RealMatrix<D>,
  device: Device,
  options: TriangularOptions = {},
): Promise<RealMatrix<D>> {
  const n = checkSquare('cholesky', matrix);
  const { dtype } = matrix;
  const products = new Products(device, dtype, options.plainWork);
  const data = matrix.data.slice() as HostArrays[D];
  try {
    await factorInPlace({ dtype, n, data }, products, options);
  } finally {
    await products.dispose();
  }
  return { dtype, shape: [n, n], data };
}

/**
 * @internal {@link cholesky} without checks, on given products; what lies above the diagonal is set to zero. Returns the
 * inverses of the factor's diagonal blocks by their first row, for `invertInPlace` with the same block size.
 */
export async function factorInPlace<D extends RealDType>(
  matrix: SquareMatrix<D>,
  products: Products<D>,
  { blockSize = 128, signal, progress }: TriangularOptions,
): Promise<ReadonlyMap<number, HostArrays[D]>> {
  const { n } = matrix;
  // Inverses of the factors of diagonal blocks by their first row, in the dtype of the matrix.
  const inverses = new Map<number, HostArrays[D]>();

  const factor = async (start: number, size: number): Promise<void> => {
    throwIfStopped(signal, 'cholesky');
    if (size <= blockSize) {
      inverses.set(start, factorBlock(matrix, start, size));
      progress?.({ phase: 'cholesky', done: start + size, total: n, unit: 'column' });
      return;
    }
    const half = splitPoint(size, blockSize);
    const [below, rest] = [start + half, size - half];
    await factor(start, half);
    await solve(below, rest, start, half);
    const left = { data: readBlock(matrix, below, start, rest, half), rows: rest, columns: half };
    const corner = readBlock(matrix, below, below, rest, rest);
    const updated = await products.multiply(left, { ...left, transpose: true }, { scale: -1, add: corner });
    writeBlock(matrix, below, below, rest, updated);
    await factor(below, rest);
  };

  // X L^T = B for rows `row` to `row + rows`, L the factor at `start`; B lies where X goes.
  const solve = async (row: number, rows: number, start: number, size: number): Promise<void> => {
    if (size <= blockSize) {
      const right = { data: readBlock(matrix, row, start, rows, size), rows, columns: size };
      const inverse = { data: inverses.get(start)!, rows: size, columns: size, transpose: true };
      writeBlock(matrix, row, start, size, await products.multiply(right, inverse));
      return;
    }
    const half = splitPoint(size, blockSize);
    const [next, rest] = [start + half, size - half];
    await solve(row, rows, start, half);
    const solved = { data: readBlock(matrix, row, start, rows, half), rows, columns: half };
    const coupling = { data: readBlock(matrix, next, start, rest, half), rows: rest, columns: half, transpose: true };
    const right = readBlock(matrix, row, next, rows, rest);
    writeBlock(matrix, row, next, rest, await products.multiply(solved, coupling, { scale: -1, add: right }));
    await solve(row, rows, next, rest);
  };

  await factor(0, n);
  zeroAbove(matrix);
  return inverses;
}

// Factors the block in f64, writes it back, and returns the inverse of its factor.
function factorBlock<D extends RealDType>(matrix: SquareMatrix<D>, start: number, size: number): HostArrays[D] {
  const block = Float64Array.from(readBlock(matrix, start, start, size, size));
  choleskyReference(block, size, start);
  for (let i = 0; i < size; i++) block.fill(0, i * size + i + 1, (i + 1) * size);
  writeBlock(matrix, start, start, size, block);
  invertLowerReference(block, size, start);
  const inverse = newArray(matrix.dtype, block.length);
  inverse.set(block);
  return inverse;
}
