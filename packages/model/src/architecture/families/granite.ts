import { normalizeConfig } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import { llamaLayout } from './llama.ts';

/** Granite (IBM 2024): Llama with four multipliers, of the embedding, of attention, of what is added, and of the logits. */
export const granite: Family = {
  modelType: 'granite',
  headClasses: ['GraniteForCausalLM'],
  readConfig: (hf) => {
    const bias = hf.attention_bias ?? false;
    return normalizeConfig(
      hf,
      {
        vocab_size: 32000,
        hidden_size: 4096,
        intermediate_size: 11008,
        num_hidden_layers: 32,
        num_attention_heads: 32,
        max_position_embeddings: 2048,
        norm_epsilon: 1e-6,
        hidden_act: 'silu',
        bos_token_id: 1,
        eos_token_id: 2,
        tie_word_embeddings: false,
      },
      {
        rope: { theta: 10000 },
        biases: { queryKeyValue: bias, attentionOutput: bias, feedForward: hf.mlp_bias ?? false },
        attentionScale: hf.attention_multiplier ?? 1,
        embeddingScale: () => hf.embedding_multiplier ?? 1,
        residualScale: hf.residual_multiplier ?? 1,
        logitScale: 1 / (hf.logits_scaling ?? 1),
      },
    );
  },
  describe: (config) => describeLayout(config, llamaLayout),
};
