// What a scheme says: how weights are coded, how a runtime treats activations, and how codes are stored.
//
// The names follow the field (`w4a16`, `w8a8`, FP8_DYNAMIC of llm-compressor), the rules behind them are those of
// compressed-tensors 0.19. The dtype of the scales is left open by a name: it is the weight's own dtype unless chosen.
import type { FloatScheme, IntegerScheme, ScaleDType } from '@pith/tensor-core';

/** How weights are coded; the dtype of the scales is settled per weight by {@link resolveScheme}. */
export type WeightScheme = Omit<IntegerScheme, 'scaleDType'> | Omit<FloatScheme, 'scaleDType'>;

/**
 * How the runtime quantizes the inputs of a linear layer: one scale per token, computed while it runs, or one scale for
 * all, found in calibration. The weights do not depend on it; it is recorded in the artefact.
 */
export interface ActivationScheme {
  /** The 8-bit dtype of the weights. */
  readonly dtype: 'i8' | 'f8_e4m3';
  /** `token`: one scale per token, dynamic; `tensor`: one scale for all inputs of a layer, static. */
  readonly granularity: 'token' | 'tensor';
  /** True where scales are computed while the model runs, false where calibration finds them. */
  readonly dynamic: boolean;
  /** False: with a zero point, which takes integer codes and a static scale. True when left out. */
  readonly symmetric?: boolean;
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
  /** How weights are coded. */
  readonly weights: WeightScheme;
  /** Absent: activations stay as they are (a16). */
  readonly activations?: ActivationScheme;
  /** Absent: the dtype of each weight (f32 for f64 and fp8 weights). */
  readonly scaleDType?: ScaleDType;
  /** How codes lie in storage; follows from the rest. */
  readonly storage: CodeStorage;
}
