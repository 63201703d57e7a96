// A G Aᵀ: the Gram matrix of what a linear layer makes of inputs whose Gram matrix is G.
import type { Device } from '../device/device.ts';
import { PithError } from '../errors/pith-error.ts';
import { Products } from './products.ts';

/**
 * A G Aᵀ with f32 products.
 *
 * @param a f32 [rows, columns] row-major.
 * @param gram f64 [columns, columns] row-major, symmetric.
 * @returns f64 [rows, rows], symmetric to the rounding of f32 products.
 * @throws PithError `LINALG_SHAPE`
 */
export async function congruence(
  a: Float32Array,
  gram: Float64Array,
  rows: number,
  columns: number,
  device: Device,
): Promise<Float64Array> {
  if (a.length !== rows * columns || gram.length !== columns * columns) {
    const text = `congruence: expected ${rows * columns} and ${columns * columns} values, got ${a.length} and ${gram.length}`;
    throw new PithError('LINALG_SHAPE', text, { kind: 'internal', details: { rows, columns } });
  }
  const products = new Products(device, 'f32');
  try {
    const left = { data: a as Float32Array<ArrayBuffer>, rows, columns };
    const middle = { data: Float32Array.from(gram), rows: columns, columns };
    const half = { data: await products.multiply(left, middle), rows, columns };
    return Float64Array.from(await products.multiply(half, { ...left, transpose: true }));
  } finally {
    await products.dispose();
  }
}
