// A GGUF file of any store as a checkpoint: on this disk, or on a hub, where the header alone is fetched.
import { openGgufSet, type Checkpoint, type FileStore } from '@pith/checkpoint';
import { ggufCheckpoint, type GgufStore } from './gguf-checkpoint.ts';

/**
 * Opens a GGUF file, or all files of a split one by its first, as a checkpoint: headers are read and checked; tensors are read when
 * asked for. Closing the checkpoint closes the store.
 *
 * @param store files beside each other.
 * @param first name of the file in the store.
 * @param label of the model in errors.
 * @throws PithError as `openGgufSet` and `ggufCheckpoint` do.
 */
export async function openGgufFrom(store: FileStore, first: string, label = first): Promise<Checkpoint> {
  const set = await openGgufSet((file) => store.open(file), first, label);
  const sizes = await Promise.all(set.files.map(async (file) => (await store.open(file)).byteLength));
  const files: GgufStore = {
    label,
    first,
    ...(store.remote === true && { remote: true }),
    fileOf: (tensor) => set.fileOf.get(tensor)!,
    list: async () => set.files.map((name, i) => ({ name, byteLength: sizes[i]!, kind: 'file' as const })),
    open: (file) => store.open(file),
    ...(store.modified && { modified: (file: string) => store.modified!(file) }),
    close: () => store.close(),
  };
  return ggufCheckpoint(set, files);
}
