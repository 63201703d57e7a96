// What runtimes want to know of an exported decoder beside the model: the part of config.json that transformers.js reads, and
// genai_config.json of onnxruntime-genai.
import type { JsonObject } from '@pith/checkpoint';
import type { ModelConfig } from '../config/model-config.ts';
import type { LanguageModel } from '../language-model.ts';
import { INPUTS } from './ports.ts';

/** What transformers.js calls a format. */
export interface TransformersJsDtype {
  /** Its name there: `fp32`. */
  readonly dtype: string;
  /** Ending of the file that it looks for, before `.onnx`. */
  readonly suffix: string;
}

const DTYPES = {
  f32: { dtype: 'fp32', suffix: '' },
  f16: { dtype: 'fp16', suffix: '_fp16' },
  int8: { dtype: 'int8', suffix: '_int8' },
  q8: { dtype: 'q8', suffix: '_quantized' },
  q4: { dtype: 'q4', suffix: '_q4' },
  q4f16: { dtype: 'q4f16', suffix: '_q4f16' },
} as const satisfies Record<string, TransformersJsDtype>;

/** A format as transformers.js tells it apart. */
export type TransformersJsFormat = keyof typeof DTYPES;

/** What transformers.js calls the formats, and the endings of the files that it looks for. */
export const TRANSFORMERS_JS_DTYPES: Readonly<Record<TransformersJsFormat, TransformersJsDtype>> = DTYPES;

/**
 * `transformers.js_config` of config.json: the format that is loaded where none is asked for, and how many files of tensors
 * there are.
 */
export function transformersJsConfig(
  format: TransformersJsFormat,
  file: string,
  dataFiles: number,
  kind: ModelConfig['kind'] = 'decoder',
): JsonObject {
  const { dtype } = TRANSFORMERS_JS_DTYPES[format];
  const hasHalfCache = kind === 'decoder' && (format === 'f16' || format === 'q4f16');
  return {
    dtype,
    // Releases before 4 do not read the type of the cache from the model.
    ...(hasHalfCache && { kv_cache_dtype: { [dtype]: 'float16' } }),
    ...(dataFiles > 0 && { use_external_data_format: { [file]: dataFiles } }),
  };
}

/** Types of decoders that onnxruntime-genai tells apart; `decoder` stands for all others. */
const GENAI_TYPES: ReadonlySet<string> = new Set([
  'gemma',
  'gemma2',
  'gemma3_text',
  'granite',
  'llama',
  'mistral',
  'nemotron',
  'olmo',
  'phi',
  'phi3',
  'phimoe',
  'qwen2',
  'qwen3',
  'smollm3',
]);

/**
 * `genai_config.json`.
 *
 * @param file Path of the model from the directory of the config: `onnx/model_q4.onnx`.
 */
export function genaiConfig(
  { config, stopTokenIds }: LanguageModel,
  file: string,
  padTokenId: number | null,
): JsonObject {
  const { bosTokenId, hiddenSize, headDim, heads, keyValueHeads, layers, maxPositions, modelType, vocabularySize } =
    config;
  const stops = stopTokenIds.length > 0 ? [...stopTokenIds] : [...config.eosTokenIds];
  return {
    model: {
      ...(bosTokenId !== null && { bos_token_id: bosTokenId }),
      context_length: maxPositions,
      decoder: {
        session_options: { log_id: 'onnxruntime-genai', provider_options: [] },
        filename: file,
        head_size: headDim,
        hidden_size: hiddenSize,
        inputs: {
          input_ids: INPUTS.ids,
          attention_mask: INPUTS.mask,
          position_ids: INPUTS.positions,
          past_key_names: 'past_key_values.%d.key',
          past_value_names: 'past_key_values.%d.value',
        },
        outputs: {
          logits: 'logits',
          present_key_names: 'present.%d.key',
          present_value_names: 'present.%d.value',
        },
        num_attention_heads: heads,
        num_hidden_layers: layers,
        num_key_value_heads: keyValueHeads,
      },
      eos_token_id: stops.length === 1 ? stops[0] : stops,
      pad_token_id: padTokenId ?? stops[0] ?? 0,
      type: GENAI_TYPES.has(modelType) ? modelType : 'decoder',
      vocab_size: vocabularySize,
    },
    search: {
      diversity_penalty: 0,
      do_sample: false,
      early_stopping: true,
      length_penalty: 1,
      max_length: maxPositions,
      min_length: 0,
      no_repeat_ngram_size: 0,
      num_beams: 1,
      num_return_sequences: 1,
      // The cache is joined inside the model: it has no room for new tokens in advance.
      past_present_share_buffer: false,
      repetition_penalty: 1,
      temperature: 1,
      top_k: 1,
      top_p: 1,
    },
  };
}
