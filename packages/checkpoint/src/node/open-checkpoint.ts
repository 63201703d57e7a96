// Opens checkpoints and single safetensors files from the local disk.
import { basename } from 'node:path';
import { openCheckpointFrom, type Checkpoint } from '../huggingface/checkpoint.ts';
import { openSafetensors } from '../safetensors/open-safetensors.ts';
import type { SafetensorsFile } from '../safetensors/safetensors-file.ts';
import { directoryStore, type DirectoryStore, type DirectoryStoreOptions } from './directory-store.ts';
import { fileBytes, type FileBytes } from '@pith/tensor-core/node';

/** A {@link Checkpoint} in a local directory. */
export type LocalCheckpoint = Checkpoint<DirectoryStore>;

/**
 * Opens a Hugging Face directory: reads and checks config.json, the index and every header; no tensor's bytes.
 *
 * @throws PithError as `directoryStore` and `openCheckpointFrom` do.
 */
export async function openCheckpoint(directory: string, options: DirectoryStoreOptions = {}): Promise<LocalCheckpoint> {
  const store = await directoryStore(directory, options);
  try {
    return await openCheckpointFrom(store);
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** An open safetensors file on the local disk. */
export interface LocalSafetensors extends SafetensorsFile {
  /** Closes the file; reading opens it again. */
  close(): Promise<void>;
}

/**
 * Opens one safetensors file.
 *
 * @throws PithError as `openSafetensors` does.
 */
export async function openSafetensorsFile(path: string): Promise<LocalSafetensors> {
  const source: FileBytes = await fileBytes(path);
  try {
    return { ...(await openSafetensors(source, basename(path))), close: () => source.close() };
  } catch (error) {
    await source.close();
    throw error;
  }
}
