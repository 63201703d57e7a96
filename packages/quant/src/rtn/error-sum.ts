// The order in which squared errors are added, so that a vector kernel and the reference agree bit for bit and the
// result does not depend on chunks or threads: eight f32 lanes (column mod 8) within segments of 128 columns, counted
// from the start of a group; lanes 4 to 7 are added to 0 to 3 in f32, all beyond that (lanes, segments, rows) in f64.
import { bitsOf, f32OfBits } from './arithmetic.ts';

/** Columns whose squares are added in f32. */
export const SEGMENT_COLUMNS = 128;

/**
 * What differences are multiplied by before they are squared: 1, or for groups whose largest magnitude lies outside
 * 2^-40 .. 2^40 the power of two that brings it near 1, so that no square overflows or vanishes. `sum / unit / unit`
 * undoes it.
 */
export function errorUnit(largest: number): number {
  const exponent = (bitsOf(largest) >>> 23) & 0xff;
  if (exponent >= 127 - 40 && exponent <= 127 + 40) return 1;
  return powerUnit(largest);
}

/** The power of two that brings a magnitude into [1, 2): [2, 4) from 2^127 on, below 2 for subnormals and 0. */
export function powerUnit(largest: number): number {
  return f32OfBits((254 - Math.min((bitsOf(largest) >>> 23) & 0xff, 253)) << 23);
}

/** The sums of `term(i)` (each an f32) over the segments of i = 0 .. count - 1. */
export function segmentSums(count: number, term: (index: number) => number): number[] {
  const sums: number[] = [];
  for (let start = 0; start < count; start += SEGMENT_COLUMNS) {
    const lanes = new Float32Array(8);
    const end = Math.min(start + SEGMENT_COLUMNS, count);
    for (let i = start; i < end; i += 1) lanes[(i - start) & 7]! += term(i);
    const [a, b, c, d] = [0, 1, 2, 3].map((lane) => Math.fround(lanes[lane]! + lanes[lane + 4]!));
    sums.push(a! + b! + (c! + d!));
  }
  return sums;
}
