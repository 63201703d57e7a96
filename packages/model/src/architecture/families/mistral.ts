import { normalizeConfig, type ConfigNumbers } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import { llamaLayout } from './llama.ts';

/** Defaults that Mixtral shares but for the epsilon. */
export const MISTRAL_NUMBERS: ConfigNumbers = {
  vocab_size: 32000,
  hidden_size: 4096,
  intermediate_size: 14336,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  max_position_embeddings: 131072,
  norm_epsilon: 1e-6,
  hidden_act: 'silu',
  bos_token_id: 1,
  eos_token_id: 2,
  tie_word_embeddings: false,
};

/** Mistral 7B (Jiang et al. 2023): Llama with a sliding window in every block. */
export const mistral: Family = {
  modelType: 'mistral',
  headClasses: ['MistralForCausalLM'],
  readConfig: (hf) => {
    // The key left out means the first release's window; null means none.
    const window = hf.sliding_window === undefined ? 4096 : hf.sliding_window;
    return normalizeConfig(hf, MISTRAL_NUMBERS, { rope: { theta: 10000 }, window: () => window });
  },
  describe: (config) => describeLayout(config, llamaLayout),
};
