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
   * `rotary`: the rows of each head change places, because llama.cpp rotates neighbours of a head where Hugging Face rotates
   * its two halves. Row i of the lower half goes to 2 i, of the upper half to 2 i + 1.
   */
  readonly rows?: 'rotary';
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

/** The block of Llama and of all that is laid out like it. */
function llamaBlock(rows: { readonly rows?: 'rotary' }): TensorRule[] {
  const block = (gguf: string, hf: string, rule: Partial<TensorRule> = {}): TensorRule => ({
    gguf: `blk.{i}.${gguf}`,
    hf: `model.layers.{i}.${hf}`,
    ...rule,
  });
  return [
    block('attn_norm', 'input_layernorm'),
    block('ffn_norm', 'post_attention_layernorm'),
    block('attn_q', 'self_attn.q_proj', rows),
    block('attn_k', 'self_attn.k_proj', rows),
    block('attn_v', 'self_attn.v_proj'),
    block('attn_output', 'self_attn.o_proj'),
    block('ffn_gate', 'mlp.gate_proj'),
    block('ffn_up', 'mlp.up_proj'),
    block('ffn_down', 'mlp.down_proj'),
  ];
}

/** Every architecture, by `model_type`. Where several share one of llama.cpp's, the first is what a file is read as. */
const FAMILIES: readonly GgufFamily[] = [
  {
    modelType: 'llama',
    architecture: 'llama',
    headClass: 'LlamaForCausalLM',
    before: [EMBEDDING],
    block: llamaBlock({ rows: 'rotary' }),
    after: [OUTPUT_NORM, OUTPUT],
  },
  {
    modelType: 'mistral',
    architecture: 'llama',
    headClass: 'MistralForCausalLM',
    before: [EMBEDDING],
    block: llamaBlock({ rows: 'rotary' }),
    after: [OUTPUT_NORM, OUTPUT],
  },
  {
    modelType: 'qwen2',
    architecture: 'qwen2',
    headClass: 'Qwen2ForCausalLM',
    before: [EMBEDDING],
    block: llamaBlock({}),
    after: [OUTPUT_NORM, OUTPUT],
  },
];

/**
 * What llama.cpp calls an architecture.
 *
 * @throws PithError `GGUF_ARCHITECTURE_UNSUPPORTED`.
 */
export function ggufFamily(modelType: string): GgufFamily {
  const family = FAMILIES.find((one) => one.modelType === modelType);
  if (family !== undefined) return family;
  throw new PithError(
    'GGUF_ARCHITECTURE_UNSUPPORTED',
    `export GGUF: the architecture must be one of ${FAMILIES.map((one) => one.modelType).join(', ')}, got ${modelType}; choose another format`,
    { details: { modelType } },
  );
}

/**
 * The family of a file.
 *
 * @throws PithError `GGUF_ARCHITECTURE_UNSUPPORTED`.
 */
export function familyOfFile(architecture: string, file: string): GgufFamily {
  const family = FAMILIES.find((one) => one.architecture === architecture);
  if (family !== undefined) return family;
  const known = [...new Set(FAMILIES.map((one) => one.architecture))];
  throw new PithError(
    'GGUF_ARCHITECTURE_UNSUPPORTED',
    `open GGUF: ${file}: general.architecture must be one of ${known.join(', ')}, got ${JSON.stringify(architecture.slice(0, 80))}; ` +
      'open the model that the file was made from',
    { details: { file, architecture: architecture.slice(0, 80), known } },
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
