// Llama (Touvron et al. 2023) and the models built alike: pre-norm blocks with RMSNorm, rotary grouped-query attention
// and a gated feed-forward part. Qwen2 and Mistral differ in biases, windows and defaults only, all of which the
// configuration says.
import * as tf from '@tensorflow/tfjs-core';
import type { HfConfig } from '../../config/hf-config.ts';
import { normalizeConfig } from '../../config/normalize.ts';
import type { ModelConfig } from '../../config/model-config.ts';
import type {
  Architecture,
  ArchitectureProgram,
  BlockSpec,
  Feed,
  HeadAxis,
  LinearRole,
  LinearSpec,
} from '../architecture.ts';
import type { Family } from '../family.ts';
import { activations } from '../ops/activations.ts';
import { rotaryAttention } from '../ops/attention.ts';
import { rmsNorm } from '../ops/norms.ts';

/** The table's rows of one linear that depend on where it stands. */
interface LinearRow {
  readonly module: string;
  readonly role: LinearRole;
  readonly inFeatures: number;
  readonly outFeatures: number;
  readonly bias: boolean;
  readonly inputGroup: string;
  readonly normBefore: string | null;
  readonly fedBy: readonly Feed[];
  readonly heads: HeadAxis | null;
}

function block(config: ModelConfig, index: number): BlockSpec {
  const { hiddenSize, intermediateSize, heads, keyValueHeads, headDim, biases } = config;
  const path = `model.layers.${index}`;
  const window = config.windows[index];
  const rows = (count: number): HeadAxis => ({ axis: 'rows', count, dim: headDim });
  const attentionInput = {
    inFeatures: hiddenSize,
    inputGroup: `${path}.attention`,
    normBefore: `${path}.input_layernorm.weight`,
    fedBy: [],
    bias: biases.queryKeyValue,
  };
  const feedForwardInput = {
    inFeatures: hiddenSize,
    outFeatures: intermediateSize,
    inputGroup: `${path}.feed-forward`,
    normBefore: `${path}.post_attention_layernorm.weight`,
    fedBy: [],
    bias: biases.feedForward,
    heads: null,
  };
  const table: LinearRow[] = [
    { ...attentionInput, module: 'self_attn.q_proj', role: 'query', outFeatures: heads * headDim, heads: rows(heads) },
    {
      ...attentionInput,
      module: 'self_attn.k_proj',
      role: 'key',
      outFeatures: keyValueHeads * headDim,
      heads: rows(keyValueHeads),
    },
    {
      ...attentionInput,
      module: 'self_attn.v_proj',
      role: 'value',
      outFeatures: keyValueHeads * headDim,
      heads: rows(keyValueHeads),
    },
    {
      module: 'self_attn.o_proj',
      role: 'attention-output',
      inFeatures: heads * headDim,
      outFeatures: hiddenSize,
      bias: biases.attentionOutput,
      inputGroup: `${path}.attention-output`,
      normBefore: null,
      fedBy: [{ path: `${path}.self_attn.v_proj`, scales: true, headDim, repeat: heads / keyValueHeads }],
      heads: { axis: 'columns', count: heads, dim: headDim },
    },
    { ...feedForwardInput, module: 'mlp.gate_proj', role: 'gate' },
    { ...feedForwardInput, module: 'mlp.up_proj', role: 'up' },
    {
      module: 'mlp.down_proj',
      role: 'down',
      inFeatures: intermediateSize,
      outFeatures: hiddenSize,
      bias: biases.feedForward,
      inputGroup: `${path}.feed-forward-output`,
      normBefore: null,
      fedBy: [
        { path: `${path}.mlp.up_proj`, scales: true, headDim: intermediateSize, repeat: 1 },
        { path: `${path}.mlp.gate_proj`, scales: false, headDim: intermediateSize, repeat: 1 },
      ],
      heads: null,
    },
  ];
  const linears = table.map(({ module, ...row }): LinearSpec => ({
    path: `${path}.${module}`,
    name: `${path}.${module}.weight`,
    biasName: row.bias ? `${path}.${module}.bias` : null,
    block: index,
    tied: false,
    ...row,
  }));
  const norm = (module: string, group: string) => ({
    path: `${path}.${module}`,
    name: `${path}.${module}.weight`,
    kind: 'rms' as const,
    features: hiddenSize,
    inputGroups: [group],
  });
  return {
    index,
    path,
    variant: window === null ? 'full' : `window-${window}`,
    window,
    norms: [
      norm('input_layernorm', attentionInput.inputGroup),
      norm('post_attention_layernorm', feedForwardInput.inputGroup),
    ],
    linears,
  };
}

