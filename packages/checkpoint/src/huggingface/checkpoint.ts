// A Hugging Face directory as a value: config, tensors, weights, and what becomes of every other file.
import { mapLimited, PithError, type WeightTensor } from '@pith/tensor-core';
import { schemeNames } from '../formats/scheme-name.ts';
import type { KeyValueCache } from '../compressed-tensors/kv-cache-scheme.ts';
import { readQuantized } from '../formats/read-quantized.ts';
import { foldFactors } from '../low-rank/fold-factors.ts';
import { LOW_RANK_KEY, readLowRankConfig } from '../low-rank/low-rank-config.ts';
import { DOCUMENT_LIMITS, checkSize, parseJsonObject, type JsonObject } from '../json/parse-json.ts';
import { openSafetensors } from '../safetensors/open-safetensors.ts';
import { asConvertible, isConvertible, type StoredDType } from '../safetensors/stored-dtype.ts';
import type { GgmlTypeName } from '../gguf/ggml-types.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { storedDenseWeight } from '../weights/stored-dense-weight.ts';
import { fileRole, notCarried, type CheckpointFile } from './file-roles.ts';
import type { FileStore, StoredFile } from './file-store.ts';
import { findWeightFiles } from './find-weight-files.ts';

/** How the weights of a checkpoint are quantized. */
export interface CheckpointQuantization {
  /** `quant_method` of config.json, `mlx` where MLX wrote it: `compressed-tensors`, `gptq`, ... */
  readonly method: string;
  /** Schemes of the quantized weights, the most frequent first: `w4g128`; empty where there is a problem. */
  readonly schemes: readonly string[];
  /** Why the weights cannot be restored; absent where they can. */
  readonly problem?: PithError;
  /** How a runtime codes the keys and values that it keeps; absent: not at all. Its scales are in `tensors`, not in `weights`. */
  readonly kvCache?: KeyValueCache;
}

/** A stored tensor of a checkpoint: of a safetensors file, or of a GGUF file, whose blocks have types of their own. */
export interface CheckpointTensor extends Omit<StoredTensor, 'dtype'> {
  /** How its values are stored. */
  readonly dtype: StoredDType | GgmlTypeName;
}

/** An open checkpoint. Headers are read and checked; the bytes of tensors are read when asked for. */
export interface Checkpoint<Store extends FileStore = FileStore> {
  /** The files that it lies in, for copying what is carried over. */
  readonly store: Store;
  /** Its directory, as it was named. */
  readonly label: string;
  /** config.json as it is. Objects have no prototype. */
  readonly config: JsonObject;
  /** The text of config.json, for `setMembers`. */
  readonly configText: string;
  /** What of the files is not in this checkpoint, in words for a plan; absent: everything is. */
  readonly notices?: readonly string[];
  /** generation_config.json, where there is one. */
  readonly generationConfig?: JsonObject;
  /** Every stored tensor by name, in the order of files and offsets. */
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /**
   * Every weight by the name of its dense form. A quantized or a factored one stands for all the tensors that it is
   * stored as.
   * Tensors of a dtype that cannot be converted are in `tensors` only.
   *
   * @throws PithError of the format on access, where the weights are quantized in a way that is not read (see
   * `quantization.problem`).
   */
  readonly weights: ReadonlyMap<string, WeightTensor>;
  /** Present where config.json has a `quantization_config`, and for GGUF files (method `gguf`). */
  readonly quantization?: CheckpointQuantization;
  /** Every file of the directory and what becomes of it in an output. */
  readonly files: readonly CheckpointFile[];
  /** Names of the files of tensors, in order. */
  readonly weightFiles: readonly string[];
  /** Bytes of the files of tensors, headers included. */
  readonly weightFileBytes: number;
  /**
   * One weight.
   *
   * @throws PithError `CHECKPOINT_TENSOR_MISSING`, `DTYPE_NOT_CONVERTIBLE`, and those of `weights`.
   */
  weight(name: string): WeightTensor;
  /** Closes the files; reading opens them again. */
  close(): Promise<void>;
}

/**
 * Opens a checkpoint over a store of files.
 *
 * @throws PithError for everything that is wrong with config.json, the index or a header; see the guides of the
 * formats for the codes.
 */
