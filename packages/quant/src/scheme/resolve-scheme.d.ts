import type { DType, QuantizationScheme } from '@pith/tensor-core';
import type { Scheme } from './scheme.ts';
/** Dtypes of weights that can be quantized. */
export type QuantizableDType = 'f32' | 'f16' | 'bf16';
/** True for {@link QuantizableDType}. */
export declare function isQuantizable(dtype: DType): dtype is QuantizableDType;
/**
 * The scheme of a weight of this dtype: scales have the weight's dtype unless the scheme says another, as in
 * compressed-tensors.
 */
export declare function resolveScheme({ weights, scaleDType }: Scheme, dtype: QuantizableDType): QuantizationScheme;
/**
 * Group sizes that divide a row of `columns`, in ascending order, `columns` itself (one scale per channel) last.
 * From 4 up; at most twelve, the largest ones.
 */
export declare function fittingGroupSizes(columns: number): number[];
//# sourceMappingURL=resolve-scheme.d.ts.map