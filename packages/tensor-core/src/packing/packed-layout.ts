// How codes lie in 32-bit words.
import { packedWordsPerRow, requireBits } from '../dtype/byte-length.ts';
import { PithError } from '../errors/pith-error.ts';

/** `stream`: codes cross words. `aligned`: floor(32 / bits) codes to a word, as older files have them. */
export type PackedLayout = 'stream' | 'aligned';

/** What is packed. */
export interface PackedShape {
  /** Rows, each on its own words. */
  readonly rows: number;
  /** Codes in a row. */
  readonly columns: number;
  /** Bits of a code, 2 to 8. */
  readonly bits: number;
}

/** 32-bit words of a row of `columns` codes. */
export function packedWords(bits: number, columns: number, layout: PackedLayout): number {
  const stream = packedWordsPerRow(bits, columns);
  return layout === 'stream' ? stream : Math.ceil(columns / Math.floor(32 / requireBits(bits)));
}

/** The error for codes that `bits` bits cannot hold. */
export function codeOutOfRange(bits: number): PithError {
  const half = 2 ** (bits - 1);
  const text = `pack: codes of ${bits} bits must lie from ${-half} to ${half - 1}; clamp them before packing`;
  return new PithError('CODE_OUT_OF_RANGE', text, { kind: 'internal', details: { bits } });
}
