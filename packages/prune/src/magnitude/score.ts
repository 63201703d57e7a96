// Magnitude: a weight matters as much as it is large. Source: Han et al. 2015, "Learning both Weights and Connections".

/** |w|, f32. */
export function magnitudeScore(weights: Float32Array): Float32Array {
  return weights.map(Math.abs);
}
