import type { ValueRange } from '../rtn/scale.ts';
import type { PercentileRange, RangeRule } from './range.ts';
/** Smallest, largest and largest magnitude of values. */
export interface Extremes extends ValueRange {
    /** max |value|. */
    readonly magnitude: number;
}
/** Extremes of finite f32 values; at least one. */
export declare function extremesOf(values: Float32Array): Extremes;
/**
 * Sum of squares in f64, row by row; within a row with four accumulators, value i going to accumulator i mod 4, added
 * as (0 + 1) + (2 + 3): the order of the kernels.
 */
export declare function sumOfSquares(values: Float32Array, columns: number): number;
/** The f32 magnitude that an RMS rule clips to. */
export declare function rmsLimit(multiple: number, squares: number, count: number): number;
/** How many of `count` values are at or below a percentile: its rank, counted from 1. */
export declare function percentileRank({ percent }: PercentileRange, count: number): number;
/**
 * The range before any search: all of it for `minmax`, `mse` and `lp`. Where `symmetric`, it is `[-a, a]`.
 *
 * `columns` is the length of the rows that `values` consists of. `symmetric` decides what percentiles are taken of:
 * magnitudes, or values from both ends.
 */
export declare function measureRange(values: Float32Array, columns: number, rule: RangeRule, symmetric: boolean): ValueRange;
//# sourceMappingURL=measure.d.ts.map