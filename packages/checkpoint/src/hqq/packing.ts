// How HQQ packs codes: rows of groups [groups, columns of a group] are cut into as many parts as a word holds codes, of equal
// length, and word i holds code i of each part, that of the first in the highest bits. Codes of 3 bits are ten to a word of 32 bits,
// whose two highest stay 0, with rows of zeros after the last.
//
// Source: hqq 0.2.8 (`core/bitpack.py`), golden values in the tests.

/** A way of packing. */
export interface Packing {
  /** As checkpoints name it: `4bit_u8`. */
  readonly name: string;
  /** Bits of a code. */
  readonly bits: number;
  /** Codes of a word. */
  readonly perWord: number;
  /** Bytes of a word. */
  readonly wordBytes: 1 | 4;
}

const packing = (name: string, bits: number, perWord: number, wordBytes: 1 | 4): Packing =>
  Object.freeze({ name, bits, perWord, wordBytes });

/** All packings, by name. */
export const PACKINGS: Readonly<Record<string, Packing>> = Object.freeze({
  '8bit_u8': packing('8bit_u8', 8, 1, 1),
  '4bit_u8': packing('4bit_u8', 4, 2, 1),
  '3bit_32': packing('3bit_32', 3, 10, 4),
  '2bit_u8': packing('2bit_u8', 2, 4, 1),
  '1bit_u8': packing('1bit_u8', 1, 8, 1),
});

/** The packing of codes of so many bits; undefined where there is none. */
export function packingOf(bits: number): Packing | undefined {
  // Codes of 5 and 6 bits lie in bytes.
  const found = Object.values(PACKINGS).find((one) => one.bits === bits);
  return found ?? (bits === 5 || bits === 6 ? PACKINGS['8bit_u8'] : undefined);
}

/** Rows of words for so many rows of codes; not whole where the rows cannot be cut into equal parts. */
export function packedRows({ perWord, wordBytes }: Packing, rows: number): number {
  return wordBytes === 4 ? Math.ceil(rows / perWord) : rows / perWord;
}

/** Packs codes from 0, [rows, columns]: the bytes of [packed rows, columns] words. */
export function packHqq(codes: Uint8Array, rows: number, columns: number, how: Packing): Uint8Array {
  const step = packedRows(how, rows);
  const words = how.wordBytes === 4 ? new Int32Array(step * columns) : new Uint8Array(step * columns);
  for (let row = 0; row < rows; row += 1) {
    const shift = (how.perWord - 1 - Math.floor(row / step)) * how.bits;
    const to = (row % step) * columns;
    for (let column = 0; column < columns; column += 1) {
      words[to + column]! |= codes[row * columns + column]! << shift;
    }
  }
  return new Uint8Array(words.buffer);
}

/** A part of the rows of words that holds rows of codes which follow each other. */
export interface PackedRun {
  /** First row of codes. */
  readonly row: number;
  /** Rows. */
  readonly rows: number;
  /** First row of words. */
  readonly packedRow: number;
  /** Bits below the codes. */
  readonly shift: number;
}

/** The runs that hold rows `start` to `end` of codes, of `rows` in all. */
export function packedRuns(how: Packing, rows: number, start: number, end: number): PackedRun[] {
  const step = packedRows(how, rows);
  const runs: PackedRun[] = [];
  for (let row = start; row < end;) {
    const part = Math.floor(row / step);
    const next = Math.min(end, (part + 1) * step);
    const shift = (how.perWord - 1 - part) * how.bits;
    runs.push({ row, rows: next - row, packedRow: row - part * step, shift });
    row = next;
  }
  return runs;
}

/** Codes from 0 out of words at a shift. */
export function unpackHqq(words: Uint8Array | Int32Array, { bits }: Packing, shift: number, into: Uint8Array): void {
  const mask = 2 ** bits - 1;
  for (let i = 0; i < into.length; i += 1) into[i] = (words[i]! >> shift) & mask;
}
