// First-order Taylor: how much the loss moves when the weight goes, to first order.
// Source: Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference", section 2.2. The
// mean gradient of a trained model is near zero; the root of the mean square over windows says how far each one would move.

/**
 * |w * gradient|, f32 [rows, columns].
 *
 * @param gradients Of the loss by the weights, [rows, columns]: of one batch, or the root of the mean square over several.
 */
export function taylorScore(weights: Float32Array, gradients: Float32Array): Float32Array {
  return weights.map((weight, i) => Math.abs(weight * gradients[i]!));
}

/**
 * Roots of mean squares, times the power of two that brings the largest between 1/2 and 1: only ratios matter, and small
 * gradients keep their bits.
 */
export function rootMeanSquares(squares: Float32Array): Float32Array {
  const largest = Math.sqrt(squares.reduce((most, value) => Math.max(most, value), 0));
  const unit = largest === 0 ? 1 : 2 ** (Math.floor(Math.log2(largest)) + 1);
  return squares.map((value) => Math.sqrt(value) / unit);
}
