// Files of a checkpoint that artefacts which are Hugging Face directories carry over byte for byte.
import type { Checkpoint } from '@pith/checkpoint';

/** The content of every carried file by its name: tokenizer, generation settings, licence. */
export async function carriedFiles({
  store,
  files,
}: Pick<Checkpoint, 'store' | 'files'>): Promise<Record<string, Uint8Array>> {
  const carried: Record<string, Uint8Array> = {};
  for (const { name, carried: wanted } of files) {
    if (!wanted) continue;
    const source = await store.open(name);
    carried[name] = await source.read(0, source.byteLength);
  }
  return carried;
}
