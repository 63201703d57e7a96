/** The transpose [columns, rows] of an array [rows, columns]. */
export function transposeF32(values: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]);
}
