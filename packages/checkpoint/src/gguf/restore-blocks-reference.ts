// Stored blocks to f32, block by block: the specification of the kernels.
import { compileKernels, createKernelMemory, instantiateKernels } from '@pith/tensor-core';
import type { BlockReader } from './blocks/block-reader.ts';
import { gridReaders } from './blocks/grid-blocks.ts';
import { readQ2K, readQ3K, readQ4K, readQ5K, readQ6K } from './blocks/k-blocks.ts';
import { readNVFP4, readQ1_0, readQ2_0 } from './blocks/newer-blocks.ts';
import { readQ4_0, readQ4_1, readQ5_0, readQ5_1, readQ8_0 } from './blocks/simple-blocks.ts';
import { readIQ4NL, readIQ4XS, readMXFP4, readTQ1_0, readTQ2_0 } from './blocks/table-blocks.ts';
import { GGML_TYPES, type GgmlTypeName } from './ggml-types.ts';

const kernels = instantiateKernels(compileKernels(false), createKernelMemory(false, 2 ** 20));

/** How a block of a type is restored. */
export const BLOCK_READERS = {
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
  nvfp4: readNVFP4,
  q1_0: readQ1_0,
  q2_0: readQ2_0,
  ...gridReaders((type, index) => kernels.ggmlGridWord(GGML_TYPES[type].id, index)),
} satisfies Partial<Record<GgmlTypeName, BlockReader>>;

/** Restores whole blocks: f32, as many values as the blocks hold. */
export function restoreBlocksReference(type: keyof typeof BLOCK_READERS, bytes: Uint8Array): Float32Array {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  const blocks = Math.floor(bytes.byteLength / blockBytes);
  const values = new Float32Array(blocks * blockSize);
  for (let i = 0; i < blocks; i++) BLOCK_READERS[type](bytes, i * blockBytes, values, i * blockSize);
  return values;
}
