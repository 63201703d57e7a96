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
});

const count = (cap: number) => z.number().int().min(1).max(cap);
const positive = z.number().finite().positive();
const tokenId = z.number().int().min(0).max(CONFIG_CAPS.vocabulary);
const text = z.string().max(CONFIG_CAPS.text);

const ropeSchema = z.object({
  rope_type: text.optional(),
  /** The key of configs before 2024. */
  type: text.optional(),
  rope_theta: positive.optional(),
  factor: positive.optional(),
  low_freq_factor: positive.optional(),
  high_freq_factor: positive.optional(),
  original_max_position_embeddings: count(CONFIG_CAPS.positions).optional(),
  partial_rotary_factor: positive.max(1).optional(),
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
  hidden_act: text.optional(),
  max_position_embeddings: count(CONFIG_CAPS.positions).optional(),
  rms_norm_eps: positive.max(1).optional(),
  rope_theta: positive.nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeSchema.nullish(),
  partial_rotary_factor: positive.max(1).nullish(),
  tie_word_embeddings: z.boolean().nullish(),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  use_sliding_window: z.boolean().nullish(),
  sliding_window: count(CONFIG_CAPS.positions).nullish(),
  max_window_layers: z.number().int().min(0).max(CONFIG_CAPS.layers).optional(),
  layer_types: z.array(text).max(CONFIG_CAPS.layers).nullish(),
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
