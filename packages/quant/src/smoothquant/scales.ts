// The scales of SmoothQuant (Xiao et al. 2023, equation 4): s_j = max|x_j|^alpha / max|w_j|^(1 - alpha). alpha 0 moves all of
// the difficulty to the activations, 1 to the weights.

/** Below this a magnitude counts as this, as in the authors' code. */
const SMALLEST = 1e-5;

/**
 * One scale for each pair of magnitudes.
 *
 * @param activations max |x| per scale.
 * @param weights max |w| per scale, over all linears that read the input.
 * @returns f64, positive; 1 where the activations are all zero.
 */
export function smoothingScales(
  activations: ArrayLike<number>,
  weights: ArrayLike<number>,
  alpha: number,
): Float64Array {
  return Float64Array.from(activations, (activation, i) => {
    if (activation === 0) return 1;
    const scale = Math.max(activation, SMALLEST) ** alpha / Math.max(weights[i]!, SMALLEST) ** (1 - alpha);
    return Math.max(scale, SMALLEST);
  });
}

/** Raises `into` [columns] to the largest magnitudes of the columns of f32 [rows, columns]. */
export function columnMagnitudes(values: Float32Array, into: Float64Array): void {
  const columns = into.length;
  for (let i = 0; i < values.length; i++) {
    const column = i % columns;
    into[column] = Math.max(into[column]!, Math.abs(values[i]!));
  }
}