export async function openCheckpointFrom<Store extends FileStore>(store: Store): Promise<Checkpoint<Store>> {
  const listed = await store.list();
  const { object: config, text: configText } = await readConfig(store, listed);
  const weightFiles = await findWeightFiles(store, listed);
  const tensors = await openShards(store, weightFiles);
  const { quantization, weights } = await interpret(config, tensors, `${store.label}/config.json`);
  const lowRank = config[LOW_RANK_KEY];
  const modules = lowRank == null ? [] : readLowRankConfig(lowRank, `${store.label}/config.json`);
  const whole = quantization?.problem ? weights : foldFactors(weights, modules, `${store.label}/config.json`);
  const generation = listed.some(({ name }) => name === 'generation_config.json')
    ? (await readDocument(store, 'generation_config.json')).object
    : undefined;
  const parts = new Set(weightFiles.names);
  const notices = notCarried(listed);
  const sizes = new Map(listed.map((file) => [file.name, file.byteLength]));
  const restored = (): ReadonlyMap<string, WeightTensor> => {
    if (quantization?.problem) throw quantization.problem;
    return whole;
  };
  return {
    store,
    label: store.label,
    config,
    configText,
    ...(notices.length > 0 && { notices }),
    ...(generation && { generationConfig: generation }),
    tensors,
    get weights() {
      return restored();
    },
    ...(quantization && { quantization }),
    files: listed.map((file) => fileRole(file, parts)),
    weightFiles: weightFiles.names,
    weightFileBytes: weightFiles.names.reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0),
    weight(name) {
      const weight = restored().get(name);
      if (weight) return weight;
      const stored = tensors.get(name);
      if (stored) asConvertible(stored.dtype, name);
      throw missingTensor(store.label, name);
    },
    close: () => store.close(),
  };
}

/** Bytes and object of config.json or its like. */
async function readDocument(store: FileStore, name: string): Promise<{ object: JsonObject; text: string }> {
  const source = await store.open(name);
  const origin = { codes: 'JSON', operation: `read ${name}`, file: `${store.label}/${name}` };
  checkSize(source.byteLength, origin, DOCUMENT_LIMITS);
  const bytes = await source.read(0, source.byteLength);
  return { object: parseJsonObject(bytes, origin), text: new TextDecoder('utf-8').decode(bytes) };
}

async function readConfig(store: FileStore, listed: readonly StoredFile[]): ReturnType<typeof readDocument> {
  if (listed.some(({ name }) => name === 'config.json')) return readDocument(store, 'config.json');
  throw new PithError(
    'CHECKPOINT_NO_CONFIG',
    `open checkpoint: a checkpoint has a config.json, ${store.label} has none; name the directory of a Hugging Face model`,
    { details: { directory: store.label } },
  );
}

/** Shards whose headers are read at once. */
const SHARDS_IN_HAND = 8;

/** Opens all shards and holds them against the index. */
async function openShards(
  store: FileStore,
  { names, index }: Awaited<ReturnType<typeof findWeightFiles>>,
): Promise<Map<string, StoredTensor>> {
  const tensors = new Map<string, StoredTensor>();
  const fault = (code: string, tensor: string, why: string) =>
    new PithError(
      code,
      `open checkpoint: tensor ${JSON.stringify(tensor)} of ${store.label} ${why}; get the checkpoint again`,
      { details: { directory: store.label, tensor } },
    );
  // Opened a few at a time, for stores where each read is a journey; looked at in order, so that errors are the same.
  const files = await mapLimited(names, SHARDS_IN_HAND, async (name) => openSafetensors(await store.open(name), name));
  for (const [i, file] of files.entries()) {
    const name = names[i]!;
    for (const [tensor, stored] of file.tensors) {
      const other = tensors.get(tensor);
      if (other) throw fault('CHECKPOINT_TENSOR_REPEATED', tensor, `is in ${other.file} and in ${name}`);
      const listed = index?.get(tensor);
      if (index && listed === undefined) {
        throw fault('CHECKPOINT_TENSOR_UNLISTED', tensor, `is in ${name}, the index does not list it`);
      }
      if (listed !== undefined && listed !== name) {
        throw fault('CHECKPOINT_TENSOR_MISPLACED', tensor, `is in ${name}, the index says ${listed}`);
      }
      tensors.set(tensor, stored);
    }
  }
  for (const [tensor, name] of index ?? []) {
    if (!tensors.has(tensor))
      throw fault('CHECKPOINT_TENSOR_ABSENT', tensor, `is not in ${name}, where the index has it`);
  }
  return tensors;
}

async function interpret(
  config: JsonObject,
  tensors: ReadonlyMap<string, StoredTensor>,
  file: string,
): Promise<{ quantization?: CheckpointQuantization; weights: ReadonlyMap<string, WeightTensor> }> {
  const found = await readQuantized(config, tensors, file);
  if (found === undefined) return { weights: denseWeights(tensors) };
  const { weights, ...quantization } = found;
  const quantized = [...weights.values()].flatMap((weight) => (weight.kind === 'quantized' ? [weight.scheme] : []));
  return { quantization: { ...quantization, schemes: schemeNames(quantized) }, weights };
}

function denseWeights(tensors: ReadonlyMap<string, StoredTensor>): Map<string, WeightTensor> {
  const weights = new Map<string, WeightTensor>();
  for (const [name, tensor] of tensors) {
    if (isConvertible(tensor.dtype)) weights.set(name, storedDenseWeight(tensor));
  }
  return weights;
}

function missingTensor(label: string, name: string): PithError {
  return new PithError(
    'CHECKPOINT_TENSOR_MISSING',
    `read weight: ${label} must have the tensor ${JSON.stringify(name)}, it has not; its config.json may belong to ` +
      `another model`,
    { details: { directory: label, tensor: name } },
  );
}
