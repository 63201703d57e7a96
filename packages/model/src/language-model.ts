// A model: its facts, its table and program, its stored weights, its tokenizer. Nothing is read until asked for.
import type { WeightTensor } from '@pith/tensor-core';
import type { Architecture } from './architecture/architecture.ts';
import { checkTensors } from './architecture/expected-tensors.ts';
import { describeArchitecture } from './architecture/registry.ts';
import type { ModelConfig } from './config/model-config.ts';
import { readStopTokens } from './config/hf-config.ts';
import { readModelConfig } from './config/read-config.ts';
import { checkKeyValueScales, type KeyValueQuantization } from './run/key-value-form.ts';
import type { Tokenizer } from './tokenizer/tokenizer.ts';

/** A model that can be evaluated, generated from and compressed. */
export interface LanguageModel {
  /** The facts of config.json. */
  readonly config: ModelConfig;
  /** Table and program. */
  readonly architecture: Architecture;
  /** Stored weights by checkpoint name, in whatever representation the checkpoint has. */
  readonly weights: ReadonlyMap<string, WeightTensor>;
  /** Null where the checkpoint has none. */
  readonly tokenizer: Tokenizer | null;
  /** Tokens that end a text: those of generation_config.json, otherwise of config.json; may be empty. */
  readonly stopTokenIds: readonly number[];
  /** How a runtime codes the keys and values that it keeps; absent or null where it keeps them as they are. */
  readonly keyValueCache?: KeyValueQuantization | null;
}

/** What {@link createModel} puts together. */
export interface ModelParts {
  /** A parsed config.json. */
  readonly config: unknown;
  /** Weights by the names of the table; those of a checkpoint through `modelWeights`. */
  readonly weights: ReadonlyMap<string, WeightTensor>;
  /** None when left out. */
  readonly tokenizer?: Tokenizer | null;
  /** A parsed generation_config.json. */
  readonly generationConfig?: unknown;
  /** How kept keys and values are coded; as they are when left out. */
  readonly keyValueCache?: KeyValueQuantization | null;
}

/**
 * Makes a model from a parsed config and stored weights, after checking that they belong together.
 *
 * @throws PithError `CONFIG_INVALID`, `ARCHITECTURE_UNSUPPORTED`, `WEIGHTS_MISMATCH` with every offending tensor,
 * `KV_SCALES_MISMATCH` alike.
 */
export function createModel({
  config: json,
  weights,
  tokenizer = null,
  generationConfig,
  keyValueCache = null,
}: ModelParts): LanguageModel {
  const config = readModelConfig(json);
  const architecture = describeArchitecture(config);
  checkTensors(architecture, weights);
  if (keyValueCache !== null) checkKeyValueScales(keyValueCache, architecture.blocks, config);
  const stopTokenIds = readStopTokens(generationConfig) ?? config.eosTokenIds;
  return Object.freeze({ config, architecture, weights, tokenizer, stopTokenIds, keyValueCache });
}
