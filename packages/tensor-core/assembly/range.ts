// Passes over whole matrices that the range of a tensor with a single scale is made from. Rows are worked on one at a
// time, so that sums do not depend on how a matrix is cut into chunks.
import {
  bytesPerValue,
  expandRow,
  isNotFinite,
  largest,
  magnitudeBits,
  orderKey,
  smallest,
  sumOfSquares,
} from './range-values';

/**
 * Extremes and squares of each row: f32 smallest, f32 largest, f64 sum of squares, 16 bytes a row at `target`.
 * `dtype`: 0 f32, 1 f16, 2 bf16. `scratch`: 4 * columns bytes. Returns -1, or the first row with a NaN or infinity,
 * where it stops.
 */
export function measureRows(source: usize, dtype: i32, rows: i32, columns: i32, target: usize, scratch: usize): i32 {
  for (let row = 0; row < rows; row++) {
    expandRow(source, dtype, columns, scratch);
    if (isNotFinite(magnitudeBits(scratch, columns))) return row;
    store<f32>(target, smallest(scratch, columns));
    store<f32>(target, largest(scratch, columns), 4);
    store<f64>(target, sumOfSquares(scratch, columns), 8);
    source += <usize>columns * bytesPerValue(dtype);
    target += 16;
  }
  return -1;
}

/**
 * Counts values by 16 bits of a key that orders them (`signed` 1) or their magnitudes (0), for ranks over a whole
 * matrix: by the upper half of the key where `prefix` is -1, else by the lower half among those whose upper half is
 * `prefix`. Adds to 65,536 u32 at `counters`. `dtype`: 0 f32, 1 f16, 2 bf16. `scratch`: 4 * columns bytes.
 */
export function countRows(
  source: usize,
  dtype: i32,
  rows: i32,
  columns: i32,
  signed: i32,
  prefix: i32,
  counters: usize,
  scratch: usize,
): void {
  for (let row = 0; row < rows; row++) {
    expandRow(source, dtype, columns, scratch);
    for (let i = 0; i < columns; i++) {
      const key = orderKey(load<u32>(scratch + ((<usize>i) << 2)), signed);
      if (prefix >= 0 && key >> 16 != <u32>prefix) continue;
      const at = counters + ((<usize>(prefix < 0 ? key >> 16 : key & 0xffff)) << 2);
      store<u32>(at, load<u32>(at) + 1);
    }
    source += <usize>columns * bytesPerValue(dtype);
  }
}
