import { normalizeConfig } from '../../config/normalize.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import { LLAMA_NUMBERS, llamaBiases, llamaLayout } from './llama.ts';

/** Granite (IBM 2024): Llama with four multipliers, of the embedding, of attention, of what is added, and of the logits. */
export const granite: Family = {
  modelType: 'granite',
  headClasses: ['GraniteForCausalLM'],
  readConfig: (hf) =>
    normalizeConfig(hf, LLAMA_NUMBERS, {
      rope: { theta: 10000 },
      biases: llamaBiases(hf),
      attentionScale: hf.attention_multiplier ?? 1,
      embeddingScale: () => hf.embedding_multiplier ?? 1,
      residualScale: hf.residual_multiplier ?? 1,
      logitScale: 1 / (hf.logits_scaling ?? 1),
    }),
  describe: (config) => describeLayout(config, llamaLayout),
};
