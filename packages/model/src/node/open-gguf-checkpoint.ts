// A local GGUF file as a checkpoint.
import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { openGgufSet, type Checkpoint } from '@pith/checkpoint';
import { directoryStore } from '@pith/checkpoint/node';
import { ggufCheckpoint, type GgufStore } from '../gguf/gguf-checkpoint.ts';

/** True for a path that names a GGUF file. */
export async function isGgufFile(path: string): Promise<boolean> {
  if (!path.toLowerCase().endsWith('.gguf')) return false;
  return (await stat(path).catch(() => undefined))?.isFile() === true;
}

/**
 * Opens a local GGUF file, or all files of a split one by its first, as a checkpoint: headers are read and checked; tensors
 * are read when asked for.
 *
 * @throws PithError as `openGgufSet` and `ggufCheckpoint` do.
 */
export async function openGgufCheckpoint(path: string): Promise<Checkpoint> {
  const name = basename(path);
  // The file is named by the user, who may have reached it through links.
  const directory = await directoryStore(dirname(path), { links: 'anywhere' });
  try {
    const set = await openGgufSet((file) => directory.open(file), name, path);
    const sizes = await Promise.all(set.files.map(async (file) => (await directory.open(file)).byteLength));
    const store: GgufStore = {
      label: path,
      first: name,
      fileOf: (tensor) => set.fileOf.get(tensor)!,
      list: async () => set.files.map((file, i) => ({ name: file, byteLength: sizes[i]!, kind: 'file' as const })),
      open: (file) => directory.open(file),
      modified: (file) => directory.modified!(file),
      close: () => directory.close(),
    };
    return await ggufCheckpoint(set, store);
  } catch (error) {
    await directory.close();
    throw error;
  }
}
