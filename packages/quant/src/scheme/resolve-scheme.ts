// From a scheme to what holds for one weight: the dtype of the scales, and whether the shape fits.
import type { DType, QuantizationScheme } from '@pith/tensor-core';
import type { Scheme } from './scheme.ts';

/** Dtypes of weights that can be quantized. */
export type QuantizableDType = 'f32' | 'f16' | 'bf16';

/** True for {@link QuantizableDType}. */
export function isQuantizable(dtype: DType): dtype is QuantizableDType {
  return dtype === 'f32' || dtype === 'f16' || dtype === 'bf16';
}

/**
 * The scheme of a weight of this dtype: scales have the weight's dtype unless the scheme says another, as in
 * compressed-tensors; codings with scales of 8 bits have those.
 */
export function resolveScheme({ weights, scaleDType }: Scheme, dtype: QuantizableDType): QuantizationScheme {
  if (weights.kind === 'float')
    return Object.freeze({ ...weights, scaleDType: weights.scaleDType ?? scaleDType ?? dtype });
  return Object.freeze({ ...weights, scaleDType: scaleDType ?? dtype });
}

/** Group sizes that are worth their scales; smaller ones cost more than 4 bits a weight for f16 scales. */
const SMALLEST_SENSIBLE_GROUP = 4;

/**
 * Group sizes that divide a row of `columns`, in ascending order, `columns` itself (one scale per channel) last.
 * From 4 up; at most twelve, the largest ones.
 */
export function fittingGroupSizes(columns: number): number[] {
  const sizes: number[] = [];
  for (let size = SMALLEST_SENSIBLE_GROUP; size <= columns / 2; size += 1) if (columns % size === 0) sizes.push(size);
  return [...sizes.slice(-11), columns];
}
