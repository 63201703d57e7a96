// A matrix times random vectors, which is how the search for its range begins. Many vectors are made of few signs: each column
// of the matrix is added to, or taken from, a few of them ("sparse sign embedding"; Tropp, Yurtsever, Udell & Cevher 2019,
// section 3.9). That is as good a beginning as dense vectors are, without a product and with few random numbers.
import type { HostArrays } from '../device/device.ts';
import type { RandomStream } from '../random/random-stream.ts';
import { newArray } from './blocks.ts';
import type { Products, RealDType } from './products.ts';

/** Vectors that each column takes part in. */
const SIGNS = 8;

/** From so many columns on, and vectors up to half of them, signs are used: below, chance has less room, and products are cheap. */
const SPARSE_COLUMNS = 1024;
const SPARSE_VECTORS = 64;

/**
 * The matrix (rows x columns) times `size` random vectors: rows x size. Sums of signs in f64.
 *
 * The same `random` gives the same result.
 */
export async function randomSketch<D extends RealDType>(
  data: HostArrays[D],
  rows: number,
  columns: number,
  size: number,
  products: Products<D>,
  random: RandomStream,
): Promise<HostArrays[D]> {
  if (columns >= SPARSE_COLUMNS && size >= SPARSE_VECTORS && 2 * size <= columns) {
    return sparseSketch(data, rows, columns, size, products.dtype, random);
  }
  const vectors = randomVectors(products.dtype, columns * size, random);
  return products.multiply({ data, rows, columns }, { data: vectors, rows: columns, columns: size });
}

/** Each column in {@link SIGNS} vectors, one of each eighth of them, so that they differ. */
function sparseSketch<D extends RealDType>(
  data: HostArrays[D],
  rows: number,
  columns: number,
  size: number,
  dtype: D,
  random: RandomStream,
): HostArrays[D] {
  const places = new Int32Array(columns * SIGNS);
  const signs = new Float64Array(columns * SIGNS);
  for (let q = 0; q < places.length; q++) {
    const part = q % SIGNS;
    const first = Math.floor((part * size) / SIGNS);
    const word = random.word();
    places[q] = first + ((word >>> 1) % (Math.floor(((part + 1) * size) / SIGNS) - first));
    signs[q] = (word & 1) === 0 ? 1 : -1;
  }
  const found = newArray(dtype, rows * size);
  const sums = new Float64Array(size);
  for (let i = 0; i < rows; i++) {
    sums.fill(0);
    const from = i * columns;
    for (let j = 0, q = 0; j < columns; j++) {
      const value = data[from + j];
      for (const end = q + SIGNS; q < end; q++) sums[places[q]] += signs[q] * value;
    }
    found.set(sums, i * size);
  }
  return found;
}

// Uniform on 65,536 values between -1 and 1: two a word. Any distribution with light tails serves as Gauss's does.
function randomVectors<D extends RealDType>(dtype: D, length: number, random: RandomStream): HostArrays[D] {
  const values = newArray(dtype, length);
  for (let i = 0; i < length; i += 2) {
    const word = random.word();
    values[i] = ((word >>> 16) - 32767.5) / 32768;
    if (i + 1 < length) values[i + 1] = ((word & 0xffff) - 32767.5) / 32768;
  }
  return values;
}
