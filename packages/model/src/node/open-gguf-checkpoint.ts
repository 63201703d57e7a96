// A local GGUF file as a checkpoint.
import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { openGguf, type Checkpoint } from '@pith/checkpoint';
import { directoryStore } from '@pith/checkpoint/node';
import { ggufCheckpoint, type GgufStore } from '../gguf/gguf-checkpoint.ts';

/** True for a path that names a GGUF file. */
export async function isGgufFile(path: string): Promise<boolean> {
  if (!path.toLowerCase().endsWith('.gguf')) return false;
  return (await stat(path).catch(() => undefined))?.isFile() === true;
}

/**
 * Opens a local GGUF file as a checkpoint: its header is read and checked; tensors are read when asked for.
 *
 * @throws PithError as `openGguf` and `ggufCheckpoint` do.
 */
export async function openGgufCheckpoint(path: string): Promise<Checkpoint> {
  const name = basename(path);
  // The file is named by the user, who may have reached it through links.
  const directory = await directoryStore(dirname(path), { links: 'anywhere' });
  const store: GgufStore = {
    label: path,
    first: name,
    fileOf: () => name,
    list: async () => [{ name, byteLength: (await stat(join(dirname(path), name))).size, kind: 'file' }],
    open: (file) => directory.open(file),
    modified: (file) => directory.modified!(file),
    close: () => directory.close(),
  };
  try {
    return await ggufCheckpoint(await openGguf(await store.open(name), path), store);
  } catch (error) {
    await store.close();
    throw error;
  }
}
