// Packed codes of either generation to signed bytes.
import type { PackingGeneration } from './packing-generation.ts';

/** Codes [rows, columns] that are packed along their rows; each row starts on a word. */
export function unpackRows(
  bytes: Uint8Array,
  rows: number,
  columns: number,
  bits: number,
  generation: PackingGeneration,
): Int8Array {
  const rowBytes = rows === 0 ? 0 : bytes.byteLength / rows;
  const result = new Int8Array(rows * columns);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      const bit = bitOf(column, bits, generation);
      result[row * columns + column] = codeAt(bytes, row * rowBytes, 1, bit, bits);
    }
  }
  return result;
}

/** Codes [rows, columns] that are packed along their columns: word i of a column holds the rows from 32 i / bits on. */
export function unpackColumns(
  bytes: Uint8Array,
  rows: number,
  columns: number,
  bits: number,
  generation: PackingGeneration,
): Int8Array {
  const result = new Int8Array(rows * columns);
  for (let row = 0; row < rows; row += 1) {
    const bit = bitOf(row, bits, generation);
    for (let column = 0; column < columns; column += 1) {
      result[row * columns + column] = codeAt(bytes, column * 4, columns, bit, bits);
    }
  }
  return result;
}

function bitOf(index: number, bits: number, generation: PackingGeneration): number {
  if (generation === 'dense') return index * bits;
  const perWord = Math.floor(32 / bits);
  return Math.floor(index / perWord) * 32 + (index % perWord) * bits;
}

/** The code at a bit of a stream of little-endian words that lie `stride` words apart. */
function codeAt(bytes: Uint8Array, base: number, stride: number, bit: number, bits: number): number {
  const byteAt = (index: number): number => bytes[base + (index >> 2) * 4 * stride + (index & 3)]!;
  const first = Math.floor(bit / 8);
  const shift = bit % 8;
  const low = byteAt(first) >> shift;
  const value = shift + bits > 8 ? low | (byteAt(first + 1) << (8 - shift)) : low;
  return (value & ((1 << bits) - 1)) - (1 << (bits - 1));
}
