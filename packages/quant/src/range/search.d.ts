import type { QuantizationScheme, ScaleDType } from '@pith/tensor-core';
import { type CodeRange, type ScaleAndZero } from '../rtn/codec.ts';
import { type ValueRange } from '../rtn/scale.ts';
import type { LpRange, MseRange } from './range.ts';
/** The shrink factors of a search as f32, from 1 down: `1 - i * (1 - smallest) / candidates`. */
export declare function shrinkFactors({ candidates, smallest }: MseRange | LpRange): Float32Array;
/** The exponent of a search's norm: 2 for mean squared error. */
export declare function searchNorm(rule: MseRange | LpRange): number;
/** The range times a factor, in f32. Asymmetric ranges shrink toward zero, which is part of them. */
export declare function shrink({ lowest, highest }: ValueRange, factor: number): ValueRange;
/** Scales and zero points of every candidate. */
export declare function candidateScales(range: ValueRange, rule: MseRange | LpRange, scheme: QuantizationScheme, codes: CodeRange, arithmetic: ScaleDType): ScaleAndZero[];
/**
 * Sum of |restored - value|^norm in units of a power of two near `magnitude`, the largest magnitude of all values that
 * share the scale.
 */
export declare function candidateError(values: Float32Array, magnitude: number, candidate: ScaleAndZero, norm: number, scheme: QuantizationScheme, codes: CodeRange, arithmetic: ScaleDType): number;
/** The index of the least error, the first of equals; 0 where none is a number. */
export declare function leastError(errors: ArrayLike<number>): number;
//# sourceMappingURL=search.d.ts.map