// The k-quants: 256 values in a block, sub-blocks of 16 or 32 with scales (and offsets) that are themselves quantized.
import type { BlockReader } from './block-reader.ts';
import { halfAt } from './half.ts';

const { fround } = Math;

/** 16 bytes of scale and offset nibbles, 64 bytes of two-bit codes, d f16, dmin f16. */
export const readQ2K: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at + 80);
  const least = halfAt(bytes, at + 82);
  for (let sub = 0; sub < 16; sub++) {
    const packed = bytes[at + sub]!;
    const scale = fround(d * (packed & 15));
    const offset = fround(least * (packed >> 4));
    // Eight sub-blocks share 32 bytes: two halves of 16, four shifts.
    const from = at + 16 + (sub >> 3) * 32 + (sub & 1) * 16;
    const shift = ((sub >> 1) & 3) * 2;
    for (let j = 0; j < 16; j++) {
      values[to + sub * 16 + j] = fround(fround(scale * ((bytes[from + j]! >> shift) & 3)) - offset);
    }
  }
};

/** 32 bytes of third bits (0 means minus 4), 64 bytes of two-bit codes, 12 bytes of six-bit scales plus 32, d f16. */
export const readQ3K: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at + 108);
  for (let sub = 0; sub < 16; sub++) {
    const scales = at + 96;
    const low = sub < 8 ? bytes[scales + sub]! & 15 : bytes[scales + sub - 8]! >> 4;
    const high = (bytes[scales + 8 + (sub & 3)]! >> (2 * (sub >> 2))) & 3;
    const scale = fround(d * ((low | (high << 4)) - 32));
    const from = at + 32 + (sub >> 3) * 32 + (sub & 1) * 16;
    const shift = ((sub >> 1) & 3) * 2;
    const bit = 1 << (sub >> 1);
    for (let j = 0; j < 16; j++) {
      const third = (bytes[at + (sub & 1) * 16 + j]! & bit) === 0 ? 4 : 0;
      values[to + sub * 16 + j] = fround(scale * (((bytes[from + j]! >> shift) & 3) - third));
    }
  }
};

/** Six-bit scale and offset of sub-block `j` (of 8) in 12 bytes. */
function scaleAndOffset(bytes: Uint8Array, at: number, j: number): readonly [scale: number, offset: number] {
  if (j < 4) return [bytes[at + j]! & 63, bytes[at + j + 4]! & 63];
  const low = bytes[at + j + 4]!;
  return [(low & 15) | ((bytes[at + j - 4]! >> 6) << 4), (low >> 4) | ((bytes[at + j]! >> 6) << 4)];
}

/** d f16, dmin f16, 12 bytes of six-bit scales and offsets, 128 bytes of nibbles. */
export const readQ4K: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at);
  const least = halfAt(bytes, at + 2);
  for (let sub = 0; sub < 8; sub++) {
    const [scale, offset] = scaleAndOffset(bytes, at + 4, sub);
    const dl = fround(d * scale);
    const ml = fround(least * offset);
    const from = at + 16 + (sub >> 1) * 32;
    const shift = (sub & 1) * 4;
    for (let j = 0; j < 32; j++) {
      values[to + sub * 32 + j] = fround(fround(dl * ((bytes[from + j]! >> shift) & 15)) - ml);
    }
  }
};

/** d f16, dmin f16, 12 bytes of six-bit scales and offsets, 32 bytes of fifth bits, 128 bytes of nibbles. */
export const readQ5K: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at);
  const least = halfAt(bytes, at + 2);
  for (let sub = 0; sub < 8; sub++) {
    const [scale, offset] = scaleAndOffset(bytes, at + 4, sub);
    const dl = fround(d * scale);
    const ml = fround(least * offset);
    const from = at + 48 + (sub >> 1) * 32;
    const shift = (sub & 1) * 4;
    for (let j = 0; j < 32; j++) {
      const fifth = ((bytes[at + 16 + j]! >> sub) & 1) << 4;
      values[to + sub * 32 + j] = fround(fround(dl * (((bytes[from + j]! >> shift) & 15) + fifth)) - ml);
    }
  }
};

/** 128 bytes of nibbles, 64 bytes of fifth and sixth bits, 16 signed scales, d f16: (q - 32) d scale. */
export const readQ6K: BlockReader = (bytes, at, values, to) => {
  const d = halfAt(bytes, at + 208);
  for (let sub = 0; sub < 16; sub++) {
    const half = sub >> 3;
    const quarter = (sub >> 1) & 3;
    const scale = fround(d * ((bytes[at + 192 + sub]! << 24) >> 24));
    const low = at + half * 64 + (quarter & 1) * 32 + (sub & 1) * 16;
    const high = at + 128 + half * 32 + (sub & 1) * 16;
    for (let j = 0; j < 16; j++) {
      const nibble = (bytes[low + j]! >> (4 * (quarter >> 1))) & 15;
      const q = (nibble | (((bytes[high + j]! >> (2 * quarter)) & 3) << 4)) - 32;
      values[to + sub * 16 + j] = fround(scale * q);
    }
  }
};
