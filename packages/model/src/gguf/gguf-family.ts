// How llama.cpp names and lays out the tensors of each architecture. Names: llama.cpp, gguf-py/gguf/constants.py; what it does
// to values on the way: its conversion scripts. One table for both directions.
import { PithError } from '@pith/tensor-core';

/** A module of a checkpoint and what a GGUF file has in its place. `{i}` is the number of the block. */
export interface TensorRule {
  /** Name in the GGUF file without `.weight` and `.bias`: `blk.{i}.attn_q`. */
  readonly gguf: string;
  /** Path in the checkpoint: `model.layers.{i}.self_attn.q_proj`. */
  readonly hf: string;
  /**
   * `rotary`: the rows of each head change places, because llama.cpp rotates neighbours of a head where Hugging Face rotates its
   * two halves. Row i of the lower half goes to 2 i, of the upper half to 2 i + 1.
   * `grouped`: queries, key and value of a group of heads lie together in the checkpoint, in the file all queries come first.
   */
  readonly rows?: 'rotary' | 'grouped';
  /** Added to every value in the file: 1 for norms that multiply by `1 + weight`. */
  readonly offset?: 1;
  /** Matrices of single experts, `{e}` in the path, lie one after the other in one tensor. */
  readonly stacked?: true;
  /**
   * Of a linear that gives keys and values of each head the rows of one of them alone, a matrix for each head; those of keys turned
   * round, because llama.cpp multiplies queries with them.
   */
  readonly part?: 'key' | 'value';
  /** The path is the whole name in the checkpoint, and the tensor of the file has this suffix. */
  readonly suffix?: 'bias';
}

/** An architecture of llama.cpp. */
export interface GgufFamily {
  /** `model_type` in config.json. */
  readonly modelType: string;
  /** `general.architecture`. */
  readonly architecture: string;
  /** The class with a language model's head. */
  readonly headClass: string;
  /** Modules outside of the blocks that come first, in the order of the file. */
  readonly before: readonly TensorRule[];
  /** Modules of a block. */
  readonly block: readonly TensorRule[];
  /** Modules behind the blocks. */
  readonly after: readonly TensorRule[];
}

const EMBEDDING: TensorRule = { gguf: 'token_embd', hf: 'model.embed_tokens' };
const OUTPUT_NORM: TensorRule = { gguf: 'output_norm', hf: 'model.norm' };
const OUTPUT: TensorRule = { gguf: 'output', hf: 'lm_head' };
const ROTARY = { rows: 'rotary' } as const;
const ONE = { offset: 1 } as const;

/** Rules of a block from pairs of names. */
function rules(
  prefix: string,
  pairs: Readonly<Record<string, string | readonly [string, Partial<TensorRule>]>>,
): TensorRule[] {
  return Object.entries(pairs).map(([gguf, entry]): TensorRule => {
    const [hf, rule] = typeof entry === 'string' ? [entry, {}] : entry;
    return { gguf: `blk.{i}.${gguf}`, hf: `${prefix}.{i}.${hf}`, ...rule };
  });
}

const NORMS = { attn_norm: 'input_layernorm', ffn_norm: 'post_attention_layernorm' } as const;
const GATED = { ffn_gate: 'mlp.gate_proj', ffn_up: 'mlp.up_proj', ffn_down: 'mlp.down_proj' } as const;
const HEAD_NORMS = { attn_q_norm: 'self_attn.q_norm', attn_k_norm: 'self_attn.k_norm' } as const;

function attention(rows: Partial<TensorRule> = {}, output = 'o_proj') {
  return {
    attn_q: ['self_attn.q_proj', rows],
    attn_k: ['self_attn.k_proj', rows],
    attn_v: 'self_attn.v_proj',
    attn_output: `self_attn.${output}`,
  } as const;
}

