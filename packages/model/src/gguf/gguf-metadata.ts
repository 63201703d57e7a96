// Metadata of a GGUF file: hyperparameters by the names of llama.cpp.
import type { GgufValue } from '@pith/checkpoint';
import type { Architecture } from '../architecture/architecture.ts';
import type { ExpertConfig, ModelConfig } from '../config/model-config.ts';
import { ggufFamily } from './gguf-family.ts';
import { checkLimits } from './gguf-limits.ts';
import { ggufRope } from './gguf-rope.ts';

/** What a file is called and how it was quantized. */
export interface GgufNaming {
  /** `general.name`. */
  readonly name: string;
  /** `general.file_type`: llama.cpp's number of the mixture. */
  readonly fileType: number;
  /** How an encoder's states become one vector: their mean or that of the first token; `mean` when left out. */
  readonly pooling?: 'mean' | 'cls';
}

const u32 = (value: number): GgufValue => ({ type: 'uint32', value });
const f32 = (value: number): GgufValue => ({ type: 'float32', value: Math.fround(value) });
const text = (value: string): GgufValue => ({ type: 'string', value });

/** Version of the block formats, for readers that knew older ones. */
const QUANTIZATION_VERSION = 2;

/**
 * General facts and hyperparameters, in the order in which they are written.
 *
 * @throws PithError `GGUF_ARCHITECTURE_UNSUPPORTED`, `GGUF_MODEL_UNSUPPORTED` (llama.cpp would compute something else).
 */
export function ggufMetadata(
  architecture: Architecture,
  { name, fileType, pooling = 'mean' }: GgufNaming,
): Map<string, GgufValue> {
  const { config } = architecture;
  const { architecture: family } = ggufFamily(config.modelType);
  checkLimits(config);
  const own: [string, GgufValue][] = [
    ['block_count', u32(config.layers)],
    ['context_length', u32(config.maxPositions)],
    ['embedding_length', u32(config.hiddenSize)],
    ['feed_forward_length', u32(config.intermediateSize)],
    ['attention.head_count', u32(config.heads)],
    ...keyValueFacts(config),
    [`attention.layer_norm_${config.norm.kind === 'rms' ? 'rms_' : ''}epsilon`, f32(config.normEpsilon)],
    ...ggufRope(config),
    ['vocab_size', u32(config.vocabularySize)],
    ...ownFacts(config),
    ...(config.kind === 'encoder' ? encoderFacts(pooling) : []),
  ];
  return new Map<string, GgufValue>([
    ['general.architecture', text(family)],
    ['general.type', text('model')],
    ['general.name', text(name)],
    ...own.map(([key, value]): [string, GgufValue] => [`${family}.${key}`, value]),
    ...(config.tokenTypes > 0
      ? ([['tokenizer.ggml.token_type_count', u32(config.tokenTypes)]] satisfies [string, GgufValue][])
      : []),
    ['general.file_type', u32(fileType)],
    ['general.quantization_version', u32(QUANTIZATION_VERSION)],
  ]);
}

/** Facts that some architectures alone have. */
function ownFacts(config: ModelConfig): [string, GgufValue][] {
  const { experts, modelType } = config;
  const facts: [string, GgufValue][] = [];
  if (experts !== null) {
    facts.push(['expert_count', u32(experts.count)], ['expert_used_count', u32(experts.perToken)]);
    if (modelType === 'qwen3_moe') facts.push(['expert_feed_forward_length', u32(experts.intermediateSize)]);
    if (config.latentAttention !== null) facts.push(...routingFacts(experts));
  }
  facts.push(...windowFacts(config));
  if (config.attentionSoftCap !== null) facts.push(['attn_logit_softcapping', f32(config.attentionSoftCap)]);
  if (config.logitSoftCap !== null) facts.push(['final_logit_softcapping', f32(config.logitSoftCap)]);
  if (modelType === 'cohere') facts.push(['logit_scale', f32(config.logitScale)]);
  if (modelType === 'granite') {
    facts.push(
      ['attention.scale', f32(config.attentionScale)],
      ['embedding_scale', f32(config.embeddingScale)],
      ['residual_scale', f32(config.residualScale)],
      // llama.cpp divides by it.
      ['logit_scale', f32(1 / config.logitScale)],
    );
  }
  if (modelType === 'gpt_neox' || modelType === 'stablelm') {
    facts.push(['use_parallel_residual', { type: 'bool', value: config.residual.startsWith('parallel') }]);
  }
  return facts;
}

