// Metadata of a GGUF file: hyperparameters by the names of llama.cpp.
import type { GgufValue } from '@pith/checkpoint';
import { PithError } from '@pith/tensor-core';
import type { Architecture } from '../architecture/architecture.ts';
import type { ModelConfig } from '../config/model-config.ts';
import { ggufFamily } from './gguf-family.ts';

/** What a file is called and how it was quantized. */
export interface GgufNaming {
  /** `general.name`. */
  readonly name: string;
  /** `general.file_type`: llama.cpp's number of the mixture. */
  readonly fileType: number;
}

const u32 = (value: number): GgufValue => ({ type: 'uint32', value });
const f32 = (value: number): GgufValue => ({ type: 'float32', value: Math.fround(value) });
const text = (value: string): GgufValue => ({ type: 'string', value });

/** Version of the block formats, for readers that knew older ones. */
const QUANTIZATION_VERSION = 2;

/**
 * General facts and hyperparameters, in the order in which they are written.
 *
 * @throws PithError `GGUF_ARCHITECTURE_UNSUPPORTED`, `GGUF_SCALING_UNSUPPORTED`,
 * `GGUF_SCALE_UNSUPPORTED`.
 */
export function ggufMetadata(architecture: Architecture, { name, fileType }: GgufNaming): Map<string, GgufValue> {
  const { config } = architecture;
  const { rope } = config;
  const { architecture: family } = ggufFamily(config.modelType);
  if (rope !== null && !['none', 'linear', 'llama3'].includes(rope.scaling.kind)) {
    throw new PithError(
      'GGUF_SCALING_UNSUPPORTED',
      `export GGUF: the scaling of the rotary frequencies must be none, linear or llama3, got ${rope.scaling.kind}; choose another format`,
      { details: { scaling: rope.scaling.kind } },
    );
  }
  const usual = 1 / Math.sqrt(config.headDim);
  if (config.modelType !== 'granite' && Math.abs(config.attentionScale - usual) > 1e-6 * usual) {
    throw new PithError(
      'GGUF_SCALE_UNSUPPORTED',
      `export GGUF: products of queries and keys must be scaled by 1 / sqrt(${config.headDim}) for llama.cpp, they are by ${config.attentionScale}; choose another format`,
      { details: { attentionScale: config.attentionScale, headDim: config.headDim } },
    );
  }
  const own: [string, GgufValue][] = [
    ['block_count', u32(config.layers)],
    ['context_length', u32(config.maxPositions)],
    ['embedding_length', u32(config.hiddenSize)],
    ['feed_forward_length', u32(config.intermediateSize)],
    ['attention.head_count', u32(config.heads)],
    ['attention.head_count_kv', u32(config.keyValueHeads)],
    ['attention.key_length', u32(config.headDim)],
    ['attention.value_length', u32(config.headDim)],
    [`attention.layer_norm_${config.norm.kind === 'rms' ? 'rms_' : ''}epsilon`, f32(config.normEpsilon)],
    ...(rope === null
      ? []
      : ([
          ['rope.freq_base', f32(rope.theta)],
          ['rope.dimension_count', u32(rope.dim)],
        ] satisfies [string, GgufValue][])),
    ['vocab_size', u32(config.vocabularySize)],
    ...ownFacts(config),
  ];
  if (rope?.scaling.kind === 'linear') {
    own.push(['rope.scaling.type', text('linear')], ['rope.scaling.factor', f32(rope.scaling.factor)]);
  }
  return new Map<string, GgufValue>([
    ['general.architecture', text(family)],
    ['general.type', text('model')],
    ['general.name', text(name)],
    ...own.map(([key, value]): [string, GgufValue] => [`${family}.${key}`, value]),
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
  }
  const window = config.windows.find((one) => one !== null);
  if (window != null && ['gemma2', 'gemma3_text'].includes(modelType)) {
    facts.push(['attention.sliding_window', u32(window)]);
  }
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
