// Two factors from the left singular vectors that are kept.
//
// Whatever invertible S scales the columns, the best approximation of W S by rank k is U U^T W S, with the first k left
// singular vectors U. So the factors of W itself are U and U^T W: S is not inverted, nor need it have an inverse.
import type { Device, RealMatrix } from '@pith/tensor-core';
import { Products } from '@pith/tensor-core';

/** A matrix as a product. */
export interface Factors {
  /** f32 [rows, rank] row-major. */
  readonly left: Float32Array;
  /** f32 [rank, columns] row-major. */
  readonly right: Float32Array;
}

/**
 * The factors U and U^T W of a matrix, the products in f64. The norm of each row of the right factor is shared out, its root
 * to each side, so that both have values of like size: they are stored in few bits.
 *
 * @param matrix [rows, columns].
 * @param basis [rows, k] with orthonormal columns, of which the first `rank` are used.
 */
export async function projectOnto(
  matrix: RealMatrix<'f32'>,
  basis: RealMatrix<'f32'>,
  rank: number,
  device: Device,
): Promise<Factors> {
  const [rows, columns] = matrix.shape;
  const u = new Float64Array(rows * rank);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < rank; j++) u[i * rank + j] = basis.data[i * basis.shape[1] + j];
  }
  const products = new Products(device, 'f64');
  try {
    const second = await products.multiply(
      { data: u, rows, columns: rank, transpose: true },
      { data: Float64Array.from(matrix.data), rows, columns },
    );
    return balance(u, second, rows, rank, columns);
  } finally {
    await products.dispose();
  }
}

/**
 * Two factors as f32, each pair of a column of the left and a row of the right one scaled so that both have the same norm.
 *
 * @param left [rows, rank].
 * @param right [rank, columns].
 */
export function balance(left: Float64Array, right: Float64Array, rows: number, rank: number, columns: number): Factors {
  const scales = new Float64Array(rank);
  for (let k = 0; k < rank; k++) {
    let [lefts, rights] = [0, 0];
    for (let i = 0; i < rows; i++) lefts += left[i * rank + k] ** 2;
    for (let j = 0; j < columns; j++) rights += right[k * columns + j] ** 2;
    scales[k] = lefts === 0 || rights === 0 ? 1 : (rights / lefts) ** 0.25;
  }
  return {
    left: Float32Array.from(left, (value, i) => value * scales[i % rank]),
    right: Float32Array.from(right, (value, i) => value / scales[Math.floor(i / columns)]),
  };
}