const layers = (pairs: Parameters<typeof rules>[1]): TensorRule[] => rules('model.layers', pairs);
const llamaBlock = layers({ ...NORMS, ...attention(ROTARY), ...GATED });
const plainBlock = layers({ ...NORMS, ...attention(), ...GATED });
const sandwich = {
  attn_norm: ['input_layernorm', ONE],
  post_attention_norm: ['post_attention_layernorm', ONE],
  ffn_norm: ['pre_feedforward_layernorm', ONE],
  post_ffw_norm: ['post_feedforward_layernorm', ONE],
  ...attention(),
  ...GATED,
} as const;
const groupedBlock = (attentionPath: string) =>
  ({
    ...NORMS,
    attn_qkv: [`${attentionPath}.query_key_value`, { rows: 'grouped' }],
    attn_output: `${attentionPath}.dense`,
    ffn_up: 'mlp.dense_h_to_4h',
    ffn_down: 'mlp.dense_4h_to_h',
  }) as const;

const latentBlock = layers({
  ...NORMS,
  attn_q: 'self_attn.q_proj',
  attn_q_a: 'self_attn.q_a_proj',
  attn_q_a_norm: 'self_attn.q_a_layernorm',
  attn_q_b: 'self_attn.q_b_proj',
  attn_kv_a_mqa: 'self_attn.kv_a_proj_with_mqa',
  attn_kv_a_norm: 'self_attn.kv_a_layernorm',
  attn_k_b: ['self_attn.kv_b_proj', { part: 'key' }],
  attn_v_b: ['self_attn.kv_b_proj', { part: 'value' }],
  attn_output: 'self_attn.o_proj',
  ...GATED,
  ffn_gate_inp: 'mlp.gate',
  exp_probs_b: ['mlp.gate.e_score_correction_bias', { suffix: 'bias' }],
  ffn_gate_exps: ['mlp.experts.{e}.gate_proj', { stacked: true }],
  ffn_up_exps: ['mlp.experts.{e}.up_proj', { stacked: true }],
  ffn_down_exps: ['mlp.experts.{e}.down_proj', { stacked: true }],
  ffn_gate_shexp: 'mlp.shared_experts.gate_proj',
  ffn_up_shexp: 'mlp.shared_experts.up_proj',
  ffn_down_shexp: 'mlp.shared_experts.down_proj',
});

interface FamilyParts {
  readonly block: readonly TensorRule[];
  readonly before?: readonly TensorRule[];
  readonly after?: readonly TensorRule[];
}

function family(modelType: string, architecture: string, headClass: string, parts: FamilyParts): GgufFamily {
  const { block, before = [EMBEDDING], after = [OUTPUT_NORM, OUTPUT] } = parts;
  return { modelType, architecture, headClass, before, block, after };
}

const GEMMA_AFTER = [{ ...OUTPUT_NORM, ...ONE }, OUTPUT];

