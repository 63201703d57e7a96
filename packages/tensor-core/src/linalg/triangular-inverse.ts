// Inversion of a triangular matrix by recursive halving: [A 0; C D] has the inverse [A' 0; -D' C A' D'], a prime marking an
// inverse. The products are compiled, in the dtype of the matrix; blocks on the diagonal are inverted in f64, in plain
// TypeScript (Du Croz & Higham 1992 compare the ways to do this; the residual of this one is bounded like theirs).
import { throwIfStopped } from '../errors/pith-error.ts';
import type { Device, HostArrays } from '../device/device.ts';
import { readBlock, splitPoint, transposeInPlace, writeBlock, zeroAbove } from './blocks.ts';
import type { SquareMatrix } from './blocks.ts';
import type { TriangularOptions } from './cholesky.ts';
import { invertLowerReference } from './cholesky-reference.ts';
import { checkSquare } from './matrix.ts';
import type { RealMatrix } from './matrix.ts';
import { Products } from './products.ts';
import type { Operand, RealDType } from './products.ts';

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
    const coupling = { data: readBlock(matrix, below, start, rest, half), rows: rest, columns: half };
    const right = { ...coupling, data: await products.multiply(coupling, triangle(matrix, start, half)) };
    writeBlock(
      matrix,
      below,
      start,
      half,
      await products.multiply(triangle(matrix, below, rest), right, { scale: -1 }),
    );
  };

  await invert(0, n);
  zeroAbove(matrix);
}

// A diagonal block with zeros above its diagonal, where the matrix may still hold anything.
function triangle<D extends RealDType>(matrix: SquareMatrix<D>, start: number, size: number): Operand<D> {
  const data = readBlock(matrix, start, start, size, size);
  for (let i = 0; i < size; i++) data.fill(0, i * size + i + 1, (i + 1) * size);
  return { data, rows: size, columns: size };
}
