// The rotary embedding in the metadata of a GGUF file. What a scaling divides the frequencies by is in tensors, see
// `rotary-factors.ts`; where it also multiplies cosines and sines, `rope.scaling.attn_factor` says by how much.
import type { GgufValue } from '@pith/checkpoint';
import type { ModelConfig, RopeScaling } from '../config/model-config.ts';

const u32 = (value: number): GgufValue => ({ type: 'uint32', value });
const f32 = (value: number): GgufValue => ({ type: 'float32', value: Math.fround(value) });
const text = (value: string): GgufValue => ({ type: 'string', value });

/** Keys, without the name of the architecture, and values; none for a model without rotary embedding. */
export function ggufRope(config: ModelConfig): [string, GgufValue][] {
  const { modelType, rope, ropes, windows } = config;
  if (rope === null) return [];
  const windowed = ropes.find((one, layer) => one !== null && windows[layer] !== null);
  return [
    ['rope.freq_base', f32(rope.theta)],
    ['rope.dimension_count', u32(rope.dim)],
    ...(modelType === 'gemma3_text' && windowed
      ? ([['rope.freq_base_swa', f32(windowed.theta)]] satisfies [string, GgufValue][])
      : []),
    ...(config.latentAttention === null ? scalingKeys(rope.scaling) : latentScaling(config, rope.scaling)),
  ];
}

/**
 * With latent attention llama.cpp takes what YaRN multiplies cosines and sines by for 1, and raises the scores by the square of
 * 1 + `yarn_log_multiplier` ln(factor).
 */
function latentScaling({ attentionScale, headDim }: ModelConfig, scaling: RopeScaling): [string, GgufValue][] {
  if (scaling.kind !== 'yarn') return scalingKeys(scaling);
  const raised = Math.sqrt(attentionScale * Math.sqrt(headDim));
  return [
    ['rope.scaling.type', text('yarn')],
    ['rope.scaling.factor', f32(scaling.factor)],
    ['rope.scaling.original_context_length', u32(scaling.originalMaxPositions)],
    ['rope.scaling.yarn_log_multiplier', f32((raised - 1) / Math.log(scaling.factor))],
  ];
}

function scalingKeys(scaling: RopeScaling): [string, GgufValue][] {
  switch (scaling.kind) {
    case 'linear':
      return [
        ['rope.scaling.type', text('linear')],
        ['rope.scaling.factor', f32(scaling.factor)],
      ];
    case 'yarn': {
      // llama.cpp multiplies by this much itself.
      const own = 1 + 0.1 * Math.log(scaling.factor);
      return [
        ['rope.scaling.type', text('yarn')],
        ['rope.scaling.factor', f32(scaling.factor)],
        ['rope.scaling.original_context_length', u32(scaling.originalMaxPositions)],
        ...attentionFactor(scaling.attentionFactor / own),
      ];
    }
    case 'longrope':
      return [
        ['rope.scaling.type', text('longrope')],
        ['rope.scaling.original_context_length', u32(scaling.originalMaxPositions)],
        ...attentionFactor(scaling.attentionFactor),
      ];
    case 'none':
    case 'llama3':
    case 'dynamic':
      return [];
  }
}

function attentionFactor(factor: number): [string, GgufValue][] {
  return Math.abs(factor - 1) < 1e-6 ? [] : [['rope.scaling.attn_factor', f32(factor)]];
}
