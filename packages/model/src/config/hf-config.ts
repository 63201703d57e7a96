// config.json as strangers write it: the fields that matter, each with a type and a cap. Unknown fields are allowed,
// the file carries much that changes no number. What would change numbers and is not supported is refused by
// `normalize.ts` by name.
import { PithError } from '@pith/tensor-core';
import * as z from 'zod';

/** Caps on what a config may claim; generous beside any published model, small enough that no product overflows. */
export const CONFIG_CAPS = Object.freeze({
  vocabulary: 2 ** 22,
  width: 2 ** 18,
  layers: 2048,
  heads: 4096,
  headDim: 8192,
  positions: 2 ** 30,
  eosTokens: 256,
  text: 256,
  experts: 4096,
  /** Experts of all layers together. */
  layerExperts: 2 ** 17,
  /** Factors of a rope scaling. */
  factors: 4096,
});

const count = (cap: number) => z.number().int().min(1).max(cap);
const positive = z.number().finite().positive();
const tokenId = z.number().int().min(0).max(CONFIG_CAPS.vocabulary);
const text = z.string().max(CONFIG_CAPS.text);

const ropeFields = {
  rope_type: text.optional(),
  /** The key of configs before 2024. */
  type: text.optional(),
  rope_theta: positive.nullish(),
  factor: positive.nullish(),
  low_freq_factor: positive.optional(),
  high_freq_factor: positive.optional(),
  original_max_position_embeddings: count(CONFIG_CAPS.positions).nullish(),
  partial_rotary_factor: positive.max(1).nullish(),
  attention_factor: positive.nullish(),
  mscale: z.number().finite().min(0).nullish(),
  mscale_all_dim: z.number().finite().min(0).nullish(),
  beta_fast: positive.nullish(),
  beta_slow: positive.nullish(),
  truncate: z.boolean().nullish(),
  short_factor: z.array(positive).max(CONFIG_CAPS.factors).optional(),
  long_factor: z.array(positive).max(CONFIG_CAPS.factors).optional(),
};

const ropeSchema = z.object({
  ...ropeFields,
  /** Where kinds of layers differ, each has its own. */
  full_attention: z.object(ropeFields).nullish(),
  sliding_attention: z.object(ropeFields).nullish(),
});

/** The rope part of a config, in either style. */
export type HfRope = z.infer<typeof ropeSchema>;

const tokenIds = z.union([tokenId, z.array(tokenId).max(CONFIG_CAPS.eosTokens)]).nullish();

