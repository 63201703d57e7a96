// Cholesky factorization by recursive halving: factor the first half, solve for the part below it, subtract its square from
// the rest, factor the rest. All but the blocks on the diagonal are compiled matrix products in the dtype of the matrix;
// these blocks are factored and inverted in f64 by kernels. Solving with a block multiplies by its inverse, as
// blocked solvers on accelerators do: the error grows with the condition of single blocks, not of the matrix.
import { throwIfStopped } from '../errors/pith-error.ts';
import type { Device, HostArrays } from '../device/device.ts';
import type { RunOptions } from '../progress/progress.ts';
import { blockScratch, copyBlock, newArray, readBlock, splitPoint, writeBlock, zeroAbove } from './blocks.ts';
import type { SquareMatrix } from './blocks.ts';
import { checkSquare } from './matrix.ts';
import type { RealMatrix } from './matrix.ts';
import { Products } from './products.ts';
import type { RealDType } from './products.ts';
import { factorDiagonalBlock } from './diagonal-block.ts';

/** Squares of up to this many rows are multiplied whole, though half would do: smaller products are slower. */
const WHOLE_SQUARE = 256;

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
  // Copies of blocks; the largest half is no larger than this.
  const largest = n <= blockSize ? 0 : splitPoint(n, blockSize) ** 2;
  const [left, right, result] = blockScratch(matrix, largest);

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
    copyBlock(matrix, below, start, rest, half, left);
    await subtractSquare(below, half, 0, rest);
    await factor(below, rest);
  };

  // The lower triangle from row `at` to `at + size` behind row `below` loses L L^T, L the rows in `left`. What lies above the
  // diagonal is changed too where a square is cheaper than its halves.
  const subtractSquare = async (below: number, columns: number, at: number, size: number): Promise<void> => {
    if (size <= WHOLE_SQUARE) return subtract(below, columns, at, size, at, size);
    const half = splitPoint(size, WHOLE_SQUARE / 2);
    await subtractSquare(below, columns, at, half);
    await subtract(below, columns, at + half, size - half, at, half);
    await subtractSquare(below, columns, at + half, size - half);
  };

  const subtract = async (below: number, columns: number, r: number, rows: number, c: number, width: number) => {
    const part = (at: number, count: number): HostArrays[D] =>
      left.subarray(at * columns, (at + count) * columns) as HostArrays[D];
    const target = copyBlock(matrix, below + r, below + c, rows, width, result);
    await products.multiply(
      { data: part(r, rows), rows, columns },
      { data: part(c, width), rows: width, columns, transpose: true },
      { scale: -1, add: target, into: target },
    );
    writeBlock(matrix, below + r, below + c, width, target);
  };

  // X L^T = B for rows `row` to `row + rows`, L the factor at `start`; B lies where X goes.
  const solve = async (row: number, rows: number, start: number, size: number): Promise<void> => {
    if (size <= blockSize) {
      const given = { data: copyBlock(matrix, row, start, rows, size, left), rows, columns: size };
      const inverse = { data: inverses.get(start)!, rows: size, columns: size, transpose: true };
      const into = result.subarray(0, rows * size) as HostArrays[D];
      writeBlock(matrix, row, start, size, await products.multiply(given, inverse, { into }));
      return;
    }
    const half = splitPoint(size, blockSize);
    const [next, rest] = [start + half, size - half];
    await solve(row, rows, start, half);
    const solved = { data: copyBlock(matrix, row, start, rows, half, left), rows, columns: half };
    const coupling = copyBlock(matrix, next, start, rest, half, right);
    const target = copyBlock(matrix, row, next, rows, rest, result);
    await products.multiply(
      solved,
      { data: coupling, rows: rest, columns: half, transpose: true },
      { scale: -1, add: target, into: target },
    );
    writeBlock(matrix, row, next, rest, target);
    await solve(row, rows, next, rest);
  };

  await factor(0, n);
  zeroAbove(matrix);
  return inverses;
}

// Factors the block in f64, writes it back, and returns the inverse of its factor.
function factorBlock<D extends RealDType>(matrix: SquareMatrix<D>, start: number, size: number): HostArrays[D] {
  const block = Float64Array.from(readBlock(matrix, start, start, size, size));
  const inverse = new Float64Array(block.length);
  factorDiagonalBlock(block, inverse, size, start);
  writeBlock(matrix, start, start, size, block);
  const rounded = newArray(matrix.dtype, block.length);
  rounded.set(inverse);
  return rounded;
}
