import { type QuantizationScheme, type ScaleDType } from '@pith/tensor-core';
/** The codes of a scheme as numbers. */
export interface CodeRange {
    /** Smallest and largest value of a code: -8 and 7, -448 and 448. */
    readonly lowest: number;
    readonly highest: number;
    /** What the range `[-a, a]` is divided by: `(highest - lowest) / 2`, 7.5 for 4 bits. */
    readonly half: number;
    /** The step at the ends of the range: a value further outside than this counts as clipped. */
    readonly reach: number;
}
/** The codes of a scheme. */
export declare function codeRange(scheme: QuantizationScheme): CodeRange;
/** A scale and a zero point (0 in symmetric schemes). */
export interface ScaleAndZero {
    /** As it is stored: rounded to the scale dtype. */
    readonly scale: number;
    readonly zeroPoint: number;
    /** True where the scale came out as 0 and was replaced by the epsilon of its dtype. */
    readonly zeroScale: boolean;
}
/** Where a value falls among the codes, before clamping and rounding. */
export declare function position(value: number, { scale, zeroPoint }: ScaleAndZero, scheme: QuantizationScheme, arithmetic: ScaleDType): number;
/** The value that a position is rounded to: an integer, or a value of the float dtype. */
export declare function roundToCode(at: number, scheme: QuantizationScheme, { lowest, highest }: CodeRange): number;
/** The stored byte of a code value: two's complement, or the bits of the float. */
export declare function codeByte(code: number, scheme: QuantizationScheme): number;
/** The code value of a stored byte. */
export declare function codeOfByte(byte: number, scheme: QuantizationScheme): number;
/** The f32 that a code stands for: `(code - zeroPoint) * scale`. */
export declare function restore(code: number, { scale, zeroPoint }: ScaleAndZero): number;
//# sourceMappingURL=codec.d.ts.map