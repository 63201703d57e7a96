// DeepSeek-V2 (2405.04434) and V3 (2412.19437), R1 and Moonlight: Llama with latent attention, and experts of which some are shared.
//
// Facts as transformers 5 has them. Where its program and that of the checkpoints' own code differ the config is refused by name.
import type { HfConfig } from '../../config/hf-config.ts';
import { normalizeConfig, type ArchitectureFacts, type ConfigNumbers } from '../../config/normalize.ts';
import type { ExpertConfig, LatentAttentionConfig, ModelConfig } from '../../config/model-config.ts';
import { ropeOf } from '../../config/read-rope.ts';
import { describeLayout } from '../describe-layout.ts';
import type { Family } from '../family.ts';
import type { Layout } from '../layout.ts';
import { llamaLayout } from './llama.ts';

const layout: Layout = {
  ...llamaLayout,
  attention: {
    kind: 'latent',
    query: 'self_attn.q_proj',
    queryLatent: 'self_attn.q_a_proj',
    queryLatentNorm: 'self_attn.q_a_layernorm',
    queryUp: 'self_attn.q_b_proj',
    keyValueLatent: 'self_attn.kv_a_proj_with_mqa',
    keyValueLatentNorm: 'self_attn.kv_a_layernorm',
    keyValue: 'self_attn.kv_b_proj',
    output: 'self_attn.o_proj',
  },
  experts: {
    router: 'mlp.gate',
    experts: 'mlp.experts',
    choiceBias: 'mlp.gate.e_score_correction_bias',
    shared: 'mlp.shared_experts',
    gate: 'gate_proj',
    up: 'up_proj',
    down: 'down_proj',
    packed: [{ gateUp: 'mlp.experts.gate_up_proj', down: 'mlp.experts.down_proj' }],
  },
};

/** What the two classes fill in where the file is silent, beside the numbers that all architectures have. */
interface LatentNumbers {
  readonly queryRank: number;
  readonly experts: number;
  readonly expertsPerToken: number;
  readonly expertWidth: number;
  readonly shared: number;
  readonly firstDense: number;
  readonly nextTokenLayers: number;
}

/** The norms of the latents have the default of their class, whatever the config says of the others. */
const LATENT_NORM = Object.freeze({ kind: 'rms', offset: 0, bias: false, epsilon: 1e-6 } as const);

function latentAttention(hf: HfConfig, queryRank: number): LatentAttentionConfig {
  return {
    // null means none, a missing key the default.
    queryRank: hf.q_lora_rank === undefined ? queryRank : hf.q_lora_rank,
    keyValueRank: hf.kv_lora_rank ?? 512,
    plainDim: hf.qk_nope_head_dim ?? 128,
    rotaryDim: hf.qk_rope_head_dim ?? 64,
    valueDim: hf.v_head_dim ?? 128,
    norm: LATENT_NORM,
  };
}

/** Stretched rotations raise the scores as well, where the file names `mscale_all_dim`: 0.1 m ln(factor) + 1, for query and key each. */
function attentionScale(hf: HfConfig, headDim: number): number {
  const rope = ropeOf(hf);
  const { mscale_all_dim: share, original_max_position_embeddings: original } = rope;
  const stretched = (rope.rope_type ?? rope.type ?? 'default') !== 'default';
  const factor = rope.factor ?? (hf.max_position_embeddings && original ? hf.max_position_embeddings / original : 1);
  const raised = stretched && share && factor > 1 ? 0.1 * share * Math.log(factor) + 1 : 1;
  return (raised * raised) / Math.sqrt(headDim);
}

function readLatentConfig(
  hf: HfConfig,
  numbers: ConfigNumbers,
  latent: LatentNumbers,
  routing: Pick<
    ExpertConfig,
    'scoring' | 'choiceBias' | 'groups' | 'groupsPerToken' | 'groupScore' | 'normalizeWeights' | 'weightScale'
  >,
  facts: Partial<ArchitectureFacts>,
): ModelConfig {
  const attention = latentAttention(hf, latent.queryRank);
  const headDim = attention.plainDim + attention.rotaryDim;
  const dense = hf.first_k_dense_replace ?? latent.firstDense;
  const bias = hf.attention_bias ?? false;
  return normalizeConfig(
    // Files written by transformers call the rotated part of a head `head_dim`.
    { ...hf, head_dim: headDim },
    numbers,
    {
      rope: { theta: 10000, interleaved: hf.rope_interleave ?? true },
      biases: { queryKeyValue: bias, attentionOutput: bias, feedForward: false },
      attentionScale: attentionScale(hf, headDim),
      latentAttention: attention,
      experts: (layers) => ({
        count: hf.n_routed_experts ?? latent.experts,
        perToken: hf.num_experts_per_tok ?? latent.expertsPerToken,
        intermediateSize: hf.moe_intermediate_size ?? latent.expertWidth,
        ...routing,
        shared: hf.n_shared_experts ?? latent.shared,
        layers: Array.from({ length: layers }, (_, layer) => layer >= dense),
      }),
      ...facts,
      nextTokenLayers: hf.num_nextn_predict_layers ?? hf.num_mtp_layers ?? latent.nextTokenLayers,
    },
  );
}

