// The language model of a checkpoint that also sees: its config is a part of config.json (`text_config`), its tensors have a prefix
// of their own, those of the other parts are left out. What comes of it is a checkpoint of the text model alone.
import type { Checkpoint, CheckpointTensor, JsonObject, JsonValue } from '@pith/checkpoint';
import { PithError, type WeightTensor } from '@pith/tensor-core';
import { renamedWeight } from '../technique/renamed-weight.ts';

/** The text model of a model type. */
interface TextPart {
  /** `model_type` where `text_config` names none. */
  readonly modelType: string;
  /** Class in `architectures`. */
  readonly headClass: string;
}

const TEXT_PARTS: Readonly<Record<string, TextPart>> = {
  gemma3: { modelType: 'gemma3_text', headClass: 'Gemma3ForCausalLM' },
};

/** Members of config.json that belong to the text model wherever they stand. */
const SHARED = ['bos_token_id', 'eos_token_id', 'pad_token_id', 'torch_dtype', 'dtype', 'tie_word_embeddings'];

/** Older files put the model before the part, newer ones the part before the model. */
const PREFIXES: readonly (readonly [RegExp, string])[] = [
  [/^language_model\.model\./, 'model.'],
  [/^model\.language_model\./, 'model.'],
  [/^language_model\.lm_head\./, 'lm_head.'],
  [/^lm_head\./, 'lm_head.'],
];

/** The name within the text model; undefined for a tensor of another part. */
function textName(name: string): string | undefined {
  const found = PREFIXES.find(([prefix]) => prefix.test(name));
  return found && name.replace(found[0], found[1]);
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textConfig(config: JsonObject, { modelType, headClass }: TextPart): JsonObject | undefined {
  const text = config['text_config'];
  if (!isObject(text)) return undefined;
  const shared = SHARED.filter((key) => config[key] !== undefined).map((key) => [key, config[key]] as const);
  const quantization = config['quantization_config'];
  return {
    model_type: modelType,
    ...Object.fromEntries(shared),
    ...text,
    architectures: [headClass],
    ...(quantization !== undefined && { quantization_config: quantization }),
  };
}

function renamed<T>(entries: Iterable<[string, T]>, rename: (value: T, name: string) => T): Map<string, T> {
  const result = new Map<string, T>();
  for (const [stored, value] of entries) {
    const name = textName(stored);
    if (name === undefined) continue;
    if (result.has(name)) {
      throw new PithError(
        'CHECKPOINT_TENSOR_REPEATED',
        `open model: a tensor must be stored once, got ${name} under two names, the second ${stored}`,
        { details: { tensor: name, stored } },
      );
    }
    result.set(name, rename(value, name));
  }
  return result;
}

/**
 * The text model of a checkpoint that holds more; the checkpoint itself where it is nothing else.
 *
 * @throws PithError `CHECKPOINT_TENSOR_REPEATED`.
 */
export function textCheckpoint(checkpoint: Checkpoint): Checkpoint {
  const type = checkpoint.config['model_type'];
  const part = typeof type === 'string' && Object.hasOwn(TEXT_PARTS, type) ? TEXT_PARTS[type] : undefined;
  const config = part && textConfig(checkpoint.config, part);
  if (config === undefined) return checkpoint;
  const tensors = renamed(checkpoint.tensors, renamedTensor);
  const left = checkpoint.tensors.size - tensors.size;
  let weights: ReadonlyMap<string, WeightTensor> | undefined;
  const made = () => (weights ??= renamed(checkpoint.weights, renamedWeight));
  return {
    ...withoutWeights(checkpoint),
    config,
    configText: `${JSON.stringify(config, null, 2)}\n`,
    notices: [
      ...(checkpoint.notices ?? []),
      `the text model of ${type} alone is read, as ${String(config['model_type'])}: ${left} tensors of its other parts are left out, and an output is a model of text`,
    ],
    tensors,
    get weights() {
      return made();
    },
    weight(name) {
      return made().get(name) ?? checkpoint.weight(name);
    },
    close: () => checkpoint.close(),
  };
}

/** The same tensor under another name; its source is looked at when it is read. */
function renamedTensor(tensor: CheckpointTensor, name: string): CheckpointTensor {
  const { dtype, shape, byteLength, file, offset } = tensor;
  return {
    ...{ name, dtype, shape, byteLength, file, offset },
    get source() {
      return tensor.source;
    },
  };
}

/** The members but `weights`, which may throw when it is read. */
function withoutWeights(checkpoint: Checkpoint): Omit<Checkpoint, 'weights' | 'weight' | 'close'> {
  const { store, label, config, configText, generationConfig, tensors, quantization } = checkpoint;
  const { files, weightFiles, weightFileBytes } = checkpoint;
  return {
    ...{ store, label, config, configText, tensors, files, weightFiles, weightFileBytes },
    ...(generationConfig && { generationConfig }),
    ...(quantization && { quantization }),
  };
}
