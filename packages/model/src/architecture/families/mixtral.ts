import { normalizeConfig, PLAIN_ROUTING } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { llamaLayout } from './llama.ts';
import { MISTRAL_NUMBERS } from './mistral.ts';

const layout: Layout = {
  ...llamaLayout,
  experts: {
    router: 'block_sparse_moe.gate',
    experts: 'block_sparse_moe.experts',
    gate: 'w1',
    up: 'w3',
    down: 'w2',
    packed: [{ gateUp: 'block_sparse_moe.experts.gate_up_proj', down: 'block_sparse_moe.experts.down_proj' }],
  },
  // Models of transformers 5 call the part `mlp`.
  rename: (name) => llamaLayout.rename!(name).replace(/^(model\.layers\.\d+)\.mlp\./, '$1.block_sparse_moe.'),
};

/** Mixtral (Jiang et al. 2024): Mistral with experts in every block. */
export const mixtral: Family = {
  modelType: 'mixtral',
  headClasses: ['MixtralForCausalLM'],
  members: { expertNeurons: 'intermediate_size' },
  readConfig: (hf) =>
    normalizeConfig(
      hf,
      { ...MISTRAL_NUMBERS, norm_epsilon: 1e-5 },
      {
        rope: { theta: 1e6 },
        window: () => hf.sliding_window ?? null,
        experts: (layers, intermediateSize) => ({
          count: hf.num_local_experts ?? hf.num_experts ?? 8,
          perToken: hf.num_experts_per_tok ?? 2,
          intermediateSize,
          normalizeWeights: true,
          ...PLAIN_ROUTING,
          layers: Array.from({ length: layers }, () => true),
        }),
      },
    ),
  describe: (config) => describeLayout(config, layout),
};
