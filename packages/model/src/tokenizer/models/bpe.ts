// Byte-pair encoding (Sennrich et al. 2016) as the `tokenizers` library merges: of all pairs that stand side by side the one with
// the lowest rank, of equal ones the leftmost, until none is left. A heap holds the pairs, so that a whole file may be one word.
import { PithError } from '@pith/tensor-core';
import { TOKENIZER_CAPS } from '../check-tokenizer-json.ts';
import { wordCache } from './word-cache.ts';
import { failure, type WordModel } from './word-model.ts';

/** `model` of a tokenizer.json, of type BPE. */
export interface BpeJson {
  /** Ids by piece. */
  readonly vocab: Readonly<Record<string, number>>;
  /** Pairs, the first to be merged first: `"a b"` or `["a", "b"]`. */
  readonly merges: readonly (string | readonly [string, string])[];
  /** Stands for a character without a piece. */
  readonly unk_token?: string | null;
  /** Put before every piece of a word but the first. */
  readonly continuing_subword_prefix?: string | null;
  /** Put behind the last character of a word. */
  readonly end_of_word_suffix?: string | null;
  /** Unknown characters side by side are one token. */
  readonly fuse_unk?: boolean;
  /** Characters without a piece are written as `<0xE2>` and so on. */
  readonly byte_fallback?: boolean;
  /** A word that is a piece is one token, whatever the merges say. */
  readonly ignore_merges?: boolean;
}

/** More than any position in a text; a rank times this plus a position is a whole number that a double holds. */
const POSITIONS = 2 ** 30;

interface Merges {
  /** Rank by `left id * entries + right id`. */
  readonly ranks: ReadonlyMap<number, number>;
  /** By rank: id of the merged piece. */
  readonly merged: Int32Array;
}

function readMerges({ merges, vocab, continuing_subword_prefix: prefix }: BpeJson): Merges {
  const ids = new Map(Object.entries(vocab));
  const cut = prefix?.length ?? 0;
  const merged = new Int32Array(merges.length);
  const ranks = new Map<number, number>();
  for (const [rank, merge] of merges.entries()) {
    const space = typeof merge === 'string' ? merge.indexOf(' ', 1) : 0;
    const [left, right] = typeof merge === 'string' ? [merge.slice(0, space), merge.slice(space + 1)] : merge;
    const [a, b, both] = [ids.get(left), ids.get(right), ids.get(left + right.slice(cut))];
    if (a === undefined || b === undefined || both === undefined) {
      const piece = a === undefined ? left : b === undefined ? right : left + right.slice(cut);
      throw new PithError(
        'TOKENIZER_INVALID',
        `read tokenizer: the pieces of merge ${rank} must be in the vocabulary, got ${JSON.stringify(piece.slice(0, 60))}, which is not; mend tokenizer.json`,
        { details: { merge: rank, piece: piece.slice(0, 60) } },
      );
    }
    ranks.set(a * TOKENIZER_CAPS.entries + b, rank);
    merged[rank] = both;
  }
  return { ranks, merged };
}

/** The smallest of numbers comes out first. */
class Heap {
  readonly #items: number[] = [];

  push(item: number): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (items[parent]! <= item) break;
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): number | undefined {
    const items = this.#items;
    const top = items[0];
    const item = items.pop();
    if (items.length === 0 || item === undefined) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && items[child + 1]! < items[child]!) child++;
      if (items[child]! >= item) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = item;
    return top;
  }
}

/** Merges a word; `symbols` is changed. */
function mergeAll(symbols: Int32Array, { ranks, merged }: Merges): Int32Array {
  const count = symbols.length;
  if (count >= POSITIONS) throw failure('tokenize', `a word must have fewer than ${POSITIONS} symbols, got ${count}`);
  // A symbol that went into the one before it is -1.
  const next = Int32Array.from({ length: count }, (_, i) => i + 1);
  const previous = Int32Array.from({ length: count }, (_, i) => i - 1);
  const heap = new Heap();
  const offer = (left: number, right: number) => {
    const rank = ranks.get(symbols[left]! * TOKENIZER_CAPS.entries + symbols[right]!);
    if (rank !== undefined) heap.push(rank * POSITIONS + left);
  };
  for (let i = 0; i + 1 < count; i++) offer(i, i + 1);
  for (let top = heap.pop(); top !== undefined; top = heap.pop()) {
    const rank = Math.floor(top / POSITIONS);
    const at = top - rank * POSITIONS;
    const right = next[at]!;
    if (symbols[at]! < 0 || right >= count) continue;
    // The pair may be another one by now.
    const now = ranks.get(symbols[at]! * TOKENIZER_CAPS.entries + symbols[right]!);
    if (now === undefined || merged[now] !== merged[rank]) continue;
    symbols[at] = merged[rank]!;
    symbols[right] = -1;
    const after = next[right]!;
    next[at] = after;
    if (after < count) previous[after] = at;
    if (previous[at]! >= 0) offer(previous[at]!, at);
    if (after < count) offer(at, after);
  }
  return symbols.filter((id) => id >= 0);
}

/**
 * A byte-pair model.
 *
 * @throws PithError `TOKENIZER_INVALID` for a merge of pieces that are not in the vocabulary.
 */
export function createBpe(json: BpeJson): WordModel {
  const { vocab, unk_token: unknown, continuing_subword_prefix: prefix, end_of_word_suffix: suffix } = json;
  const ids = new Map(Object.entries(vocab));
  const merges = readMerges(json);
  const encoder = new TextEncoder();
  const byteIds = Array.from({ length: 256 }, (_, byte) =>
    ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
  );
  const unknownId = () => {
    const id = ids.get(unknown!);
    if (id !== undefined) return id;
    throw failure('tokenize', `the unknown token ${JSON.stringify(unknown)} is not in the vocabulary`);
  };
  const symbolsOf = (word: string): number[] => {
    const symbols: number[] = [];
    // The unknown token is held back until the next known piece, so that a run of it can become one.
    let held: number | undefined;
    const characters = Array.from(word);
    for (const [index, character] of characters.entries()) {
      const start = index > 0 && prefix ? prefix + character : character;
      const piece = index === characters.length - 1 && suffix ? start + suffix : start;
      const id = ids.get(piece);
      if (id !== undefined) {
        if (held !== undefined) symbols.push(held);
        held = undefined;
        symbols.push(id);
        continue;
      }
      const bytes = json.byte_fallback ? Array.from(encoder.encode(piece), (byte) => byteIds[byte]) : [undefined];
      if (bytes.every((byte) => byte !== undefined)) {
        symbols.push(...bytes);
      } else if (typeof unknown === 'string') {
        if (held !== undefined && json.fuse_unk !== true) symbols.push(held);
        held = unknownId();
      }
    }
    if (held !== undefined) symbols.push(held);
    return symbols;
  };
  const merge = wordCache((word) => mergeAll(Int32Array.from(symbolsOf(word)), merges));
  return (word) => {
    const whole = json.ignore_merges ? ids.get(word) : undefined;
    return whole === undefined ? merge(word) : [whole];
  };
}