function program(config: ModelConfig): ArchitectureProgram {
  const activation = activations[config.activation];
  return {
    embed: (scope, ids) => tf.gather(scope.weight('model.embed_tokens.weight'), ids as tf.Tensor2D),
    block: (scope, _block, hidden, attention) => {
      const normed = rmsNorm(hidden, scope.weight('input_layernorm.weight'), config.normEpsilon);
      const { mixed, keys, values } = rotaryAttention(
        config,
        scope.linear('self_attn.q_proj', normed),
        scope.linear('self_attn.k_proj', normed),
        scope.linear('self_attn.v_proj', normed),
        attention,
      );
      const attended = tf.add(hidden, scope.linear('self_attn.o_proj', mixed));
      const inner = rmsNorm(attended, scope.weight('post_attention_layernorm.weight'), config.normEpsilon);
      const gated = tf.mul(activation(scope.linear('mlp.gate_proj', inner)), scope.linear('mlp.up_proj', inner));
      return { hidden: tf.add(attended, scope.linear('mlp.down_proj', gated)), keys, values };
    },
    finish: (scope, hidden) => rmsNorm(hidden, scope.weight('model.norm.weight'), config.normEpsilon),
  };
}

/** The table and program of a model that is built like Llama. */
export function describeLlama(config: ModelConfig): Architecture {
  const { vocabularySize, hiddenSize, tiedEmbeddings } = config;
  const embedding = 'model.embed_tokens.weight';
  return {
    config,
    embedding: { path: 'model.embed_tokens', name: embedding, rows: vocabularySize, columns: hiddenSize },
    blocks: Array.from({ length: config.layers }, (_, index) => block(config, index)),
    finalNorm: {
      path: 'model.norm',
      name: 'model.norm.weight',
      kind: 'rms',
      features: hiddenSize,
      inputGroups: ['lm_head'],
    },
    head: {
      path: 'lm_head',
      name: tiedEmbeddings ? embedding : 'lm_head.weight',
      biasName: null,
      role: 'head',
      block: null,
      inFeatures: hiddenSize,
      outFeatures: vocabularySize,
      bias: false,
      inputGroup: 'lm_head',
      normBefore: 'model.norm.weight',
      fedBy: [],
      heads: null,
      tied: tiedEmbeddings,
    },
    // Llama checkpoints of 2023 carry the rotary frequencies of each layer.
    ignored: [/\.rotary_emb\.inv_freq$/, ...(tiedEmbeddings ? [/^lm_head\.weight$/] : [])],
    program: program(config),
  };
}

/** Llama 1 to 3, and whatever calls itself so. Defaults: LlamaConfig of transformers. */
export const llama: Family = {
  modelType: 'llama',
  causalClass: 'LlamaForCausalLM',
  readConfig: (hf: HfConfig) =>
    normalizeConfig(hf, {
      vocab_size: 32000,
      hidden_size: 4096,
      intermediate_size: 11008,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      max_position_embeddings: 2048,
      rms_norm_eps: 1e-6,
      rope_theta: 10000,
      bos_token_id: 1,
      eos_token_id: 2,
      biases: {
        queryKeyValue: hf.attention_bias ?? false,
        attentionOutput: hf.attention_bias ?? false,
        feedForward: hf.mlp_bias ?? false,
      },
      window: () => null,
    }),
  describe: describeLlama,
};