const schema = z.object({
  model_type: text,
  architectures: z.array(text).max(16).nullish(),
  vocab_size: count(CONFIG_CAPS.vocabulary).optional(),
  hidden_size: count(CONFIG_CAPS.width).optional(),
  intermediate_size: count(CONFIG_CAPS.width * 4).optional(),
  num_hidden_layers: count(CONFIG_CAPS.layers).optional(),
  num_attention_heads: count(CONFIG_CAPS.heads).optional(),
  num_key_value_heads: count(CONFIG_CAPS.heads).nullish(),
  head_dim: count(CONFIG_CAPS.headDim).nullish(),
  hidden_act: text.nullish(),
  hidden_activation: text.nullish(),
  activation_function: text.nullish(),
  activation: text.nullish(),
  max_position_embeddings: count(CONFIG_CAPS.positions).optional(),
  rms_norm_eps: positive.max(1).optional(),
  layer_norm_eps: positive.max(1).nullish(),
  layer_norm_epsilon: positive.max(1).nullish(),
  norm_epsilon: positive.max(1).optional(),
  rope_theta: positive.nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeSchema.nullish(),
  partial_rotary_factor: positive.max(1).nullish(),
  rotary_pct: positive.max(1).nullish(),
  rotary_emb_base: positive.nullish(),
  rope_local_base_freq: positive.nullish(),
  original_max_position_embeddings: count(CONFIG_CAPS.positions).nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  use_sliding_window: z.boolean().nullish(),
  sliding_window: count(CONFIG_CAPS.positions).nullish(),
  max_window_layers: z.number().int().min(0).max(CONFIG_CAPS.layers).optional(),
  sliding_window_pattern: count(CONFIG_CAPS.layers).nullish(),
  layer_types: z.array(text).max(CONFIG_CAPS.layers).nullish(),
  no_rope_layers: z.array(z.number().int().min(0).max(1)).max(CONFIG_CAPS.layers).nullish(),
  no_rope_layer_interval: count(CONFIG_CAPS.layers).nullish(),
  use_bidirectional_attention: z.boolean().nullish(),
  query_pre_attn_scalar: positive.nullish(),
  attn_logit_softcapping: positive.nullish(),
  final_logit_softcapping: positive.nullish(),
  attention_multiplier: positive.nullish(),
  embedding_multiplier: positive.nullish(),
  residual_multiplier: positive.nullish(),
  logits_scaling: positive.nullish(),
  logit_scale: positive.nullish(),
  use_qk_norm: z.boolean().nullish(),
  qk_layernorm: z.boolean().nullish(),
  use_qkv_bias: z.boolean().nullish(),
  use_bias: z.boolean().nullish(),
  bias: z.boolean().nullish(),
  use_parallel_residual: z.boolean().nullish(),
  parallel_attn: z.boolean().nullish(),
  new_decoder_architecture: z.boolean().nullish(),
  multi_query: z.boolean().nullish(),
  alibi: z.boolean().nullish(),
  num_ln_in_parallel_attn: z.number().int().min(1).max(2).nullish(),
  num_kv_heads: count(CONFIG_CAPS.heads).nullish(),
  ffn_hidden_size: count(CONFIG_CAPS.width * 4).nullish(),
  apply_residual_connection_post_layernorm: z.boolean().nullish(),
  n_embd: count(CONFIG_CAPS.width).optional(),
  n_embed: count(CONFIG_CAPS.width).nullish(),
  n_layer: count(CONFIG_CAPS.layers).optional(),
  n_head: count(CONFIG_CAPS.heads).optional(),
  n_inner: count(CONFIG_CAPS.width * 4).nullish(),
  n_positions: count(CONFIG_CAPS.positions).optional(),
  scale_attn_weights: z.boolean().nullish(),
  scale_attn_by_inverse_layer_idx: z.boolean().nullish(),
  add_cross_attention: z.boolean().nullish(),
  is_decoder: z.boolean().nullish(),
  ffn_dim: count(CONFIG_CAPS.width * 4).optional(),
  word_embed_proj_dim: count(CONFIG_CAPS.width).nullish(),
  do_layer_norm_before: z.boolean().nullish(),
  enable_bias: z.boolean().nullish(),
  layer_norm_elementwise_affine: z.boolean().nullish(),
  _remove_final_layer_norm: z.boolean().nullish(),
  type_vocab_size: z.number().int().min(0).max(CONFIG_CAPS.vocabulary).nullish(),
  position_embedding_type: text.nullish(),
  num_local_experts: count(CONFIG_CAPS.experts).nullish(),
  num_experts: count(CONFIG_CAPS.experts).nullish(),
  num_experts_per_tok: count(CONFIG_CAPS.experts).nullish(),
  moe_intermediate_size: count(CONFIG_CAPS.width * 4).nullish(),
  decoder_sparse_step: count(CONFIG_CAPS.layers).nullish(),
  mlp_only_layers: z.array(z.number().int().min(0).max(CONFIG_CAPS.layers)).max(CONFIG_CAPS.layers).nullish(),
  norm_topk_prob: z.boolean().nullish(),
  n_routed_experts: count(CONFIG_CAPS.experts).nullish(),
  n_shared_experts: z.number().int().min(0).max(CONFIG_CAPS.experts).nullish(),
  n_group: count(CONFIG_CAPS.experts).nullish(),
  topk_group: count(CONFIG_CAPS.experts).nullish(),
  topk_method: text.nullish(),
  scoring_func: text.nullish(),
  routed_scaling_factor: positive.nullish(),
  first_k_dense_replace: z.number().int().min(0).max(CONFIG_CAPS.layers).nullish(),
  moe_layer_freq: count(CONFIG_CAPS.layers).nullish(),
  q_lora_rank: count(CONFIG_CAPS.width).nullish(),
  kv_lora_rank: count(CONFIG_CAPS.width).nullish(),
  qk_nope_head_dim: count(CONFIG_CAPS.headDim).nullish(),
  qk_rope_head_dim: count(CONFIG_CAPS.headDim).nullish(),
  v_head_dim: count(CONFIG_CAPS.headDim).nullish(),
  rope_interleave: z.boolean().nullish(),
  num_nextn_predict_layers: z.number().int().min(0).max(CONFIG_CAPS.layers).nullish(),
  num_mtp_layers: z.number().int().min(0).max(CONFIG_CAPS.layers).nullish(),
  bos_token_id: tokenIds,
  eos_token_id: tokenIds,
  torch_dtype: text.nullish(),
  dtype: text.nullish(),
});

/** The fields of a config.json that say what the model is. */
export type HfConfig = z.infer<typeof schema>;

/**
 * Checks types and caps of a parsed config.json; reports every offending field at once.
 *
 * @throws PithError `CONFIG_INVALID`.
 */
export function checkHfConfig(json: unknown): HfConfig {
  return check(schema, json, 'config.json');
}

/**
 * The tokens that end a text by a parsed generation_config.json; undefined where it names none.
 *
 * @throws PithError `CONFIG_INVALID`.
 */
export function readStopTokens(json: unknown): readonly number[] | undefined {
  if (json === undefined) return undefined;
  const { eos_token_id: ids } = check(z.object({ eos_token_id: tokenIds }), json, 'generation_config.json');
  if (ids === undefined || ids === null) return undefined;
  return Object.freeze(Array.isArray(ids) ? ids : [ids]);
}

function check<T>(rules: z.ZodType<T>, json: unknown, file: string): T {
  const result = rules.safeParse(json);
  if (result.success) return result.data;
  const problems = result.error.issues.map(({ path, message }) => `${path.join('.') || 'the file'}: ${message}`);
  throw new PithError('CONFIG_INVALID', `read config: ${problems.join('; ')}; mend ${file}`, {
    details: { file, problems },
  });
}
