// NVFP4, and one and two bits with one scale: Q1_0, Q2_0.
import type { BlockReader } from './block-reader.ts';
import { halfAt } from './half.ts';
import { E2M1_DOUBLED } from './table-blocks.ts';

const { fround } = Math;

/** Half of an e4m3 without a sign; 0x7f stands for 0. */
function halfOfE4M3(code: number): number {
  if (code === 0x7f) return 0;
  const exponent = (code >> 3) & 15;
  const mantissa = code & 7;
  return exponent === 0 ? mantissa * 2 ** -10 : (8 + mantissa) * 2 ** (exponent - 11);
}

/** Four scales e4m3, 32 bytes of e2m1 codes; the first half of 16 values in the low nibbles. */
export const readNVFP4: BlockReader = (bytes, at, values, to) => {
  for (let sub = 0; sub < 4; sub++) {
    const d = halfOfE4M3(bytes[at + sub]!);
    for (let j = 0; j < 8; j++) {
      const q = bytes[at + 4 + sub * 8 + j]!;
      values[to + sub * 16 + j] = fround(E2M1_DOUBLED[q & 15]! * d);
      values[to + sub * 16 + j + 8] = fround(E2M1_DOUBLED[q >> 4]! * d);
    }
  }
};

/** d f16, 128 bits: d where set, -d where not. */
export const readQ1_0: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at);
  for (let j = 0; j < 128; j++) values[to + j] = (bytes[at + 2 + (j >> 3)]! >> (j & 7)) & 1 ? d : -d;
};

/** d f16, 64 codes of two bits, neighbours in a byte: (q - 1) d. */
export const readQ2_0: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at);
  for (let j = 0; j < 64; j++) values[to + j] = fround((((bytes[at + 2 + (j >> 2)]! >> (2 * (j & 3))) & 3) - 1) * d);
};
