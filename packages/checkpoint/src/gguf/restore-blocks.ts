// Stored blocks to f32.
import { PithError, toF32 } from '@pith/tensor-core';
import type { BlockReader } from './blocks/block-reader.ts';
import { readQ2K, readQ3K, readQ4K, readQ5K, readQ6K } from './blocks/k-blocks.ts';
import { readQ4_0, readQ4_1, readQ5_0, readQ5_1, readQ8_0 } from './blocks/simple-blocks.ts';
import { readIQ4NL, readIQ4XS, readMXFP4, readTQ1_0, readTQ2_0 } from './blocks/table-blocks.ts';
import { GGML_TYPES, type GgmlTypeName } from './ggml-types.ts';

const READERS: Partial<Record<GgmlTypeName, BlockReader>> = {
  q4_0: readQ4_0,
  q4_1: readQ4_1,
  q5_0: readQ5_0,
  q5_1: readQ5_1,
  q8_0: readQ8_0,
  q2_k: readQ2K,
  q3_k: readQ3K,
  q4_k: readQ4K,
  q5_k: readQ5K,
  q6_k: readQ6K,
  iq4_nl: readIQ4NL,
  iq4_xs: readIQ4XS,
  mxfp4: readMXFP4,
  tq1_0: readTQ1_0,
  tq2_0: readTQ2_0,
};

/** Types that are plain numbers. */
const PLAIN = ['f32', 'f16', 'bf16', 'f64', 'i8', 'i16', 'i32', 'i64'] as const;

/** True where values of this type can be restored. */
export function isRestorable(type: GgmlTypeName): boolean {
  return type in READERS || PLAIN.some((plain) => plain === type);
}

/**
 * Restores whole blocks, bit for bit as ggml's reference does.
 *
 * @param bytes whole blocks of the type.
 * @returns f32, as many values as the blocks hold.
 * @throws PithError `GGUF_TYPE_NOT_RESTORABLE` for types that need tables which are not here.
 */
export function restoreBlocks(type: GgmlTypeName, bytes: Uint8Array): Float32Array {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  const plain = PLAIN.find((name) => name === type);
  if (plain !== undefined) return toF32(plain, bytes);
  const read = READERS[type];
  if (read === undefined) {
    throw new PithError(
      'GGUF_TYPE_NOT_RESTORABLE',
      `restore ${type}: this type is not read yet; convert the file to another type`,
      {
        details: { type },
      },
    );
  }
  const blocks = Math.floor(bytes.byteLength / blockBytes);
  const values = new Float32Array(blocks * blockSize);
  for (let i = 0; i < blocks; i++) read(bytes, i * blockBytes, values, i * blockSize);
  return values;
}
