// First-order Taylor: how much the loss moves when the weight goes, to first order.
// Source: Molchanov et al. 2017, "Pruning Convolutional Neural Networks for Resource Efficient Inference", section 2.2.

/**
 * |w * gradient|, f32 [rows, columns].
 *
 * @param gradients Of the loss by the weights: of a batch, or the root of the mean square over batches.
 */
export function taylorScore(weights: Float32Array, gradients: Float32Array): Float32Array {
  return weights.map((weight, i) => Math.abs(weight * gradients[i]!));
}
