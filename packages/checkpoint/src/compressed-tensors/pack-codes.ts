// Signed codes to packed words: `code + 2^(bits-1)`, one little-endian bit stream cut into 32-bit words. Unused bits at
// the end are 0.

/** Packs codes [rows, columns] along their rows: [rows, ceil(columns * bits / 32)] words. */
export function packRows(codes: Int8Array, rows: number, columns: number, bits: number): Uint8Array {
  const rowBytes = Math.ceil((columns * bits) / 32) * 4;
  const result = new Uint8Array(rows * rowBytes);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      putCode(result, row * rowBytes, 1, column * bits, bits, codes[row * columns + column]!);
    }
  }
  return result;
}

/** Packs codes [rows, columns] along their columns: [ceil(rows * bits / 32), columns] words. */
export function packColumns(codes: Int8Array, rows: number, columns: number, bits: number): Uint8Array {
  const result = new Uint8Array(Math.ceil((rows * bits) / 32) * 4 * columns);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      putCode(result, column * 4, columns, row * bits, bits, codes[row * columns + column]!);
    }
  }
  return result;
}

/** Puts a code at a bit of a stream of words that lie `stride` words apart. */
function putCode(bytes: Uint8Array, base: number, stride: number, bit: number, bits: number, code: number): void {
  const value = (code + (1 << (bits - 1))) << (bit % 8);
  const first = Math.floor(bit / 8);
  const at = (index: number): number => base + (index >> 2) * 4 * stride + (index & 3);
  bytes[at(first)]! |= value & 0xff;
  if (value > 0xff) bytes[at(first + 1)]! |= value >> 8;
}
