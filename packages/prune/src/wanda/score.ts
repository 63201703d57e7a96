// Wanda: a weight matters as much as it moves the output, |w| times the norm of the input that it meets.
// Source: Sun et al. 2023, "A Simple and Effective Pruning Approach for Large Language Models", section 3.

/**
 * |w| * norm of the column, f32 [rows, columns].
 *
 * @param weights f32 [rows, columns] row-major.
 * @param norms Of the columns of the input, over all tokens.
 */
export function wandaScore(weights: Float32Array, norms: Float32Array): Float32Array {
  return weights.map((weight, i) => Math.abs(weight * norms[i % norms.length]!));
}

/**
 * Norms of columns from their sums of squares, times the power of two that brings the largest between 1/2 and 1: only ratios
 * matter, and products with weights cannot overflow.
 */
export function columnNorms(squares: Float64Array): Float32Array {
  const largest = Math.sqrt(squares.reduce((most, value) => Math.max(most, value), 0));
  const unit = largest === 0 ? 1 : 2 ** (Math.floor(Math.log2(largest)) + 1);
  return Float32Array.from(squares, (value) => Math.sqrt(value) / unit);
}
