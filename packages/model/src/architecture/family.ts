import type { HfConfig } from '../config/hf-config.ts';
import type { ModelConfig } from '../config/model-config.ts';
import type { Architecture } from './architecture.ts';

/** Names of members of config.json. */
export interface ConfigMembers {
  /** Number of blocks; `num_hidden_layers` when left out. */
  readonly layers?: string;
  /** Width of the feed-forward part; `intermediate_size` when left out, null where the class computes it. */
  readonly neurons?: string | null;
  /** Width of one expert; `moe_intermediate_size` when left out. */
  readonly expertNeurons?: string;
  /** Names for the number of experts of a layer, all of which are written; `num_experts` and `num_local_experts` when left out. */
  readonly experts?: readonly string[];
  /** False where the class has no `head_dim`: the length of a head follows from the width. */
  readonly headDim?: boolean;
}

/** One supported `model_type`: how its config is read and what it looks like. Adding a model is adding one of these. */
export interface Family {
  /** `model_type` in config.json. */
  readonly modelType: string;
  /** Classes in `architectures` that have the head which the table describes. */
  readonly headClasses: readonly string[];
  /** Normalizes a checked config; the defaults are those of the published configuration class. */
  readConfig(hf: HfConfig): ModelConfig;
  /** What a config asks for that the program does not do, in words; nothing when left out. */
  unsupported?(hf: HfConfig): readonly string[];
  /** How config.json names what techniques change; the names of Llama when left out. */
  readonly members?: ConfigMembers;
  /** Members of config.json for the layers that a config has; undefined removes one. `num_hidden_layers` and windows when left out. */
  layerMembers?(config: ModelConfig): Readonly<Record<string, unknown>>;
  /** Why transformers does not run this architecture from compressed-tensors, in words; it does when left out. */
  readonly compressedTensorsNote?: string;
  /** Table and program. */
  describe(config: ModelConfig): Architecture;
}
