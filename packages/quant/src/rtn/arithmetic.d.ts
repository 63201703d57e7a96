import { type ScaleDType } from '@pith/tensor-core';
import type { QuantizableDType } from '../scheme/resolve-scheme.ts';
/** The dtype that scales and quotients are rounded to: the weight's where the scales have it too, f32 otherwise. */
export declare function arithmeticDType(weight: QuantizableDType, scale: ScaleDType): ScaleDType;
/** The bits of an f32 as an unsigned integer. */
export declare function bitsOf(value: number): number;
/** The f32 with these bits. */
export declare function f32OfBits(bits: number): number;
/** An f64 rounded to f32 and then to `dtype`, both half to even; infinity beyond the range. */
export declare function roundTo(dtype: ScaleDType, value: number): number;
/** Distance from 1 to the next larger value: what a scale of 0 is replaced by. */
export declare function epsilonOf(dtype: ScaleDType): number;
//# sourceMappingURL=arithmetic.d.ts.map