// A GGUF file as a checkpoint: config, tokenizer and generation settings out of its metadata, weights over its tensors. Whoever
// reads checkpoints reads it without knowing.
import {
  printJson,
  type Checkpoint,
  type CheckpointFile,
  type CheckpointTensor,
  type FileStore,
  type GgufFile,
  type GgufTensor,
  type JsonObject,
  type StoredFile,
} from '@pith/checkpoint';
import { memoryBytes, PithError, type WeightTensor } from '@pith/tensor-core';
import { describeArchitecture } from '../architecture/registry.ts';
import { readModelConfig } from '../config/read-config.ts';
import { configText, ggufConfig, ggufGenerationConfig } from './gguf-config.ts';
import { familyOfFile } from './family-of-file.ts';
import { ggufTokenizerFiles } from './gguf-tokenizer-json.ts';
import { ggufWeights } from './gguf-weights.ts';
import { MetadataReader } from './metadata-reader.ts';
import { findZeroBiases } from './zero-biases.ts';

/** Types of values that stand alone. */
const PLAIN_TYPES: ReadonlySet<string> = new Set(['f64', 'f32', 'f16', 'bf16', 'i8', 'i16', 'i32', 'i64']);

/** Where the files lie that a GGUF model is made of. */
export interface GgufStore extends FileStore {
  /** Name of the file with the metadata: the only one, or the first of a split one. */
  readonly first: string;
  /** Name of the file that a tensor lies in. */
  fileOf(tensor: string): string;
}

/** `quant_method` of such a checkpoint. */
export const GGUF_METHOD = 'gguf';

/**
 * A GGUF model as a checkpoint; no tensor is read.
 *
 * @param file the file, or all files of a split one as one.
 * @param store where they lie.
 * @throws PithError `GGUF_ARCHITECTURE_UNSUPPORTED`, `GGUF_KEY_MISSING`, `GGUF_VALUE_INVALID`, `GGUF_LIMIT_EXCEEDED`,
 * `GGUF_TENSOR_UNKNOWN`, `GGUF_SHAPE_INVALID`, `GGUF_TOKENIZER_UNSUPPORTED`, and those of `readModelConfig`.
 */
export async function ggufCheckpoint(file: GgufFile, store: GgufStore): Promise<Checkpoint> {
  const metadata = new MetadataReader(file.metadata, file.file);
  const family = familyOfFile(metadata, file.file);
  const zeroBiases = await findZeroBiases(family.modelType, file.tensors);
  const facts = { family, tensors: file.tensors, zeroBiases, file: file.file };
  const config = await ggufConfig({ ...facts, metadata });
  const architecture = describeArchitecture(readModelConfig(config));
  const weights = ggufWeights({ ...facts, architecture });
  const tokenizer = ggufTokenizerFiles(metadata, file.file);
  const generationConfig = ggufGenerationConfig(metadata);
  const made = new Map<string, string>([
    ['config.json', configText(config)],
    ['generation_config.json', text(generationConfig)],
  ]);
  if (tokenizer !== null) {
    made.set('tokenizer.json', text(tokenizer.tokenizer));
    made.set('tokenizer_config.json', text(tokenizer.config));
  }
  const listed = await store.list();
  return {
    store: withMadeFiles(store, made),
    label: store.label,
    config,
    configText: made.get('config.json')!,
    generationConfig,
    tensors: new Map([...file.tensors].map(([name, tensor]) => [name, checkpointTensor(tensor, store)])),
    weights,
    quantization: { method: GGUF_METHOD, schemes: blockTypes(file) },
    files: [...listed.map(tensorFile), ...[...made].map(([name, content]) => madeFile(name, content))],
    weightFiles: listed.map(({ name }) => name),
    weightFileBytes: listed.reduce((sum, { byteLength }) => sum + byteLength, 0),
    weight(name): WeightTensor {
      const weight = weights.get(name);
      if (weight !== undefined) return weight;
      throw new PithError(
        'CHECKPOINT_TENSOR_MISSING',
        `read weight: ${store.label} must have the tensor ${JSON.stringify(name)}, it has not; it may be of another architecture`,
        { details: { directory: store.label, tensor: name } },
      );
    },
    close: () => store.close(),
  };
}

/** Types of the tensors that are stored in blocks, the most frequent first. */
function blockTypes({ tensors }: GgufFile): string[] {
  const counts = new Map<string, number>();
  for (const { type } of tensors.values()) {
    if (!PLAIN_TYPES.has(type)) counts.set(type, (counts.get(type) ?? 0) + 1);
  }
  return [...counts].sort(([, a], [, b]) => b - a).map(([type]) => type);
}

function text(object: JsonObject): string {
  return `${printJson(object)}\n`;
}

function tensorFile({ name, byteLength }: StoredFile): CheckpointFile {
  return { name, byteLength, role: 'weights', carried: false, reason: 'the output has weights of its own' };
}

function madeFile(name: string, content: string): CheckpointFile {
  const byteLength = new TextEncoder().encode(content).length;
  if (name === 'config.json') {
    const reason = 'the output has a config of its own, made from this one';
    return { name, byteLength, role: 'config', carried: false, reason };
  }
  return {
    name,
    byteLength,
    role: name === 'generation_config.json' ? 'generation-config' : 'tokenizer',
    carried: true,
  };
}

function checkpointTensor(tensor: GgufTensor, { fileOf }: GgufStore): CheckpointTensor {
  const { name, type: dtype, shape, byteLength, offset } = tensor;
  return {
    name,
    dtype,
    shape,
    byteLength,
    offset,
    file: fileOf(name),
    get source() {
      return tensor.source;
    },
  };
}

/** The files of the store, and those that were made out of the metadata. */
function withMadeFiles(store: GgufStore, made: ReadonlyMap<string, string>): FileStore {
  return {
    label: store.label,
    ...(store.remote === true && { remote: true }),
    list: async () => [
      ...(await store.list()),
      ...[...made].map(([name, content]): StoredFile => {
        return { name, byteLength: new TextEncoder().encode(content).length, kind: 'file' };
      }),
    ],
    open: async (name) => {
      const content = made.get(name);
      return content === undefined ? store.open(name) : memoryBytes(new TextEncoder().encode(content));
    },
    ...(store.modified && {
      // What was made out of the metadata is as old as the file that has the metadata.
      modified: async (name: string) => store.modified!(made.has(name) ? store.first : name),
    }),
    close: () => store.close(),
  };
}
