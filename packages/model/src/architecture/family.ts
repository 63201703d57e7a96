import type { HfConfig } from '../config/hf-config.ts';
import type { ModelConfig } from '../config/model-config.ts';
import type { Architecture } from './architecture.ts';

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
  /** Table and program. */
  describe(config: ModelConfig): Architecture;
}
