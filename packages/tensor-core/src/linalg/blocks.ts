// Blocks of a square row-major matrix: copied out to be multiplied, copied back.
import type { HostArrays } from '../device/device.ts';
import type { BlockMemory } from './block-memory.ts';
import type { RealDType } from './products.ts';

/** A square matrix that is being worked on. */
export interface SquareMatrix<D extends RealDType = RealDType> {
  readonly dtype: D;
  readonly n: number;
  /** [n, n] row-major. */
  readonly data: HostArrays[D];
  /** Memory that `data` lies in, where blocks are copied within it. */
  readonly memory?: BlockMemory;
}

/** Three arrays for copies of blocks, the largest being `largest` values: in the matrix's memory where it has one. */
export function blockScratch<D extends RealDType>(
  { dtype, memory }: SquareMatrix<D>,
  largest: number,
): readonly [HostArrays[D], HostArrays[D], HostArrays[D]] {
  const take = (): HostArrays[D] => memory?.take(dtype, largest) ?? newArray(dtype, largest);
  return [take(), take(), take()];
}

/** An array of `length` zeros. */
export function newArray<D extends RealDType>(dtype: D, length: number): HostArrays[D] {
  return (dtype === 'f32' ? new Float32Array(length) : new Float64Array(length)) as HostArrays[D];
}

/** A contiguous copy of `rows` x `columns` values from row `r`, column `c`. */
export function readBlock<D extends RealDType>(
  matrix: SquareMatrix<D>,
  r: number,
  c: number,
  rows: number,
  columns: number,
): HostArrays[D] {
  return copyBlock(matrix, r, c, rows, columns, newArray(matrix.dtype, rows * columns));
}

/** As {@link readBlock}, into the first values of `into`; returns these. */
export function copyBlock<D extends RealDType>(
  { n, data, memory }: SquareMatrix<D>,
  r: number,
  c: number,
  rows: number,
  columns: number,
  into: HostArrays[D],
): HostArrays[D] {
  if (memory?.holds(data, into)) memory.copyLines(data, r * n + c, n, into, 0, columns, columns, rows);
  else {
    for (let i = 0; i < rows; i++) {
      const from = (r + i) * n + c;
      into.set(data.subarray(from, from + columns) as Float32Array, i * columns);
    }
  }
  return into.subarray(0, rows * columns) as HostArrays[D];
}

/** Writes a contiguous block back; rounds when `block` is wider than the matrix. */
export function writeBlock(
  matrix: SquareMatrix,
  r: number,
  c: number,
  columns: number,
  block: HostArrays[RealDType],
): void {
  const { n, data, memory } = matrix;
  if (memory?.holds(data, block)) {
    memory.copyLines(block, 0, columns, data, r * n + c, n, columns, block.length / columns);
    return;
  }
  for (let i = 0; i * columns < block.length; i++) {
    data.set(block.subarray(i * columns, (i + 1) * columns) as Float32Array, (r + i) * n + c);
  }
}

/** Sets everything above the diagonal to zero. */
export function zeroAbove({ n, data }: SquareMatrix): void {
  for (let i = 0; i < n; i++) data.fill(0, i * n + i + 1, (i + 1) * n);
}

/** Swaps rows and columns in place. */
export function transposeInPlace({ n, data }: SquareMatrix): void {
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < i; j++) {
      const value = data[i * n + j]!;
      data[i * n + j] = data[j * n + i]!;
      data[j * n + i] = value;
    }
  }
}

/**
 * Where a run of `size` rows is cut in two: after the largest power of two of blocks. Halves of halves then have few
 * different lengths, and each length is a program that must be compiled.
 */
export function splitPoint(size: number, block: number): number {
  const blocks = Math.ceil(size / block);
  return block * 2 ** (Math.ceil(Math.log2(blocks)) - 1);
}
