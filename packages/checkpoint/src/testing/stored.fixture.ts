// Tensors in memory that look like those of a file.
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { memoryBytes } from '@pith/tensor-core';

/** A stored tensor over bytes in memory. */
export function stored(
  name: string,
  dtype: StoredTensor['dtype'],
  shape: readonly number[],
  bytes: Uint8Array,
): StoredTensor {
  const { byteLength } = bytes;
  return { name, dtype, shape, byteLength, file: 'memory', offset: 0, source: memoryBytes(bytes) };
}
