// Arithmetic as ggml's plain C does it: f32, each operation rounded, nothing fused. Sums run from the first value to the last.

/** Rounds an f64 result of one operation on f32 values to f32. */
export const f = Math.fround;

/** Half to even, by adding 1.5 * 2^23 in f32; for magnitudes below 2^22. */
export function nearest(value: number): number {
  return f(value + 12_582_912) - 12_582_912;
}

/** Half away from zero. */
export function roundAway(value: number): number {
  return Math.sign(value) * Math.floor(Math.abs(value) + 0.5);
}

/** Between two bounds. */
export function clamp(value: number, low: number, high: number): number {
  return value < low ? low : value > high ? high : value;
}

/** Below this a block counts as zero. */
export const ZERO_BLOCK = f(1e-15);

/** The value of largest magnitude, the first where there are several. */
export function extreme(values: Float32Array): number {
  let largest = 0;
  for (const value of values) if (Math.abs(value) > Math.abs(largest)) largest = value;
  return largest;
}
