// The random half of the randomized SVD: an orthonormal basis of the range of a matrix, of a size that is given or that grows
// until what is left of the matrix is small enough. randomized-svd.ts says after whom.
import { throwIfStopped } from '../errors/pith-error.ts';
import type { HostArrays } from '../device/device.ts';
import type { RunOptions } from '../progress/progress.ts';
import type { RandomStream } from '../random/random-stream.ts';
import { newArray } from './blocks.ts';
import { sumOfSquares } from './matrix.ts';
import { orthonormalColumns, wellConditioned } from './orthonormal-columns.ts';
import type { Products, RealDType } from './products.ts';
import { randomSketch } from './random-sketch.ts';

/** Below this, A A^T would drown the smallest direction in the rounding of f32; the basis is conditioned after A^T too. */
const LEAST_KEPT = 2 ** -16;

/** What the search for a range works with. */
export interface RangeContext<D extends RealDType> {
  readonly rows: number;
  readonly columns: number;
  readonly products: Products<D>;
  readonly exact: Products<'f64'>;
  readonly powerIterations: number;
  readonly random: RandomStream;
  readonly options: RunOptions;
  readonly counts: { shifts: number; rescues: number };
}

/** An orthonormal basis of the range, and A^T times it. */
export interface Range {
  readonly size: number;
  /** rows x size. */
  readonly basis: Float64Array;
  /** columns x size. */
  readonly images: Float64Array;
  /** Sum of squares of what is left of the matrix, where that was measured. */
  readonly rest: number | undefined;
}

/** A basis of `size` vectors. @throws PithError `STOPPED` */
export async function fixedRange<D extends RealDType>(
  data: HostArrays[D],
  size: number,
  context: RangeContext<D>,
): Promise<Range> {
  const { rows, columns, products } = context;
  const basis = await orthonormal(await rangeOf(data, size, context), size, context);
  const narrow = { data: toDType(products.dtype, basis), rows, columns: size };
  const images = await products.multiply({ data, rows, columns, transpose: true }, narrow);
  return { size, basis, images: toF64(images), rest: undefined };
}

/**
 * Adds blocks of vectors until what is left of the matrix has at most `tolerance` times its norm, or there are `maxSize`.
 *
 * @throws PithError `STOPPED`
 */
export async function growRange<D extends RealDType>(
  data: HostArrays[D],
  tolerance: number,
  maxSize: number,
  blockSize: number | undefined,
  context: RangeContext<D>,
): Promise<Range> {
  const { rows, columns, products, exact, options } = context;
  const smaller = Math.min(rows, columns);
  const block = blockSize ?? Math.min(256, Math.max(16, Math.ceil(smaller / 8)));
  let left = data.slice() as HostArrays[D];
  const total = sumOfSquares(data);
  let rest = total;
  let range: Range = { size: 0, basis: new Float64Array(0), images: new Float64Array(0), rest };
  // At least one block, for a matrix of zeros as well.
  while (range.size === 0 || (rest > tolerance * tolerance * total && range.size < maxSize)) {
    throwIfStopped(options.signal, 'randomized svd');
    const size = Math.min(block, smaller - range.size);
    let found: HostArrays[RealDType] = await rangeOf(left, size, context);
    if (range.size > 0) found = await withoutRange(found, size, range, rows, exact);
    const basis = await orthonormal(found, size, context);
    const narrow = { data: toDType(products.dtype, basis), rows, columns: size };
    const images = await products.multiply({ data: left, rows, columns, transpose: true }, narrow);
    const transposed = { data: images, rows: columns, columns: size, transpose: true };
    left = await products.multiply(narrow, transposed, { scale: -1, add: left });
    rest = sumOfSquares(left);
    range = {
      size: range.size + size,
      basis: sideBySide(range.basis, range.size, basis, size, rows),
      images: sideBySide(range.images, range.size, toF64(images), size, columns),
      rest,
    };
    options.progress?.({ phase: 'randomized svd', done: range.size, total: maxSize, unit: 'vector' });
  }
  return range;
}

