// Arithmetic as ggml's plain C does it: f32, each operation rounded, nothing fused. Sums run from the first value to the last.

/** Rounds an f64 result of one operation on f32 values to f32. */
export const f = Math.fround;

const scratch = new Float32Array(1);
const scratchBits = new Int32Array(scratch.buffer);

/**
 * Half to even as ggml does it: 1.5 * 2^23 is added in f32 and the last 23 bits are the integer. Beyond 2^22, where degenerate blocks lead,
 * that is another number than the nearest one, and ggml's bytes follow from it.
 */
export function nearest(value: number): number {
  scratch[0] = f(value + 12_582_912);
  return (scratchBits[0]! & 0x7fffff) - 0x400000;
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
