import type { HfConfig } from '../config/hf-config.ts';
import type { ModelConfig } from '../config/model-config.ts';
import type { Architecture } from './architecture.ts';

/** One supported `model_type`: how its config is read and what it looks like. Adding a model is adding one of these. */
export interface Family {
  /** `model_type` in config.json. */
  readonly modelType: string;
  /** The class in `architectures` that has a language-model head. */
  readonly causalClass: string;
  /** Normalizes a checked config; the defaults are those of the published configuration class. */
  readConfig(hf: HfConfig): ModelConfig;
  /** Table and program. */
  describe(config: ModelConfig): Architecture;
}
