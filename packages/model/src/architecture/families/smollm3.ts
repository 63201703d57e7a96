import { normalizeConfig } from '../../config/normalize.ts';
import { ropeOf } from '../../config/read-rope.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import { llamaBiases, llamaLayout } from './llama.ts';

/** SmolLM3 (Bakouch et al. 2025): Llama where every fourth block has no rotary embedding. */
export const smollm3: Family = {
  modelType: 'smollm3',
  headClasses: ['SmolLM3ForCausalLM'],
  readConfig: (hf) => {
    const interval = hf.no_rope_layer_interval ?? 4;
    const hasRope = (layer: number) =>
      hf.no_rope_layers ? hf.no_rope_layers[layer] === 1 : (layer + 1) % interval !== 0;
    const windowed = (layer: number) =>
      hf.layer_types ? hf.layer_types[layer] === 'sliding_attention' : !hasRope(layer);
    return normalizeConfig(
      hf,
      {
        vocab_size: 128256,
        hidden_size: 2048,
        intermediate_size: 11008,
        num_hidden_layers: 36,
        num_attention_heads: 16,
        num_key_value_heads: 4,
        max_position_embeddings: 32768,
        norm_epsilon: 1e-6,
        hidden_act: 'silu',
        bos_token_id: 128000,
        eos_token_id: 128001,
        tie_word_embeddings: true,
      },
      {
        rope: (layer) => (hasRope(layer) ? { entry: ropeOf(hf), defaults: { theta: 2e6 } } : null),
        biases: llamaBiases(hf),
        window: (layer) => (hf.use_sliding_window && windowed(layer) ? (hf.sliding_window ?? null) : null),
      },
    );
  },
  layerMembers: ({ layers, windows, ropes }) => ({
    num_hidden_layers: layers,
    no_rope_layers: ropes.map((rope) => (rope === null ? 0 : 1)),
    layer_types: windows.map((window) => (window === null ? 'full_attention' : 'sliding_attention')),
  }),
  describe: (config) => describeLayout(config, llamaLayout),
};
