import { type QuantizationScheme, type ScaleDType } from '@pith/tensor-core';
import type { CodeRange, ScaleAndZero } from './codec.ts';
/** A range of values, lowest first. */
export interface ValueRange {
    readonly lowest: number;
    readonly highest: number;
}
/**
 * The scale and zero point that cover a range.
 *
 * Symmetric and float: `max(|lowest|, |highest|) / half`. Asymmetric: zero is made part of the range,
 * `scale = (highest - lowest) / (2^bits - 1)`, `zeroPoint = rint(clamp(qmin - lowest / scale))`, computed before a
 * scale of 0 is replaced; 0 where that is no number. Every operation is rounded to the arithmetic dtype, the scale
 * then to its own.
 */
export declare function scaleOfRange({ lowest, highest }: ValueRange, scheme: QuantizationScheme, codes: CodeRange, arithmetic: ScaleDType): ScaleAndZero;
//# sourceMappingURL=scale.d.ts.map