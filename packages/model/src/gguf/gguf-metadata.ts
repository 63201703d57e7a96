// Metadata of a GGUF file: hyperparameters by the names of llama.cpp.
import type { GgufValue } from '@pith/checkpoint';
import type { Architecture } from '../architecture/architecture.ts';
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

/** General facts and hyperparameters, in the order in which they are written. */
export function ggufMetadata(architecture: Architecture, { name, fileType }: GgufNaming): Map<string, GgufValue> {
  const { config } = architecture;
  const { rope } = config;
  const { architecture: family } = ggufFamily(config.modelType);
  const own: [string, GgufValue][] = [
    ['block_count', u32(config.layers)],
    ['context_length', u32(config.maxPositions)],
    ['embedding_length', u32(config.hiddenSize)],
    ['feed_forward_length', u32(config.intermediateSize)],
    ['attention.head_count', u32(config.heads)],
    ['attention.head_count_kv', u32(config.keyValueHeads)],
    ['attention.key_length', u32(config.headDim)],
    ['attention.value_length', u32(config.headDim)],
    ['attention.layer_norm_rms_epsilon', f32(config.normEpsilon)],
    ...(rope === null
      ? []
      : ([
          ['rope.freq_base', f32(rope.theta)],
          ['rope.dimension_count', u32(rope.dim)],
        ] satisfies [string, GgufValue][])),
    ['vocab_size', u32(config.vocabularySize)],
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
