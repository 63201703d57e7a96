/** Below this a power counts as 0. */
export declare const SMALLEST_POWER_BASE: number;
/** Coefficients of log2(1 + t) / t on [sqrt(1/2) - 1, sqrt(2) - 1], highest power first. */
export declare const LOG2_COEFFICIENTS: readonly number[];
/** Coefficients of 2^f on [-1/2, 1/2], highest power first. */
export declare const EXP2_COEFFICIENTS: readonly number[];
/** `base^norm` for an f32 base from 0 to 2^60; 0 below {@link SMALLEST_POWER_BASE}. */
export declare function power(base: number, norm: number): number;
//# sourceMappingURL=power.d.ts.map