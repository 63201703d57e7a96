export type {
  Architecture,
  ArchitectureProgram,
  AttentionInputs,
  BlockOutput,
  BlockSpec,
  EmbeddingSpec,
  Feed,
  HeadAxis,
  LinearRole,
  LinearSpec,
  NormSpec,
  Scope,
} from './architecture/architecture.ts';
export { causalLogits, hiddenStates } from './architecture/causal-logits.ts';
export type { NamedTensors } from './architecture/causal-logits.ts';
export { describeArchitecture, listLinears, supportedModelTypes } from './architecture/registry.ts';
export { blockScope, modelScope } from './architecture/scope.ts';
export type { LinearHook, TensorLookup } from './architecture/scope.ts';
export type { Activation, BiasConfig, ModelConfig, RopeConfig, RopeScaling } from './config/model-config.ts';
export { readModelConfig } from './config/read-config.ts';
export { createTokenizer } from './tokenizer/tokenizer.ts';
export type { DecodeOptions, Tokenizer } from './tokenizer/tokenizer.ts';
