/** Columns whose squares are added in f32. */
export declare const SEGMENT_COLUMNS = 128;
/**
 * What differences are multiplied by before they are squared: 1, or for groups whose largest magnitude lies outside
 * 2^-40 .. 2^40 the power of two that brings it near 1, so that no square overflows or vanishes. `sum / unit / unit`
 * undoes it.
 */
export declare function errorUnit(largest: number): number;
/** The power of two that brings a magnitude into [1, 2): [2, 4) from 2^127 on, below 2 for subnormals and 0. */
export declare function powerUnit(largest: number): number;
/** Adds up `term(i)`, i = 0 .. count - 1 (each an f32), in the order above. */
export declare function sumInSegments(count: number, term: (index: number) => number): number;
//# sourceMappingURL=error-sum.d.ts.map