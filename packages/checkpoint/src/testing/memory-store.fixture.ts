// A checkpoint directory in memory.
import { memoryBytes } from '@pith/tensor-core';
import type { FileStore } from '../huggingface/file-store.ts';

/** Files by name as a store. */
export function memoryStore(files: ReadonlyMap<string, Uint8Array>): FileStore {
  return {
    label: 'memory',
    list: async () =>
      [...files].map(([name, bytes]) => ({ name, byteLength: bytes.byteLength, kind: 'file' as const })),
    open: async (name) => memoryBytes(files.get(name)!),
    close: async () => undefined,
  };
}