/** With latent attention llama.cpp keeps the latent and the rotated keys as the one key head of all queries. */
function keyValueFacts({ keyValueHeads, headDim, valueDim, latentAttention }: ModelConfig): [string, GgufValue][] {
  if (latentAttention === null) {
    return [
      ['attention.head_count_kv', u32(keyValueHeads)],
      ['attention.key_length', u32(headDim)],
      ['attention.value_length', u32(valueDim)],
    ];
  }
  const { queryRank, keyValueRank, rotaryDim } = latentAttention;
  return [
    ['attention.head_count_kv', u32(1)],
    // Models of other numbers of blocks than V2-Lite's must say it; 0 is none.
    ['attention.q_lora_rank', u32(queryRank ?? 0)],
    ['attention.kv_lora_rank', u32(keyValueRank)],
    ['attention.key_length', u32(keyValueRank + rotaryDim)],
    ['attention.value_length', u32(keyValueRank)],
    ['attention.key_length_mla', u32(headDim)],
    ['attention.value_length_mla', u32(valueDim)],
  ];
}

/** llama.cpp's numbers of `expert_gating_func`. */
const GATING = { softmax: 1, sigmoid: 2 } as const;

/** How experts are chosen and weighted. */
function routingFacts(experts: ExpertConfig): [string, GgufValue][] {
  const { intermediateSize, shared, weightScale, normalizeWeights, scoring, groups, groupsPerToken, layers } = experts;
  const first = layers.indexOf(true);
  return [
    ['leading_dense_block_count', u32(first < 0 ? layers.length : first)],
    ['expert_feed_forward_length', u32(intermediateSize)],
    ['expert_shared_count', u32(shared)],
    ['expert_weights_scale', f32(weightScale)],
    ['expert_weights_norm', { type: 'bool', value: normalizeWeights }],
    ['expert_gating_func', u32(GATING[scoring])],
    ...(groups === 1
      ? []
      : ([
          ['expert_group_count', u32(groups)],
          ['expert_group_used_count', u32(groupsPerToken)],
        ] satisfies [string, GgufValue][])),
  ];
}

/** llama.cpp's numbers of `pooling_type`. */
const POOLING = { mean: 1, cls: 2 } as const;

function encoderFacts(pooling: keyof typeof POOLING): [string, GgufValue][] {
  return [
    ['attention.causal', { type: 'bool', value: false }],
    ['pooling_type', u32(POOLING[pooling])],
  ];
}

/** Every so many blocks one sees all tokens, unless the file says which. */
const PATTERNS: Readonly<Record<string, number>> = { gemma2: 2, gemma3_text: 6 };

/** Architectures that have a window in every block or in none, and none in llama.cpp. */
const EVERY_BLOCK = ['mistral', 'mixtral', 'starcoder2'];

/** Sliding windows. Those that llama.cpp does not have are told all the same: whoever reads the file back knows of them. */
function windowFacts({ modelType, windows }: ModelConfig): [string, GgufValue][] {
  const window = windows.find((one) => one !== null) ?? null;
  if (modelType === 'phi3') return [['attention.sliding_window', u32(window ?? 0)]];
  const pattern = PATTERNS[modelType];
  if (pattern === undefined) {
    const every = window !== null && EVERY_BLOCK.includes(modelType) && windows.every((one) => one === window);
    return every ? [['attention.sliding_window', u32(window)]] : [];
  }
  if (window === null) return modelType === 'gemma2' ? [flags(windows)] : [];
  const usual = windows.every((one, layer) => (one !== null) === ((layer + 1) % pattern !== 0));
  return [['attention.sliding_window', u32(window)], ...(usual ? [] : [flags(windows)])];
}

function flags(windows: ModelConfig['windows']): [string, GgufValue] {
  const values = windows.map((one) => one !== null);
  return ['attention.sliding_window_pattern', { type: 'array', items: { type: 'bool', values } }];
}
