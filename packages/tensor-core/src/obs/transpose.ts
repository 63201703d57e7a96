// Matrices turned between the order of the checkpoint and that of the column sweep.

/** Rows and columns of a tile. Not square: columns often lie a power of two apart, and then share few cache lines. */
const TILE_ROWS = 16;
const TILE_COLUMNS = 8;

/**
 * [rows, columns] row-major to [columns, rows].
 *
 * @param order Row i of the result is column `order[i]`; in order when left out.
 */
export function transposeMatrix<T extends Float32Array | Int8Array | Uint8Array>(
  source: T,
  rows: number,
  columns: number,
  order?: Int32Array,
): T {
  const target = new (source.constructor as new (length: number) => T)(source.length);
  for (let r0 = 0; r0 < rows; r0 += TILE_ROWS) {
    const r1 = Math.min(r0 + TILE_ROWS, rows);
    for (let c0 = 0; c0 < columns; c0 += TILE_COLUMNS) {
      const c1 = Math.min(c0 + TILE_COLUMNS, columns);
      for (let c = c0; c < c1; c++) {
        let from = r0 * columns + (order === undefined ? c : order[c]);
        const at = c * rows;
        for (let r = r0; r < r1; r++, from += columns) target[at + r] = source[from];
      }
    }
  }
  return target;
}

/** Undoes {@link transposeMatrix}: [columns, rows] to [rows, columns], row i of the source going to column `order[i]`. */
export function restoreMatrix<T extends Float32Array | Int8Array | Uint8Array>(
  source: T,
  rows: number,
  columns: number,
  order?: Int32Array,
): T {
  const target = new (source.constructor as new (length: number) => T)(source.length);
  for (let r0 = 0; r0 < rows; r0 += TILE_ROWS) {
    const r1 = Math.min(r0 + TILE_ROWS, rows);
    for (let c0 = 0; c0 < columns; c0 += TILE_COLUMNS) {
      const c1 = Math.min(c0 + TILE_COLUMNS, columns);
      for (let c = c0; c < c1; c++) {
        let at = r0 * columns + (order === undefined ? c : order[c]);
        const from = c * rows;
        for (let r = r0; r < r1; r++, at += columns) target[at] = source[from + r];
      }
    }
  }
  return target;
}
