// WordPiece (Schuster and Nakajima 2012, as BERT has it): the longest piece that a word starts with, again and again; a word that
// cannot be written so is unknown as a whole.
import { wordCache } from './word-cache.ts';
import { failure, type WordModel } from './word-model.ts';

/** `model` of a tokenizer.json, of type WordPiece. */
export interface WordPieceJson {
  /** Ids by piece. */
  readonly vocab: Readonly<Record<string, number>>;
  /** Stands for a word that cannot be written. */
  readonly unk_token?: string;
  /** Put before every piece of a word but the first. */
  readonly continuing_subword_prefix?: string;
  /** Longer words are unknown. */
  readonly max_input_chars_per_word?: number;
}

/** A WordPiece model. */
export function createWordPiece({
  vocab,
  unk_token: unknown = '[UNK]',
  continuing_subword_prefix: prefix = '##',
  max_input_chars_per_word: longest = 100,
}: WordPieceJson): WordModel {
  const ids = new Map(Object.entries(vocab));
  const piecesOf = (characters: readonly string[]): number[] | undefined => {
    const pieces: number[] = [];
    for (let start = 0; start < characters.length;) {
      let end = characters.length;
      let id: number | undefined;
      for (; end > start && id === undefined; end--) {
        const piece = characters.slice(start, end).join('');
        id = ids.get(start > 0 ? prefix + piece : piece);
      }
      if (id === undefined) return undefined;
      pieces.push(id);
      start = end + 1;
    }
    return pieces;
  };
  return wordCache((word) => {
    const characters = Array.from(word);
    const pieces = characters.length > longest ? undefined : piecesOf(characters);
    if (pieces) return pieces;
    const id = ids.get(unknown);
    if (id === undefined)
      throw failure('tokenize', `the unknown token ${JSON.stringify(unknown)} is not in the vocabulary`);
    return [id];
  });
}
