import { normalizeConfig } from '../../config/normalize.ts';
import type { Family } from '../family.ts';
import { describeLlama } from './llama.ts';

/**
 * Qwen2 and Qwen2.5 (Yang et al. 2024): Llama with biases on query, key and value, and a sliding window in the blocks
 * from `max_window_layers` on where `use_sliding_window` says so. Defaults: Qwen2Config of transformers.
 */
export const qwen2: Family = {
  modelType: 'qwen2',
  causalClass: 'Qwen2ForCausalLM',
  readConfig: (hf) => {
    const window = hf.use_sliding_window ? (hf.sliding_window === undefined ? 4096 : hf.sliding_window) : null;
    const firstWindowed = hf.max_window_layers ?? 28;
    return normalizeConfig(hf, {
      vocab_size: 151936,
      hidden_size: 4096,
      intermediate_size: 22016,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      num_key_value_heads: 32,
      max_position_embeddings: 32768,
      rms_norm_eps: 1e-6,
      rope_theta: 10000,
      bos_token_id: null,
      eos_token_id: null,
      biases: { queryKeyValue: true, attentionOutput: false, feedForward: false },
      window: (layer) => {
        if (hf.layer_types) return hf.layer_types[layer] === 'sliding_attention' ? window : null;
        return layer >= firstWindowed ? window : null;
      },
    });
  },
  describe: describeLlama,
};
