// The scale under which keys or values of a block are kept in 8 bits: the largest magnitude over half the range of the codes,
// 127.5 for int8 and 448 for e4m3, of all heads together or of each.
//
// Source: compressed-tensors 0.19, `calculate_qparams` with symmetric arguments over the observer `static_minmax`.
import type { HeadRanges, KeyValueForm } from '@pith/model';

/** Half the range of the codes. */
const HALF_RANGE = { i8: 127.5, f8_e4m3: 448 } as const;

/** What stands in for smaller scales, so that nothing is divided by 0: the epsilon of f32. */
const SMALLEST_SCALE = 2 ** -23;

/**
 * Scales from the smallest and largest values of each head.
 *
 * @returns f32 [1], or [heads] with a scale for each head; not yet rounded to the dtype that they are stored in.
 */
export function keptScales({ min, max }: HeadRanges, { dtype, granularity }: KeyValueForm): Float32Array {
  const magnitudes = max.map((value, head) => Math.max(value, -min[head]!, 0));
  const counted = granularity === 'head' ? magnitudes : Float32Array.of(Math.max(...magnitudes));
  return counted.map((magnitude) => Math.max(magnitude / HALF_RANGE[dtype], SMALLEST_SCALE));
}