/** What the configs of both may ask for that is not done. */
function unsupported(hf: HfConfig, scoring: string, methods: readonly string[]): string[] {
  const { num_attention_heads: heads, num_key_value_heads: keyValueHeads, moe_layer_freq: frequency } = hf;
  return [
    ...((keyValueHeads ?? heads) === heads
      ? []
      : [`num_key_value_heads must be num_attention_heads ${heads} with latent attention, got ${keyValueHeads}`]),
    ...((frequency ?? 1) === 1 ? [] : [`moe_layer_freq must be 1, got ${frequency}`]),
    ...(hf.n_routed_experts === null ? ['n_routed_experts must be a number, got null'] : []),
    ...(hf.n_shared_experts === null || hf.n_shared_experts === 0
      ? [`n_shared_experts must be at least 1, got ${hf.n_shared_experts}`]
      : []),
    ...((hf.scoring_func ?? scoring) === scoring
      ? []
      : [`scoring_func must be ${scoring}, got ${JSON.stringify(hf.scoring_func)}`]),
    ...(methods.includes(hf.topk_method ?? methods[0])
      ? []
      : [`topk_method must be ${methods.join(' or ')}, got ${JSON.stringify(hf.topk_method)}`]),
  ];
}

/** The dense blocks come first; of blocks that guess tokens after the next the config of V3 speaks, which has one if it is silent. */
const layerMembers: NonNullable<Family['layerMembers']> = ({ modelType, layers, experts, nextTokenLayers }) => {
  const first = experts!.layers.indexOf(true);
  return {
    num_hidden_layers: layers,
    first_k_dense_replace: first < 0 ? layers : first,
    ...(modelType === 'deepseek_v3' && { num_nextn_predict_layers: nextTokenLayers, num_mtp_layers: undefined }),
  };
};

/** DeepSeek-V2, V2-Lite, V2.5 and the Coder-V2 models. */
export const deepseekV2: Family = {
  modelType: 'deepseek_v2',
  headClasses: ['DeepseekV2ForCausalLM'],
  members: { experts: ['n_routed_experts'] },
  layerMembers,
  unsupported: (hf) => [
    ...unsupported(hf, 'softmax', ['greedy', 'group_limited_greedy']),
    ...(hf.norm_topk_prob ? ['norm_topk_prob must be false: its own code and transformers disagree, got true'] : []),
    ...(hf.rope_interleave === false ? ['rope_interleave must be true, got false'] : []),
    ...(hf.topk_method === 'group_limited_greedy' && !(hf.n_group && hf.topk_group)
      ? ['topk_method group_limited_greedy needs n_group and topk_group']
      : []),
  ],
  readConfig: (hf) => {
    const grouped = hf.topk_method === 'group_limited_greedy';
    return readLatentConfig(
      hf,
      {
        vocab_size: 102400,
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
        queryRank: 1536,
        experts: 64,
        expertsPerToken: 6,
        expertWidth: 1407,
        shared: 2,
        firstDense: 0,
        nextTokenLayers: 0,
      },
      {
        scoring: 'softmax',
        choiceBias: false,
        groups: grouped ? hf.n_group! : 1,
        groupsPerToken: grouped ? hf.topk_group! : 1,
        groupScore: 'largest',
        normalizeWeights: false,
        weightScale: hf.routed_scaling_factor ?? 1,
      },
      {
        biases: {
          queryKeyValue: hf.attention_bias ?? false,
          attentionOutput: hf.attention_bias ?? false,
          feedForward: hf.mlp_bias ?? false,
        },
      },
    );
  },
  describe: (config) => describeLayout(config, layout),
};

/** DeepSeek-V3, R1 and V3.1; Moonlight, which calls itself so. */
export const deepseekV3: Family = {
  modelType: 'deepseek_v3',
  headClasses: ['DeepseekV3ForCausalLM'],
  members: { experts: ['n_routed_experts'] },
  layerMembers,
  unsupported: (hf) => unsupported(hf, 'sigmoid', ['noaux_tc']),
  readConfig: (hf) =>
    readLatentConfig(
      hf,
      {
        vocab_size: 129280,
        hidden_size: 7168,
        intermediate_size: 18432,
        num_hidden_layers: 61,
        num_attention_heads: 128,
        max_position_embeddings: 4096,
        norm_epsilon: 1e-6,
        hidden_act: 'silu',
        bos_token_id: 0,
        eos_token_id: 1,
        tie_word_embeddings: false,
      },
      {
        queryRank: 1536,
        experts: 256,
        expertsPerToken: 8,
        expertWidth: 2048,
        shared: 1,
        firstDense: 3,
        nextTokenLayers: 1,
      },
      {
        scoring: 'sigmoid',
        choiceBias: true,
        groups: hf.n_group ?? 8,
        groupsPerToken: hf.topk_group ?? 4,
        groupScore: 'two-largest',
        normalizeWeights: hf.norm_topk_prob ?? true,
        weightScale: hf.routed_scaling_factor ?? 2.5,
      },
      {},
    ),
  describe: (config) => describeLayout(config, layout),
};
