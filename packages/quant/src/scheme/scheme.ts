// What a scheme says: how weights are coded, how a runtime treats activations, and how codes are stored.
//
// The names follow the field (`w4a16`, `w8a8`, FP8_DYNAMIC of llm-compressor), the rules behind them are those of
// compressed-tensors 0.19. The dtype of plain scales is left open by a name: it is the weight's own dtype unless chosen;
// scales of 8 bits (MX, NVFP4) are part of the coding.
import type { FloatScheme, IntegerScheme, MicroScaleDType, ScaleDType } from '@pith/tensor-core';

/** Floating-point codes; `scaleDType` where the coding prescribes one. */
export interface FloatWeights extends Omit<FloatScheme, 'scaleDType'> {
  /** Exponents (MX), or e4m3 beside a global scale (NVFP4); absent: settled per weight. */
  readonly scaleDType?: MicroScaleDType;
}

/** How weights are coded; the dtype of plain scales is settled per weight by {@link resolveScheme}. */
export type WeightScheme = Omit<IntegerScheme, 'scaleDType'> | FloatWeights;

/**
 * How the runtime quantizes the inputs of a linear layer: one scale per token, computed while it runs; one scale for all,
 * found in calibration; or one for each group of features, computed while it runs. The weights do not depend on it; it is
 * recorded in the artefact.
 */
export interface ActivationScheme {
  /** The dtype of the weights. */
  readonly dtype: 'i8' | 'f8_e4m3' | 'f4_e2m1';
  /** `token`: one scale per token, dynamic; `tensor`: one for all inputs of a layer, static; `group`: see `size`, dynamic. */
  readonly granularity: 'token' | 'tensor' | 'group';
  /** True where scales are computed while the model runs, false where calibration finds them. */
  readonly dynamic: boolean;
  /** False: with a zero point, which takes integer codes and a static scale. True when left out. */
  readonly symmetric?: boolean;
  /** Features of a group. */
  readonly size?: number;
  /** What scales of groups are rounded to; e4m3 takes a global scale that calibration finds. f32 when left out. */
  readonly scaleDType?: MicroScaleDType;
}

/** True where something of the activations has to be found in calibration. */
export function needsInputRange(activations: ActivationScheme | undefined): boolean {
  return activations !== undefined && (!activations.dynamic || activations.scaleDType === 'f8_e4m3');
}

/**
 * How codes lie in storage: `packed` as one little-endian bit stream per row in int32 words (pack-quantized), codes of e2m1
 * two to a byte; `bytes` with one byte per code (int-quantized, float-quantized).
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
