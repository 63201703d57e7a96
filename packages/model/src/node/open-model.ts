// A model from a directory: what most callers start with.
import { tiedEmbeddings } from '@pith/checkpoint';
import type { Checkpoint, FileStore, TiedEmbeddings } from '@pith/checkpoint';
import { PithError } from '@pith/tensor-core';
import { modelWeights } from '../architecture/model-weights.ts';
import { describeArchitecture } from '../architecture/registry.ts';
import { withTensorNames } from '../architecture/unknown-parts.ts';
import { readModelConfig } from '../config/read-config.ts';
import { createModel } from '../language-model.ts';
import type { LanguageModel } from '../language-model.ts';
import { openCheckpointAt } from './open-checkpoint-at.ts';
import { readKeyValueCache } from './read-key-values.ts';
import { createTokenizer } from '../tokenizer/tokenizer.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';

/** Most bytes of a tokenizer.json. */
const TOKENIZER_BYTES = 256 * 2 ** 20;

/** A model of a checkpoint. */
export interface CheckpointModel extends LanguageModel {
  /**
   * How head and embedding are related. At `conflict` the config ties them, yet the stored head differs: the stored head is
   * used, as transformers does, and `config.tiedEmbeddings` is false.
   */
  readonly embeddings: TiedEmbeddings;
}

/** A model and the checkpoint that it lies in. */
export interface OpenModel extends CheckpointModel {
  /** The open checkpoint. */
  readonly checkpoint: Checkpoint;
  /** Closes the files. */
  close(): Promise<void>;
}

async function readJson(store: FileStore, name: string): Promise<unknown> {
  const source = await store.open(name);
  if (source.byteLength > TOKENIZER_BYTES) {
    throw new PithError(
      'TOKENIZER_TOO_LARGE',
      `read tokenizer: ${name} may have at most ${TOKENIZER_BYTES} bytes, got ${source.byteLength}`,
      { details: { file: name, byteLength: source.byteLength, limit: TOKENIZER_BYTES } },
    );
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(await source.read(0, source.byteLength)));
  } catch (cause) {
    if (cause instanceof PithError) throw cause;
    throw new PithError('TOKENIZER_INVALID', `read tokenizer: ${name} must be JSON, got: ${String(cause)}`, {
      cause,
      details: { file: name },
    });
  }
}

/**
 * The tokenizer of a checkpoint; null where it has none.
 *
 * @throws PithError `TOKENIZER_TOO_LARGE`, `TOKENIZER_INVALID`, `TOKENIZER_UNSUPPORTED`.
 */
export async function readTokenizer({ store, files }: Pick<Checkpoint, 'store' | 'files'>): Promise<Tokenizer | null> {
  const has = (name: string) => files.some((file) => file.name === name);
  if (!has('tokenizer.json')) return null;
  const config = has('tokenizer_config.json') ? await readJson(store, 'tokenizer_config.json') : {};
  return createTokenizer(await readJson(store, 'tokenizer.json'), config);
}

/**
 * A model from an open checkpoint; the caller closes the checkpoint.
 *
 * @throws PithError what {@link openModel} throws.
 */
export async function modelFromCheckpoint(checkpoint: Checkpoint): Promise<CheckpointModel> {
  const config = withTensorNames(checkpoint.weights.keys(), () => readModelConfig(checkpoint.config));
  const { embedding, head, storage } = describeArchitecture(config);
  const stored = [...checkpoint.tensors.keys()].find((name) => storage.rename(name) === embedding.name);
  const embeddings = await tiedEmbeddings(
    checkpoint,
    stored ?? embedding.name,
    `${head.path}.weight`,
    config.tiedEmbeddings,
  );
  const json = embeddings === 'conflict' ? { ...checkpoint.config, tie_word_embeddings: false } : checkpoint.config;
  const tokenizer = await readTokenizer(checkpoint);
  const { generationConfig } = checkpoint;
  const architecture = describeArchitecture(readModelConfig(json));
  const weights = modelWeights(architecture, checkpoint.weights);
  const keyValueCache = await readKeyValueCache(checkpoint, architecture);
  const model = createModel({ config: json, weights, tokenizer, generationConfig, keyValueCache });
  return Object.freeze({ ...model, embeddings });
}

/**
 * Opens a Hugging Face directory or a GGUF file as a model: config, headers and tokenizer are read and checked; weights when
 * asked for.
 *
 * @throws PithError what `openCheckpointAt` and `createModel` throw; `TOKENIZER_TOO_LARGE`, `TOKENIZER_INVALID`,
 * `TOKENIZER_UNSUPPORTED`.
 */
export async function openModel(model: string): Promise<OpenModel> {
  const checkpoint = await openCheckpointAt(model);
  try {
    return Object.freeze({
      ...(await modelFromCheckpoint(checkpoint)),
      checkpoint,
      close: () => checkpoint.close(),
    });
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}
