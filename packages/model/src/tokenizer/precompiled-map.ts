// SentencePiece's compiled normalization (`precompiled_charsmap`): a double-array trie (Darts) from byte sequences to replacements.
// The layout: the length of the trie in bytes as u32, its units as u32, then the replacements, each ended by a zero byte; all
// little-endian. A grapheme of fewer than six bytes is looked up as a whole, then each of its characters, as `tokenizers` does.
import { PithError } from '@pith/tensor-core';
import type { Normalizer } from './normalizers.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' });

/** Bytes of a grapheme from which on its characters are looked up one by one. */
const LONG_GRAPHEME = 6;

function refuse(got: string): never {
  throw new PithError(
    'TOKENIZER_INVALID',
    `read tokenizer: precompiled_charsmap must be a trie of SentencePiece in base64, got ${got}; mend tokenizer.json`,
    { details: { got } },
  );
}

function bytesOf(given: unknown): Uint8Array {
  if (typeof given !== 'string') refuse(typeof given);
  try {
    return Uint8Array.from(atob(given), (character) => character.charCodeAt(0));
  } catch {
    return refuse('another text');
  }
}

const hasLeaf = (unit: number) => ((unit >>> 8) & 1) === 1;
const valueOf = (unit: number) => unit & 0x7fffffff;
const labelOf = (unit: number) => (unit & 0x800000ff) >>> 0;
const offsetOf = (unit: number) => ((unit >>> 10) << ((unit & 0x200) >>> 6)) >>> 0;

/** Where in the replacements that of the shortest prefix of `key` begins; undefined where no prefix is in the trie. */
function lookUp(units: Uint32Array, key: Uint8Array): number | undefined {
  let at = offsetOf(units[0]!);
  for (const byte of key) {
    if (byte === 0) return undefined;
    at = (at ^ byte) >>> 0;
    const unit = units[at];
    if (unit === undefined || labelOf(unit) !== byte) return undefined;
    at = (at ^ offsetOf(unit)) >>> 0;
    if (!hasLeaf(unit)) continue;
    const leaf = units[at];
    return leaf === undefined ? undefined : valueOf(leaf);
  }
  return undefined;
}

/**
 * The normalizer of a compiled map; nothing changes by an empty one.
 *
 * @throws PithError `TOKENIZER_INVALID` for what is no such map.
 */
export function precompiledMap(given: unknown): Normalizer {
  if (given === null || given === undefined || given === '') return (text) => text;
  const bytes = bytesOf(given);
  if (bytes.byteLength < 8) refuse(`${bytes.byteLength} bytes`);
  const view = new DataView(bytes.buffer);
  const length = view.getUint32(0, true);
  if (length % 4 !== 0 || length < 4 || length > bytes.byteLength - 4) {
    refuse(`a trie of ${length} bytes in ${bytes.byteLength}`);
  }
  const units = Uint32Array.from({ length: length / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
  const replacements = bytes.subarray(4 + length);
  const replaced = (part: string): string | undefined => {
    const start = lookUp(units, encoder.encode(part));
    if (start === undefined || start >= replacements.length) return undefined;
    const end = replacements.indexOf(0, start);
    return decoder.decode(replacements.subarray(start, end < 0 ? undefined : end));
  };
  return (text) => {
    let result = '';
    for (const { segment } of segmenter.segment(text)) {
      const whole = encoder.encode(segment).length < LONG_GRAPHEME ? replaced(segment) : undefined;
      if (whole !== undefined) result += whole;
      else for (const character of segment) result += replaced(character) ?? character;
    }
    return result;
  };
}
