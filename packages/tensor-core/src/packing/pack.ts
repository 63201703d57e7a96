// Packing of 2- to 8-bit codes on the calling thread, held to pack-reference.ts, which states the layout.
import { PithError } from '../errors/pith-error.ts';
import { requireBits } from '../dtype/byte-length.ts';
import { SCRATCH_BYTES, localKernels } from '../kernels/local-kernels.ts';
import { codeOutOfRange, packedWords, type PackedLayout, type PackedShape } from './packed-layout.ts';

/**
 * Packs codes i8 [rows, columns] into 32-bit words [rows, ceil(columns * bits / 32)].
 *
 * @example pack(Int8Array.of(-8, 7, 0), { rows: 1, columns: 3, bits: 4 }) // one word: 0x8f0
 * @throws PithError `CODE_OUT_OF_RANGE` when a code does not fit the bits, `PACK_LENGTH`, `BITS_UNSUPPORTED`
 */
export function pack(codes: Int8Array, shape: PackedShape): Int32Array {
  const { rows, columns, bits } = shape;
  const wordsPerRow = packedWords(bits, columns, 'stream');
  requireLength('pack', 'codes', codes.length, rows * columns);
  const words = new Int32Array(rows * wordsPerRow);
  const target = new Uint8Array(words.buffer);
  forEachPiece(shape, 'stream', (piece) => {
    const { kernels, bytes } = localKernels();
    bytes.set(new Uint8Array(codes.buffer, codes.byteOffset + piece.code, piece.rows * piece.columns), piece.codesAt);
    if (kernels.packCodes(piece.codesAt, piece.wordsAt, piece.rows, piece.columns, bits) !== 0) {
      throw codeOutOfRange(bits);
    }
    target.set(bytes.subarray(piece.wordsAt, piece.wordsAt + piece.wordBytes), piece.word * 4);
  });
  return words;
}

/**
 * Unpacks 32-bit words [rows, words per row] into codes i8 [rows, columns].
 *
 * @throws PithError `PACK_LENGTH` when the words are not those of the shape and layout, `BITS_UNSUPPORTED`
 */
export function unpack(words: Int32Array, shape: PackedShape, layout: PackedLayout = 'stream'): Int8Array {
  const { rows, columns, bits } = shape;
  requireLength('unpack', 'words', words.length, rows * packedWords(bits, columns, layout));
  const codes = new Int8Array(rows * columns);
  const target = new Uint8Array(codes.buffer);
  forEachPiece(shape, layout, (piece) => {
    const { kernels, bytes } = localKernels();
    bytes.set(new Uint8Array(words.buffer, words.byteOffset + piece.word * 4, piece.wordBytes), piece.wordsAt);
    const kernel = layout === 'stream' ? kernels.unpackCodes : kernels.unpackAlignedCodes;
    kernel(piece.wordsAt, piece.codesAt, piece.rows, piece.columns, bits);
    target.set(bytes.subarray(piece.codesAt, piece.codesAt + piece.rows * piece.columns), piece.code);
  });
  return codes;
}

/**
 * Packs codes i8 [rows, columns] along the rows into words [ceil(rows * bits / 32), columns], as compressed-tensors
 * packs zero points: word w of a column holds the codes that lie under one another.
 *
 * @throws PithError as {@link pack}
 */
export function packAlongRows(codes: Int8Array, { rows, columns, bits }: PackedShape): Int32Array {
  requireLength('pack', 'codes', codes.length, rows * columns);
  const packed = pack(transpose(codes, rows, columns), { rows: columns, columns: rows, bits });
  return transpose(packed, columns, packedWords(bits, rows, 'stream'));
}

/** Unpacks what {@link packAlongRows} packs: words [words, columns] into codes i8 [rows, columns]. */
export function unpackAlongRows(
  words: Int32Array,
  { rows, columns, bits }: PackedShape,
  layout: PackedLayout = 'stream',
): Int8Array {
  const wordsPerColumn = packedWords(bits, rows, layout);
  requireLength('unpack', 'words', words.length, wordsPerColumn * columns);
  const turned = transpose(words, wordsPerColumn, columns);
  return transpose(unpack(turned, { rows: columns, columns: rows, bits }, layout), columns, rows);
}

interface Piece {
  readonly rows: number;
  readonly columns: number;
  /** Index of the first code and of the first word. */
  readonly code: number;
  readonly word: number;
  readonly wordBytes: number;
  /** Addresses of codes and words in the scratch memory. */
  readonly codesAt: number;
  readonly wordsAt: number;
}

/**
 * Cuts the shape into pieces that fit the scratch memory: whole rows, or for long rows pieces of a length at which both
 * a code and a word begin.
 */
function forEachPiece({ rows, columns, bits }: PackedShape, layout: PackedLayout, work: (piece: Piece) => void): void {
  requireBits(bits);
  const wordsPerRow = packedWords(bits, columns, layout);
  const room = SCRATCH_BYTES / 2 - 64; // codes in one half, words in the other; a row of words is never the longer
  const { scratch } = localKernels();
  const codesAt = scratch;
  const wordsAt = scratch + SCRATCH_BYTES / 2;
  if (Math.max(columns, wordsPerRow * 4) <= room) {
    const rowsAtOnce = Math.max(1, Math.floor(room / Math.max(columns, wordsPerRow * 4, 1)));
    for (let row = 0; row < rows; row += rowsAtOnce) {
      const taken = Math.min(rowsAtOnce, rows - row);
      const wordBytes = taken * wordsPerRow * 4;
      work({ rows: taken, columns, code: row * columns, word: row * wordsPerRow, wordBytes, codesAt, wordsAt });
    }
    return;
  }
  const step = layout === 'stream' ? 32 : Math.floor(32 / bits);
  const columnsAtOnce = Math.floor(room / step / 4) * step;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column += columnsAtOnce) {
      const taken = Math.min(columnsAtOnce, columns - column);
      const word = row * wordsPerRow + packedWords(bits, column, layout);
      const wordBytes = packedWords(bits, taken, layout) * 4;
      work({ rows: 1, columns: taken, code: row * columns + column, word, wordBytes, codesAt, wordsAt });
    }
  }
}

function transpose<T extends Int8Array | Int32Array>(values: T, rows: number, columns: number): T {
  const turned = values.slice() as T;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) turned[column * rows + row] = values[row * columns + column]!;
  }
  return turned;
}

function requireLength(operation: string, what: string, length: number, expected: number): void {
  if (length === expected) return;
  const text = `${operation}: the shape takes ${expected} ${what}, got ${length}`;
  throw new PithError('PACK_LENGTH', text, { details: { expected, length } });
}
