// Stored blocks to f32, by the kernels of this thread.
import { PithError, streamThroughKernel, toF32 } from '@pith/tensor-core';
import { GGML_TYPES, type GgmlTypeName } from './ggml-types.ts';

/** Types that are plain numbers. */
const PLAIN = ['f32', 'f16', 'bf16', 'f64', 'i8', 'i16', 'i32', 'i64'] as const;

/** True where values of this type can be restored: all types of {@link GGML_TYPES}. */
export function isRestorable(type: GgmlTypeName): boolean {
  return type in GGML_TYPES;
}

/**
 * Restores whole blocks, bit for bit as ggml's reference does.
 *
 * @param bytes whole blocks of the type.
 * @returns f32, as many values as the blocks hold.
 * @throws PithError `GGUF_BLOCKS_INCOMPLETE` when the last block is cut off.
 */
export function restoreBlocks(type: GgmlTypeName, bytes: Uint8Array): Float32Array {
  const { id, blockSize, blockBytes } = GGML_TYPES[type];
  if (bytes.byteLength % blockBytes !== 0) {
    throw new PithError(
      'GGUF_BLOCKS_INCOMPLETE',
      `restore ${type}: bytes must be whole blocks of ${blockBytes}, got ${bytes.byteLength}; fetch the file again`,
      { details: { type, blockBytes, byteLength: bytes.byteLength } },
    );
  }
  const plain = PLAIN.find((name) => name === type);
  if (plain !== undefined) return toF32(plain, bytes);
  const blocks = bytes.byteLength / blockBytes;
  const values = new Float32Array(blocks * blockSize);
  const target = new Uint8Array(values.buffer);
  streamThroughKernel(bytes, blockBytes, target, 4 * blockSize, blocks, (kernels) => (from, to, count) => {
    kernels.ggmlRestore(id, from, to, count);
  });
  return values;
}
