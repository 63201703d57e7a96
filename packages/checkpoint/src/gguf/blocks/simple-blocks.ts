// Blocks of 32 with one scale, and with one offset where the name ends in 1: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0. The first half
// of a block lies in the low nibbles, the second in the high ones; fifth bits lie in a word of their own.
import type { BlockReader } from './block-reader.ts';
import { halfAt } from './half.ts';

const { fround } = Math;
const HALF = 16;

/** d f16, 16 bytes of nibbles: (q - 8) d. */
export const readQ4_0: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at);
  for (let j = 0; j < HALF; j++) {
    const q = bytes[at + 2 + j]!;
    values[to + j] = fround(((q & 15) - 8) * d);
    values[to + j + HALF] = fround(((q >> 4) - 8) * d);
  }
};

/** d f16, m f16, 16 bytes of nibbles: q d + m. */
export const readQ4_1: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at);
  const m = halfAt(bytes, at + 2);
  for (let j = 0; j < HALF; j++) {
    const q = bytes[at + 4 + j]!;
    values[to + j] = fround(fround((q & 15) * d) + m);
    values[to + j + HALF] = fround(fround((q >> 4) * d) + m);
  }
};

/** The 32 fifth bits. */
function wordAt(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

/** d f16, fifth bits u32, 16 bytes of nibbles: (q - 16) d. */
export const readQ5_0: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at);
  const high = wordAt(bytes, at + 2);
  for (let j = 0; j < HALF; j++) {
    const q = bytes[at + 6 + j]!;
    values[to + j] = fround((((q & 15) | (((high >>> j) & 1) << 4)) - 16) * d);
    values[to + j + HALF] = fround((((q >> 4) | (((high >>> (j + HALF)) & 1) << 4)) - 16) * d);
  }
};

/** d f16, m f16, fifth bits u32, 16 bytes of nibbles: q d + m. */
export const readQ5_1: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at);
  const m = halfAt(bytes, at + 2);
  const high = wordAt(bytes, at + 4);
  for (let j = 0; j < HALF; j++) {
    const q = bytes[at + 8 + j]!;
    values[to + j] = fround(fround(((q & 15) | (((high >>> j) & 1) << 4)) * d) + m);
    values[to + j + HALF] = fround(fround(((q >> 4) | (((high >>> (j + HALF)) & 1) << 4)) * d) + m);
  }
};

/** d f16, 32 signed bytes: q d. */
export const readQ8_0: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at);
  for (let j = 0; j < 32; j++) values[to + j] = fround(((bytes[at + 2 + j]! << 24) >> 24) * d);
};
