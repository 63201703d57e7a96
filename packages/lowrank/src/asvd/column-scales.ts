// Activation-aware SVD (Yuan et al. 2023, ASVD, section 3.2): columns count by how large their inputs are, each scaled by
// the mean magnitude of its input to the power of alpha before the decomposition.
//
// Left out: the search for alpha and for a rank of each layer by its sensitivity.

/**
 * Scale of each column: `magnitude ** alpha`, divided by the largest.
 *
 * @param magnitude Mean |x| of each column of the inputs, [in features]. Where all are zero, all scales are 1.
 */
export function columnScales(magnitude: ArrayLike<number>, alpha: number): Float64Array {
  const largest = Array.from(magnitude).reduce((most, value) => Math.max(most, value), 0);
  return Float64Array.from(magnitude, (value) => (largest === 0 ? 1 : (value / largest) ** alpha));
}

/** The matrix [rows, columns] with each column times its scale. */
export function scaleColumns(matrix: Float32Array, scales: Float64Array): Float32Array {
  const columns = scales.length;
  return Float32Array.from(matrix, (value, i) => value * scales[i % columns]);
}
