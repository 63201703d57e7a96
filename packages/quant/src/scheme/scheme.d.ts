import type { FloatScheme, IntegerScheme, ScaleDType } from '@pith/tensor-core';
/** How weights are coded; the dtype of the scales is settled per weight by {@link resolveScheme}. */
export type WeightScheme = Omit<IntegerScheme, 'scaleDType'> | Omit<FloatScheme, 'scaleDType'>;
/**
 * How the runtime quantizes the inputs of a linear layer: symmetric, one scale per token, computed while it runs. The
 * weights do not depend on it; it is recorded in the artefact.
 */
export interface ActivationScheme {
    readonly dtype: 'i8' | 'f8_e4m3';
    readonly granularity: 'token';
    readonly dynamic: true;
}
/**
 * How codes lie in storage: `packed` as one little-endian bit stream per row in int32 words (pack-quantized), `bytes`
 * with one byte per code (int-quantized, float-quantized).
 */
export type CodeStorage = 'packed' | 'bytes';
/** A quantization scheme. Made by {@link parseScheme} or {@link defineScheme}; frozen. */
export interface Scheme {
    /** Canonical name: `w4g128-asym`. */
    readonly name: string;
    readonly weights: WeightScheme;
    /** Absent: activations stay as they are (a16). */
    readonly activations?: ActivationScheme;
    /** Absent: the dtype of each weight (f32 for f64 and fp8 weights). */
    readonly scaleDType?: ScaleDType;
    readonly storage: CodeStorage;
}
//# sourceMappingURL=scheme.d.ts.map