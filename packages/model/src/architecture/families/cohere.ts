import { normalizeConfig } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { llamaLayout } from './llama.ts';

const layout: Layout = { ...llamaLayout, norms: { attention: 'input_layernorm' } };

/** Command R (Cohere 2024): both parts of a block behind one layer norm without bias, neighbours rotated, scaled logits. */
export const cohere: Family = {
  modelType: 'cohere',
  headClasses: ['CohereForCausalLM'],
  readConfig: (hf) => {
    const bias = hf.attention_bias ?? false;
    return normalizeConfig(
      hf,
      {
        vocab_size: 256000,
        hidden_size: 8192,
        intermediate_size: 22528,
        num_hidden_layers: 40,
        num_attention_heads: 64,
        max_position_embeddings: 8192,
        norm_epsilon: 1e-5,
        hidden_act: 'silu',
        bos_token_id: 5,
        eos_token_id: 255001,
        tie_word_embeddings: true,
      },
      {
        norm: { kind: 'layer', offset: 0, bias: false },
        rope: { theta: 500000, interleaved: true },
        residual: 'parallel',
        biases: { queryKeyValue: bias, attentionOutput: bias, feedForward: false },
        logitScale: hf.logit_scale ?? 0.0625,
        ...(hf.use_qk_norm && { queryKeyNorm: (norm) => ({ over: 'each-head', norm }) }),
      },
    );
  },
  describe: (config) => describeLayout(config, layout),
};
