// The older form of an importance matrix (`imatrix.dat`): little-endian, without a magic number. A count of entries, and for
// each the length of its name, the name, a number of calls, a number of values, and the values: mean squares times calls.
// Behind them, in files of 2024 and later, the number of chunks and the name of the text.
import {
  imatrixFault,
  MAX_IMATRIX_ENTRIES,
  MAX_IMATRIX_NAME_BYTES,
  requireImatrixName,
  requireSquares,
} from './imatrix.ts';
import type { Imatrix, ImatrixEntry } from './imatrix.ts';

/** Bytes of the smallest entry: a name of one letter and one value. */
const LEAST_ENTRY_BYTES = 17;

/**
 * Parses a whole file; allocates no more than it has bytes, and the names.
 *
 * @param file label in errors.
 * @throws PithError `IMATRIX_TRUNCATED`, `IMATRIX_COUNT_INVALID`, `IMATRIX_NAME_INVALID`, `IMATRIX_NOT_UTF8`,
 * `IMATRIX_DUPLICATE`, `IMATRIX_VALUE_INVALID`, `IMATRIX_TRAILING_BYTES`.
 */
export function parseLegacyImatrix(bytes: Uint8Array, file: string): Imatrix {
  const cursor = new Cursor(bytes, file);
  const count = cursor.count('the number of entries', 1, MAX_IMATRIX_ENTRIES);
  cursor.requireRoom(count * LEAST_ENTRY_BYTES, `${count} entries`);
  const entries = new Map<string, ImatrixEntry>();
  for (let i = 0; i < count; i++) {
    const length = cursor.count(`the length of name ${i}`, 1, MAX_IMATRIX_NAME_BYTES);
    const name = cursor.text(length, `name ${i}`);
    requireImatrixName(file, name);
    if (entries.has(name)) {
      throw imatrixFault(file, 'DUPLICATE', `tensor ${name} occurs twice`, { tensor: name });
    }
    const calls = cursor.count(`the calls of ${name}`, 0, 2 ** 31 - 1);
    const values = cursor.count(`the number of values of ${name}`, 1, 2 ** 31 - 1);
    const meanSquares = cursor.floats(values, `the values of ${name}`);
    requireSquares(file, name, meanSquares);
    // As llama-quantize does: sums of no calls are taken as they are.
    if (calls > 0) for (let at = 0; at < values; at++) meanSquares[at]! /= calls;
    entries.set(name, { meanSquares, experts: 1 });
  }
  if (cursor.left === 0) return { form: 'legacy', entries, chunks: null };
  const chunks = cursor.count('the number of chunks', 0, 2 ** 31 - 1);
  if (cursor.left > 0) {
    const length = cursor.count('the length of the name of the text', 0, MAX_IMATRIX_NAME_BYTES);
    cursor.requireRoom(length, 'the name of the text');
    if (cursor.left > length) {
      throw imatrixFault(file, 'TRAILING_BYTES', `${cursor.left - length} bytes follow behind its end`, {
        bytes: cursor.left - length,
      });
    }
  }
  return { form: 'legacy', entries, chunks };
}

/** A position that moves forward. */
class Cursor {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #file: string;
  readonly #text = new TextDecoder('utf-8', { fatal: true });
  #at = 0;

  constructor(bytes: Uint8Array, file: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#file = file;
  }

  get left(): number {
    return this.#bytes.byteLength - this.#at;
  }

  requireRoom(length: number, what: string): void {
    if (length <= this.left) return;
    throw imatrixFault(
      this.#file,
      'TRUNCATED',
      `it ends in ${what}: ${length} bytes were expected, ${this.left} follow`,
      { what, expected: length, left: this.left },
    );
  }

  /** A 32-bit integer within limits. */
  count(what: string, least: number, most: number): number {
    this.requireRoom(4, what);
    const value = this.#view.getInt32(this.#at, true);
    this.#at += 4;
    if (value >= least && value <= most) return value;
    throw imatrixFault(this.#file, 'COUNT_INVALID', `${what} must be ${least} to ${most}, got ${value}`, {
      what,
      got: value,
    });
  }

  text(length: number, what: string): string {
    this.requireRoom(length, what);
    const bytes = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    try {
      return this.#text.decode(bytes);
    } catch (cause) {
      throw imatrixFault(this.#file, 'NOT_UTF8', `${what} must be UTF-8`, { what }, cause);
    }
  }

  floats(count: number, what: string): Float32Array {
    this.requireRoom(4 * count, what);
    const values = new Float32Array(count);
    for (let i = 0; i < count; i++) values[i] = this.#view.getFloat32(this.#at + 4 * i, true);
    this.#at += 4 * count;
    return values;
  }
}