/** Every architecture, by `model_type`. Where several share one of llama.cpp's, `familyOfFile` tells them apart. */
export const GGUF_FAMILIES: readonly GgufFamily[] = [
  family('llama', 'llama', 'LlamaForCausalLM', { block: llamaBlock }),
  family('mistral', 'llama', 'MistralForCausalLM', { block: llamaBlock }),
  family('mixtral', 'llama', 'MixtralForCausalLM', {
    block: layers({
      ...NORMS,
      ...attention(ROTARY),
      ffn_gate_inp: 'block_sparse_moe.gate',
      ffn_gate_exps: ['block_sparse_moe.experts.{e}.w1', { stacked: true }],
      ffn_up_exps: ['block_sparse_moe.experts.{e}.w3', { stacked: true }],
      ffn_down_exps: ['block_sparse_moe.experts.{e}.w2', { stacked: true }],
    }),
  }),
  family('qwen2', 'qwen2', 'Qwen2ForCausalLM', { block: plainBlock }),
  family('qwen3', 'qwen3', 'Qwen3ForCausalLM', {
    block: layers({ ...NORMS, ...attention(), ...HEAD_NORMS, ...GATED }),
  }),
  family('qwen3_moe', 'qwen3moe', 'Qwen3MoeForCausalLM', {
    block: layers({
      ...NORMS,
      ...attention(),
      ...HEAD_NORMS,
      ffn_gate_inp: 'mlp.gate',
      ffn_gate_exps: ['mlp.experts.{e}.gate_proj', { stacked: true }],
      ffn_up_exps: ['mlp.experts.{e}.up_proj', { stacked: true }],
      ffn_down_exps: ['mlp.experts.{e}.down_proj', { stacked: true }],
    }),
  }),
  family('gemma', 'gemma', 'GemmaForCausalLM', {
    block: layers({
      attn_norm: ['input_layernorm', ONE],
      ffn_norm: ['post_attention_layernorm', ONE],
      ...attention(),
      ...GATED,
    }),
    after: GEMMA_AFTER,
  }),
  family('gemma2', 'gemma2', 'Gemma2ForCausalLM', { block: layers(sandwich), after: GEMMA_AFTER }),
  family('gemma3_text', 'gemma3', 'Gemma3ForCausalLM', {
    block: layers({
      ...sandwich,
      attn_q_norm: ['self_attn.q_norm', ONE],
      attn_k_norm: ['self_attn.k_norm', ONE],
    }),
    after: GEMMA_AFTER,
  }),
  family('phi', 'phi2', 'PhiForCausalLM', {
    block: layers({
      attn_norm: 'input_layernorm',
      ...attention({}, 'dense'),
      ffn_up: 'mlp.fc1',
      ffn_down: 'mlp.fc2',
    }),
    after: [{ gguf: 'output_norm', hf: 'model.final_layernorm' }, OUTPUT],
  }),
  family('starcoder2', 'starcoder2', 'Starcoder2ForCausalLM', {
    block: layers({ ...NORMS, ...attention(), ffn_up: 'mlp.c_fc', ffn_down: 'mlp.c_proj' }),
  }),
  family('olmo2', 'olmo2', 'Olmo2ForCausalLM', {
    block: layers({
      post_attention_norm: 'post_attention_layernorm',
      post_ffw_norm: 'post_feedforward_layernorm',
      ...attention(),
      ...HEAD_NORMS,
      ...GATED,
    }),
  }),
  family('granite', 'granite', 'GraniteForCausalLM', { block: llamaBlock }),
  family('smollm3', 'smollm3', 'SmolLM3ForCausalLM', { block: llamaBlock }),
  family('cohere', 'command-r', 'CohereForCausalLM', {
    block: layers({ attn_norm: 'input_layernorm', ...attention(), ...HEAD_NORMS, ...GATED }),
  }),
  family('stablelm', 'stablelm', 'StableLmForCausalLM', {
    block: layers({
      ...NORMS,
      ...attention(),
      attn_q_norm: ['self_attn.q_layernorm.norms.{e}', { stacked: true }],
      attn_k_norm: ['self_attn.k_layernorm.norms.{e}', { stacked: true }],
      ...GATED,
    }),
  }),
  family('deepseek_v2', 'deepseek2', 'DeepseekV2ForCausalLM', { block: latentBlock }),
  family('deepseek_v3', 'deepseek2', 'DeepseekV3ForCausalLM', { block: latentBlock }),
  family('phi3', 'phi3', 'Phi3ForCausalLM', {
    block: layers({
      ...NORMS,
      attn_qkv: 'self_attn.qkv_proj',
      attn_output: 'self_attn.o_proj',
      ffn_up: 'mlp.gate_up_proj',
      ffn_down: 'mlp.down_proj',
    }),
  }),
  family('falcon', 'falcon', 'FalconForCausalLM', {
    before: [{ gguf: 'token_embd', hf: 'transformer.word_embeddings' }],
    block: [
      ...rules('transformer.h', {
        attn_norm: 'input_layernorm',
        // Where there are two norms, `attn_norm` is that of the feed-forward part.
        attn_norm_2: 'ln_attn',
        attn_qkv: ['self_attention.query_key_value', { rows: 'grouped' }],
        attn_output: 'self_attention.dense',
        ffn_up: 'mlp.dense_h_to_4h',
        ffn_down: 'mlp.dense_4h_to_h',
      }),
      ...rules('transformer.h', { attn_norm: 'ln_mlp' }),
    ],
    after: [{ gguf: 'output_norm', hf: 'transformer.ln_f' }, OUTPUT],
  }),
  family('gpt2', 'gpt2', 'GPT2LMHeadModel', {
    before: [
      { gguf: 'token_embd', hf: 'transformer.wte' },
      { gguf: 'position_embd', hf: 'transformer.wpe' },
    ],
    block: rules('transformer.h', {
      attn_norm: 'ln_1',
      ffn_norm: 'ln_2',
      attn_qkv: 'attn.c_attn',
      attn_output: 'attn.c_proj',
      ffn_up: 'mlp.c_fc',
      ffn_down: 'mlp.c_proj',
    }),
    after: [{ gguf: 'output_norm', hf: 'transformer.ln_f' }, OUTPUT],
  }),
  family('gpt_neox', 'gptneox', 'GPTNeoXForCausalLM', {
    before: [{ gguf: 'token_embd', hf: 'gpt_neox.embed_in' }],
    block: rules('gpt_neox.layers', groupedBlock('attention')),
    after: [
      { gguf: 'output_norm', hf: 'gpt_neox.final_layer_norm' },
      { gguf: 'output', hf: 'embed_out' },
    ],
  }),
  family('bloom', 'bloom', 'BloomForCausalLM', {
    before: [
      { gguf: 'token_embd', hf: 'transformer.word_embeddings' },
      { gguf: 'token_embd_norm', hf: 'transformer.word_embeddings_layernorm' },
    ],
    block: rules('transformer.h', groupedBlock('self_attention')),
    after: [{ gguf: 'output_norm', hf: 'transformer.ln_f' }, OUTPUT],
  }),
  family('bert', 'bert', 'BertModel', {
    before: [
      { gguf: 'token_embd', hf: 'bert.embeddings.word_embeddings' },
      { gguf: 'position_embd', hf: 'bert.embeddings.position_embeddings' },
      { gguf: 'token_types', hf: 'bert.embeddings.token_type_embeddings' },
      { gguf: 'token_embd_norm', hf: 'bert.embeddings.LayerNorm' },
    ],
    block: rules('bert.encoder.layer', {
      attn_q: 'attention.self.query',
      attn_k: 'attention.self.key',
      attn_v: 'attention.self.value',
      attn_output: 'attention.output.dense',
      attn_output_norm: 'attention.output.LayerNorm',
      ffn_up: 'intermediate.dense',
      ffn_down: 'output.dense',
      layer_output_norm: 'output.LayerNorm',
    }),
    after: [],
  }),
];