// A polynomial of A A^T, times A, times random vectors. The polynomial is the q-th power with shifts, which damp what lies
// below the wanted singular values: each is at most the square of the smallest one that the basis reaches (Feng, Yu & Xie,
// Fast and accurate randomized SVD with shifted power iteration, 2022; the first shift is taken whole here, not by half).
async function rangeOf<D extends RealDType>(
  data: HostArrays[D],
  size: number,
  { rows, columns, products, exact, powerIterations, random, options, counts }: RangeContext<D>,
): Promise<HostArrays[D]> {
  const matrix = { data, rows, columns };
  const { dtype } = products;
  let wide = newArray(dtype, columns * size);
  const found = await randomSketch(data, rows, columns, size, products, random);
  const tall = newArray(dtype, rows * size);
  let shift = 0;
  for (let i = 0; i < powerIterations; i++) {
    throwIfStopped(options.signal, 'randomized svd');
    const { smallest, norm, shifts } = await wellConditioned(found, rows, size, products, exact, tall, options.signal);
    counts.shifts += shifts;
    if (i === 1) shift = smallest;
    if (i > 1) shift = Math.max(shift, (shift + smallest) / 2);
    await products.multiply({ ...matrix, transpose: true }, { data: tall, rows, columns: size }, { into: wide });
    // What A A^T leaves of the smallest direction; the first time, it is known of A alone.
    const kept = (smallest / norm) ** (i === 0 ? 2 : 1);
    if (kept < LEAST_KEPT && shift === 0) {
      const into = newArray(dtype, columns * size);
      const turned = await wellConditioned(wide, columns, size, products, exact, into, options.signal);
      counts.shifts += turned.shifts;
      wide = into;
    }
    if (shift !== 0) for (let k = 0; k < tall.length; k++) tall[k] *= -shift;
    const add = shift === 0 ? {} : { add: tall };
    await products.multiply(matrix, { data: wide, rows: columns, columns: size }, { ...add, into: found });
  }
  return found;
}

async function orthonormal<D extends RealDType>(
  found: HostArrays[RealDType],
  size: number,
  { rows, products, exact, options, counts }: RangeContext<D>,
): Promise<Float64Array> {
  const { q, rescued } = await orthonormalColumns(found, rows, size, products.dtype, exact, options.signal);
  if (rescued) counts.rescues++;
  return q;
}

// What of `found` is orthogonal to the range; twice, because once leaves the rounding of the first subtraction.
async function withoutRange(
  found: HostArrays[RealDType],
  size: number,
  { basis, size: known }: Range,
  rows: number,
  exact: Products<'f64'>,
): Promise<Float64Array> {
  let result = toF64(found);
  const earlier = { data: basis, rows, columns: known };
  for (let i = 0; i < 2; i++) {
    const components = await exact.multiply({ ...earlier, transpose: true }, { data: result, rows, columns: size });
    result = await exact.multiply(
      earlier,
      { data: components, rows: known, columns: size },
      { scale: -1, add: result },
    );
  }
  return result;
}

function sideBySide(a: Float64Array, aColumns: number, b: Float64Array, bColumns: number, rows: number): Float64Array {
  const columns = aColumns + bColumns;
  const result = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    result.set(a.subarray(i * aColumns, (i + 1) * aColumns), i * columns);
    result.set(b.subarray(i * bColumns, (i + 1) * bColumns), i * columns + aColumns);
  }
  return result;
}

const toF64 = (data: HostArrays[RealDType]): Float64Array =>
  data instanceof Float64Array ? data : new Float64Array(data);

/** f64 values in `dtype`; not copied where that is f64. */
export const toDType = <D extends RealDType>(dtype: D, data: Float64Array): HostArrays[D] =>
  (dtype === 'f32' ? new Float32Array(data) : data) as HostArrays[D];
