// Unigram (Kudo 2018): of all ways to write a word in pieces the one with the largest sum of scores. Sums are f64; a character
// without a piece of its own costs 10 more than the worst piece; unknown characters side by side are one token.
import { wordCache } from './word-cache.ts';
import { failure, type WordModel } from './word-model.ts';

/** `model` of a tokenizer.json, of type Unigram. */
export interface UnigramJson {
  /** Pieces with their scores; the index is the id. */
  readonly vocab: readonly (readonly [string, number])[];
  /** Id of the unknown token. */
  readonly unk_id?: number | null;
  /** Characters without a piece are written as `<0xE2>` and so on. */
  readonly byte_fallback?: boolean;
}

/** What an unknown character costs beyond the worst piece. */
const UNKNOWN_PENALTY = 10;

/** A node of the tree of pieces. */
interface Node {
  readonly next: Map<string, Node>;
  id?: number;
}

function treeOf(vocab: UnigramJson['vocab']): Node {
  const root: Node = { next: new Map() };
  for (const [id, [piece]] of vocab.entries()) {
    let node = root;
    for (const character of piece) {
      const child = node.next.get(character) ?? { next: new Map<string, Node>() };
      node.next.set(character, child);
      node = child;
    }
    if (node !== root) node.id = id;
  }
  return root;
}

/** The best way to write the characters up to here. */
interface Path {
  readonly score: number;
  readonly start: number;
  readonly id: number;
}

/** A Unigram model. */
export function createUnigram({ vocab, unk_id: unknown, byte_fallback: fallback = false }: UnigramJson): WordModel {
  const root = treeOf(vocab);
  const ids = new Map(vocab.map(([piece], id) => [piece, id]));
  const encoder = new TextEncoder();
  const unknownScore = vocab.reduce((least, [, score]) => Math.min(least, score), Infinity) - UNKNOWN_PENALTY;
  const unknownId = () => {
    if (typeof unknown === 'number') return unknown;
    throw failure('tokenize', 'a part of the text has no piece, and the tokenizer has no unknown token');
  };

  const pathsOf = (characters: readonly string[]): (Path | undefined)[] => {
    const best = new Array<Path | undefined>(characters.length + 1);
    const offer = (end: number, path: Path) => {
      const before = best[end];
      if (before === undefined || path.score > before.score) best[end] = path;
    };
    for (let start = 0; start < characters.length; start++) {
      const score = best[start]?.score ?? 0;
      let single = false;
      let node: Node | undefined = root;
      for (let end = start; end < characters.length; end++) {
        node = node.next.get(characters[end]!);
        if (node === undefined) break;
        if (node.id === undefined) continue;
        offer(end + 1, { score: score + vocab[node.id]![1], start, id: node.id });
        single ||= end === start;
      }
      if (!single) offer(start + 1, { score: score + unknownScore, start, id: unknownId() });
    }
    return best;
  };

  /** Ids of unknown characters. */
  const unknownIds = (text: string): number[] => {
    const id = ids.get(text);
    if (id !== undefined) return [id];
    const bytes = Array.from(encoder.encode(text), (byte) =>
      ids.get(`<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`),
    );
    return fallback && bytes.every((byte) => byte !== undefined) ? bytes : [unknownId()];
  };

  return wordCache((word) => {
    const characters = Array.from(word);
    const best = pathsOf(characters);
    const pieces: number[][] = [];
    for (let end = characters.length; end > 0;) {
      let { start } = best[end]!;
      const { id } = best[end]!;
      if (id !== unknown) {
        pieces.push([id]);
      } else {
        const until = end;
        while (start > 0 && best[start]!.id === unknown) ({ start } = best[start]!);
        pieces.push(unknownIds(characters.slice(start, until).join('')));
      }
      end = start;
    }
    return pieces.reverse().flat();
  });
}
