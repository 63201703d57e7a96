// What a student's config.json says otherwise than that of the model that it is made of.
import { layerMembers, type ModelConfig } from '@pith/model';
import type { LayersStudent, RandomStudent } from './student-spec.ts';

/** Members that a config may leave out: those of the model that the student replaces must not stay where it does. */
const OPTIONAL_MEMBERS: readonly string[] = [
  'attention_bias',
  'bos_token_id',
  'dtype',
  'eos_token_id',
  'head_dim',
  'hidden_act',
  'initializer_range',
  'layer_types',
  'max_position_embeddings',
  'max_window_layers',
  'mlp_bias',
  'num_key_value_heads',
  'pad_token_id',
  'partial_rotary_factor',
  'pretraining_tp',
  'quantization_config',
  'rms_norm_eps',
  'rope_parameters',
  'rope_scaling',
  'rope_theta',
  'sliding_window',
  'tie_word_embeddings',
  'torch_dtype',
  'use_sliding_window',
];

/** Members of config.json that change; undefined removes one. */
export function describeStudentConfig(
  spec: LayersStudent | RandomStudent,
  config: ModelConfig,
): Record<string, unknown> {
  if (spec.kind === 'layers') return layerMembers(config);
  return { ...Object.fromEntries(OPTIONAL_MEMBERS.map((key) => [key, undefined])), ...spec.config };
}
