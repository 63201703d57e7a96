// A local GGUF file as a checkpoint.
import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { Checkpoint } from '@pith/checkpoint';
import { directoryStore } from '@pith/checkpoint/node';
import { openGgufFrom } from '../gguf/open-gguf-from.ts';

/** True for a path that names a GGUF file. */
export async function isGgufFile(path: string): Promise<boolean> {
  if (!path.toLowerCase().endsWith('.gguf')) return false;
  return (await stat(path).catch(() => undefined))?.isFile() === true;
}

/**
 * Opens a local GGUF file, or all files of a split one by its first, as a checkpoint: headers are read and checked; tensors
 * are read when asked for.
 *
 * @throws PithError as {@link openGgufFrom} does.
 */
export async function openGgufCheckpoint(path: string): Promise<Checkpoint> {
  // The file is named by the user, who may have reached it through links.
  const directory = await directoryStore(dirname(path), { links: 'anywhere' });
  try {
    return await openGgufFrom(directory, basename(path), path);
  } catch (error) {
    await directory.close();
    throw error;
  }
}
