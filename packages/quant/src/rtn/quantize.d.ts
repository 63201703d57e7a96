import type { QuantizationScheme } from '@pith/tensor-core';
import type { RangeRule } from '../range/range.ts';
import type { QuantizableDType } from '../scheme/resolve-scheme.ts';
/** A matrix of f32 values that came from `dtype` (each value is one that the dtype can hold). */
export interface DenseMatrix {
    /** [rows, columns] row-major; finite. */
    readonly values: Float32Array;
    readonly shape: readonly [rows: number, columns: number];
    readonly dtype: QuantizableDType;
}
/** Codes, scales and zero points of a matrix, unpacked. */
export interface QuantizedMatrix {
    readonly shape: readonly [rows: number, columns: number];
    readonly scheme: QuantizationScheme;
    /** [rows, columns], one stored byte per weight: two's complement or the bits of the float. */
    readonly codes: Uint8Array;
    /** [rows, groups per row], or one value for granularity `tensor`; f32 values that the scale dtype can hold. */
    readonly scales: Float32Array;
    /** Like the scales; absent for symmetric and float schemes. */
    readonly zeroPoints?: Int8Array;
}
/** Sums over one row, from which the error of a weight is made. */
export interface RowError {
    sumSquaredError: number;
    sumSquares: number;
    maxAbsError: number;
    clipped: number;
    zeroScales: number;
}
/**
 * Rounds a matrix to nearest.
 *
 * @throws PithError `SCALE_OVERFLOW` where a scale is too large for its dtype.
 */
export declare function quantize(matrix: DenseMatrix, scheme: QuantizationScheme, rule: RangeRule): QuantizedMatrix & {
    readonly rowErrors: readonly RowError[];
};
/** Restores the f32 values [rows, columns]: `(code - zeroPoint) * scale`. */
export declare function dequantize({ shape, scheme, codes, scales, zeroPoints }: QuantizedMatrix): Float32Array;
//# sourceMappingURL=quantize.d.ts.map