// Inversion of a triangular matrix by recursive halving: [A 0; C D] has the inverse [A' 0; -D' C A' D'], a prime marking an
// inverse. The products are compiled, in the dtype of the matrix; blocks on the diagonal are inverted in f64, in plain
// TypeScript (Du Croz & Higham 1992 compare the ways to do this; the residual of this one is bounded like theirs).
import { throwIfStopped } from '../errors/pith-error.ts';
import type { Device, HostArrays } from '../device/device.ts';
import { blockScratch, copyBlock, readBlock, splitPoint, transposeInPlace, writeBlock, zeroAbove } from './blocks.ts';
import type { SquareMatrix } from './blocks.ts';
import type { TriangularOptions } from './cholesky.ts';
import { invertLowerReference } from './cholesky-reference.ts';
import { checkSquare } from './matrix.ts';
import type { RealMatrix } from './matrix.ts';
import { Products } from './products.ts';
import type { RealDType } from './products.ts';

/** Options of {@link triangularInverse}. */
export interface TriangularInverseOptions extends TriangularOptions {
  /** The triangle that holds the values, `lower` when left out; the other is not used. */
  readonly triangle?: 'lower' | 'upper';
}

/**
 * The inverse of a triangular matrix.
 *
 * Products run in the dtype of the matrix on the device; blocks on the diagonal are inverted in f64.
 *
 * @param matrix f32 or f64 [n, n]. Not changed.
 * @returns The dtype of the matrix, [n, n], zero in the other triangle.
 * @throws PithError `SINGULAR_TRIANGLE` with `details` `{index, pivot}`: the first diagonal element that is zero;
 * `LINALG_SHAPE`, `LINALG_DTYPE`, `LINALG_NOT_FINITE` before any work; `STOPPED`.
 */
export async function triangularInverse<D extends RealDType>(
  matrix: RealMatrix<D>,
  device: Device,
  options: TriangularInverseOptions = {},
): Promise<RealMatrix<D>> {
  const n = checkSquare('triangular inverse', matrix);
  const { dtype } = matrix;
  const products = new Products(device, dtype, options.plainWork);
  const work = { dtype, n, data: matrix.data.slice() as HostArrays[D] };
  const upper = options.triangle === 'upper';
  try {
    if (upper) transposeInPlace(work);
    await invertInPlace(work, products, options);
    if (upper) transposeInPlace(work);
  } finally {
    await products.dispose();
  }
  return { dtype, shape: [n, n], data: work.data };
}

/** @internal {@link triangularInverse} of a lower triangle without checks, on given products; `known` from `factorInPlace`. */
export async function invertInPlace<D extends RealDType>(
  matrix: SquareMatrix<D>,
  products: Products<D>,
  { blockSize = 128, signal, progress }: TriangularOptions,
  known?: ReadonlyMap<number, HostArrays[D]>,
): Promise<void> {
  const { n } = matrix;
  // Copies of blocks; the largest half is no larger than this.
  const largest = n <= blockSize ? 0 : splitPoint(n, blockSize) ** 2;
  const [left, right, middle] = blockScratch(matrix, largest);

  const invert = async (start: number, size: number): Promise<void> => {
    throwIfStopped(signal, 'triangular inverse');
    if (size <= blockSize) {
      const inverse = known?.get(start);
      const block = inverse ?? Float64Array.from(readBlock(matrix, start, start, size, size));
      if (inverse === undefined) invertLowerReference(block as Float64Array, size, start);
      writeBlock(matrix, start, start, size, block);
      progress?.({ phase: 'triangular inverse', done: start + size, total: n, unit: 'column' });
      return;
    }
    const half = splitPoint(size, blockSize);
    const [below, rest] = [start + half, size - half];
    await invert(start, half);
    await invert(below, rest);
    // coupling T, T the inverse before: of its columns behind the middle only rows behind it count.
    for (const [c, width] of halves(half)) {
      const coupling = {
        data: copyBlock(matrix, below, start + c, rest, half - c, left),
        rows: rest,
        columns: half - c,
      };
      const columns = {
        data: lowerPart(matrix, start + c, start + c, half - c, width, right),
        rows: half - c,
        columns: width,
      };
      const into = middle.subarray(0, rest * width) as HostArrays[D];
      writeBlock(matrix, below, start + c, width, await products.multiply(coupling, columns, { into }));
    }
    // -T' times that, T' the inverse behind: of its rows before the middle only columns before it count.
    const product = copyBlock(matrix, below, start, rest, half, middle);
    for (const [r, rows] of halves(rest)) {
      const width = r + rows;
      const lines = { data: lowerPart(matrix, below + r, below, rows, width, right), rows, columns: width };
      const behind = { data: product.subarray(0, width * half) as HostArrays[D], rows: width, columns: half };
      const into = left.subarray(0, rows * half) as HostArrays[D];
      writeBlock(matrix, below + r, start, half, await products.multiply(lines, behind, { scale: -1, into }));
    }
  };

  await invert(0, n);
  zeroAbove(matrix);
}

/** Triangles of fewer rows are multiplied whole: smaller products are slower. */
const WHOLE_TRIANGLE = 256;

function halves(size: number): readonly (readonly [at: number, count: number])[] {
  if (size < WHOLE_TRIANGLE) return [[0, size]];
  const half = Math.ceil(size / 2);
  return [
    [0, half],
    [half, size - half],
  ];
}

// A block of a lower triangle with zeros above the diagonal, where the matrix may still hold anything.
function lowerPart<D extends RealDType>(
  matrix: SquareMatrix<D>,
  r: number,
  c: number,
  rows: number,
  columns: number,
  into: HostArrays[D],
): HostArrays[D] {
  const data = copyBlock(matrix, r, c, rows, columns, into);
  for (let i = 0; i < rows; i++)
    data.fill(0, i * columns + Math.min(columns, Math.max(0, r + i - c + 1)), (i + 1) * columns);
  return data;
}
