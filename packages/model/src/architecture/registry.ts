// The supported architectures. Everything that says "supported" (errors, docs, support table) reads this list.
import { PithError } from '@pith/tensor-core';
import type { ModelConfig } from '../config/model-config.ts';
import type { Architecture, LinearSpec } from './architecture.ts';
import type { ConfigMembers, Family } from './family.ts';
import { bert } from './families/bert.ts';
import { bloom } from './families/bloom.ts';
import { cohere } from './families/cohere.ts';
import { deepseekV2, deepseekV3 } from './families/deepseek.ts';
import { falcon } from './families/falcon.ts';
import { gemma, gemma2, gemma3Text } from './families/gemma.ts';
import { gptNeox } from './families/gpt-neox.ts';
import { gpt2 } from './families/gpt2.ts';
import { granite } from './families/granite.ts';
import { llama } from './families/llama.ts';
import { mistral } from './families/mistral.ts';
import { mixtral } from './families/mixtral.ts';
import { olmo2 } from './families/olmo2.ts';
import { opt } from './families/opt.ts';
import { phi, phi3 } from './families/phi.ts';
import { qwen2, qwen3, qwen3Moe } from './families/qwen.ts';
import { smollm3 } from './families/smollm3.ts';
import { stablelm } from './families/stablelm.ts';
import { starcoder2 } from './families/starcoder2.ts';

const families: readonly Family[] = [
  bert,
  bloom,
  cohere,
  deepseekV2,
  deepseekV3,
  falcon,
  gemma,
  gemma2,
  gemma3Text,
  gpt2,
  gptNeox,
  granite,
  llama,
  mistral,
  mixtral,
  olmo2,
  opt,
  phi,
  phi3,
  qwen2,
  qwen3,
  qwen3Moe,
  smollm3,
  stablelm,
  starcoder2,
];

/** The supported `model_type`s, sorted. */
export const supportedModelTypes: readonly string[] = Object.freeze(families.map(({ modelType }) => modelType).sort());

/**
 * The family of a `model_type`.
 *
 * @throws PithError `ARCHITECTURE_UNSUPPORTED`.
 */
export function familyOf(modelType: string): Family {
  const family = families.find((candidate) => candidate.modelType === modelType);
  if (family) return family;
  throw new PithError(
    'ARCHITECTURE_UNSUPPORTED',
    `read config: model_type must be one of ${supportedModelTypes.join(', ')}, got ${JSON.stringify(modelType)}; ` +
      'this architecture has no table and program yet',
    { details: { modelType, supported: supportedModelTypes } },
  );
}

/**
 * Table and program of a model.
 *
 * @throws PithError `ARCHITECTURE_UNSUPPORTED`.
 */
export function describeArchitecture(config: ModelConfig): Architecture {
  return familyOf(config.modelType).describe(config);
}

/** Every linear layer of a model's blocks, in order, then the output projection. Projections beside the blocks are not among them. */
export function listLinears(config: ModelConfig): LinearSpec[] {
  const { blocks, head } = describeArchitecture(config);
  return [...blocks.flatMap(({ linears }) => linears), head];
}

/** Why transformers does not run a model type from compressed-tensors; null where it does. @throws PithError `ARCHITECTURE_UNSUPPORTED`. */
export function compressedTensorsNote(modelType: string): string | null {
  return familyOf(modelType).compressedTensorsNote ?? null;
}

/** How the config.json of a model type names what techniques change. @throws PithError `ARCHITECTURE_UNSUPPORTED`. */
export function configMembers(modelType: string): Required<ConfigMembers> {
  return {
    layers: 'num_hidden_layers',
    neurons: 'intermediate_size',
    expertNeurons: 'moe_intermediate_size',
    // transformers 5 says num_local_experts for qwen3_moe too: with both written neither is left behind.
    experts: ['num_experts', 'num_local_experts'],
    headDim: true,
    ...familyOf(modelType).members,
  };
}
