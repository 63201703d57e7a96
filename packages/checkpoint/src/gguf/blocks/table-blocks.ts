// Blocks whose codes are looked up in a table: IQ4_NL, IQ4_XS, MXFP4; and ternary ones: TQ1_0, TQ2_0.
import type { BlockReader } from './block-reader.ts';
import { halfAt } from './half.ts';

const { fround } = Math;

/** Sixteen levels, denser around zero. */
export const IQ4_LEVELS = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113] as const;

/** e2m1 times two, by code. */
export const E2M1_DOUBLED = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12] as const;

/** d f16, 16 bytes of nibbles; the first half of the block in the low ones. */
export const readIQ4NL: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at);
  for (let j = 0; j < 16; j++) {
    const q = bytes[at + 2 + j]!;
    values[to + j] = fround(d * IQ4_LEVELS[q & 15]!);
    values[to + j + 16] = fround(d * IQ4_LEVELS[q >> 4]!);
  }
};

/** d f16, upper scale bits u16, 4 bytes of lower scale nibbles, 128 bytes of nibbles; scales minus 32. */
export const readIQ4XS: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at);
  const high = bytes[at + 2]! | (bytes[at + 3]! << 8);
  for (let sub = 0; sub < 8; sub++) {
    const low = (bytes[at + 4 + (sub >> 1)]! >> (4 * (sub & 1))) & 15;
    const dl = fround(d * ((low | (((high >> (2 * sub)) & 3) << 4)) - 32));
    for (let j = 0; j < 16; j++) {
      const q = bytes[at + 8 + sub * 16 + j]!;
      values[to + sub * 32 + j] = fround(dl * IQ4_LEVELS[q & 15]!);
      values[to + sub * 32 + j + 16] = fround(dl * IQ4_LEVELS[q >> 4]!);
    }
  }
};

/** Exponent e8m0 of half the scale, 16 bytes of e2m1 codes. */
export const readMXFP4: BlockReader = (bytes, at, values, to) => {
  const d = fround(2 ** (bytes[at]! - 128));
  for (let j = 0; j < 16; j++) {
    const q = bytes[at + 1 + j]!;
    // ggml multiplies integers, so a negative zero of e2m1 is a plain one.
    values[to + j] = fround(E2M1_DOUBLED[q & 15]! * d);
    values[to + j + 16] = fround(E2M1_DOUBLED[q >> 4]! * d);
  }
};

/** The n-th of five ternary digits of a byte, 0 to 2: the byte is the fraction of the number they make, rounded up. */
function ternaryDigit(byte: number, n: number): number {
  return (((byte * 3 ** n) & 255) * 3) >> 8;
}

/** 48 bytes of five digits each (32, then 16), 4 bytes of four digits each, d f16: (digit - 1) d. */
export const readTQ1_0: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at + 52);
  let out = to;
  for (const [from, count, digits] of [
    [0, 32, 5],
    [32, 16, 5],
    [48, 4, 4],
  ] as const) {
    for (let n = 0; n < digits; n++) {
      for (let j = 0; j < count; j++) values[out++] = fround((ternaryDigit(bytes[at + from + j]!, n) - 1) * d);
    }
  }
};

/** 64 bytes of four two-bit codes each, d f16: (q - 1) d. */
export const readTQ2_0: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at + 64);
  let out = to;
  for (let from = 0; from < 64; from += 32) {
    for (let shift = 0; shift < 8; shift += 2) {
      for (let j = 0; j < 32; j++) values[out++] = fround((((bytes[at + from + j]! >> shift) & 3) - 1) * d);
    }
  }
};