/** Architectures that llama.cpp does not have. */
const UNKNOWN_TO_LLAMA = ['opt'];

/**
 * What llama.cpp calls an architecture.
 *
 * @throws PithError `GGUF_ARCHITECTURE_UNSUPPORTED`.
 */
export function ggufFamily(modelType: string): GgufFamily {
  const found = GGUF_FAMILIES.find((one) => one.modelType === modelType);
  if (found !== undefined) return found;
  const why = UNKNOWN_TO_LLAMA.includes(modelType) ? `llama.cpp has no ${modelType}: ` : '';
  throw new PithError(
    'GGUF_ARCHITECTURE_UNSUPPORTED',
    `export GGUF: ${why}the architecture must be one of ${GGUF_FAMILIES.map((one) => one.modelType).join(', ')}, got ${modelType}; choose another format`,
    { details: { modelType } },
  );
}

/** The rules of all tensors of a file with the numbers of the blocks filled in, in the order of the file. */
export function* rulesOf(
  family: GgufFamily,
  layers: number,
): Generator<TensorRule & { readonly index: number | null }> {
  for (const rule of family.before) yield { ...rule, index: null };
  for (let index = 0; index < layers; index++) {
    for (const rule of family.block) {
      yield { ...rule, gguf: numbered(rule.gguf, index), hf: numbered(rule.hf, index), index };
    }
  }
  for (const rule of family.after) yield { ...rule, index: null };
}

function numbered(name: string, index: number): string {
  return name.replace('{i}', String(index));
}
