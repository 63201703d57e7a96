// The specification of packed codes, bit by bit. Tests hold the kernels to it.
//
// Each row is one little-endian bit stream in 32-bit words (compressed-tensors `weight_packed`, from 0.18 on): the code
// of column c, stored as code + 2^(bits-1), takes bits c * bits to (c + 1) * bits - 1 of the stream, low bit first; bit
// 32 w + b of the stream is bit b of word w. Codes cross words. Bits after the last code are 0.
// Older files (`aligned`) hold floor(32 / bits) codes in a word from its low bits up; for 2, 4 and 8 bits that is the
// same.
import { requireBits } from '../dtype/byte-length.ts';
import { codeOutOfRange, packedWords, type PackedLayout, type PackedShape } from './packed-layout.ts';

/** Packs codes [rows, columns] into words [rows, words per row], one bit at a time. */
export function packReference(codes: Int8Array, shape: PackedShape, layout: PackedLayout = 'stream'): Int32Array {
  const { rows, columns, bits } = shape;
  const offset = 2 ** (requireBits(bits) - 1);
  const wordsPerRow = packedWords(bits, columns, layout);
  const words = new Int32Array(rows * wordsPerRow);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const code = codes[row * columns + column]!;
      if (code < -offset || code >= offset) throw codeOutOfRange(bits);
      for (let bit = 0; bit < bits; bit++) {
        if ((((code + offset) >> bit) & 1) === 0) continue;
        const position = bitPosition(column, bits, layout) + bit;
        words[row * wordsPerRow + Math.floor(position / 32)]! |= 1 << (position % 32);
      }
    }
  }
  return words;
}

/** Unpacks words [rows, words per row] into codes [rows, columns], one bit at a time. */
export function unpackReference(words: Int32Array, shape: PackedShape, layout: PackedLayout = 'stream'): Int8Array {
  const { rows, columns, bits } = shape;
  const wordsPerRow = packedWords(bits, columns, layout);
  const codes = new Int8Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      let value = 0;
      for (let bit = 0; bit < bits; bit++) {
        const position = bitPosition(column, bits, layout) + bit;
        const word = words[row * wordsPerRow + Math.floor(position / 32)]!;
        value += ((word >>> (position % 32)) & 1) * 2 ** bit;
      }
      codes[row * columns + column] = value - 2 ** (bits - 1);
    }
  }
  return codes;
}

function bitPosition(column: number, bits: number, layout: PackedLayout): number {
  if (layout === 'stream') return column * bits;
  const perWord = Math.floor(32 / bits);
  return Math.floor(column / perWord) * 32 + (column % perWord) * bits;
}
