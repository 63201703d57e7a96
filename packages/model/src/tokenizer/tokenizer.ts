// Tokenizers from tokenizer.json. The file is followed as it stands: added tokens are cut out first, the normalizer runs on every
// piece between them, each piece is cut into words and each word goes through the model. What each component does is held to
// the `tokenizers` library. Without a pre-tokenizer a whole text is one word.
import { createAddedTokens, isNormalized } from './added-tokens.ts';
import { checkTokenizerJson, type CheckedTokenizerJson } from './check-tokenizer-json.ts';
import { createDecoder, tidySpaces } from './decoders.ts';
import { createBpe, type BpeJson } from './models/bpe.ts';
import { createUnigram, type UnigramJson } from './models/unigram.ts';
import { createWordPiece, type WordPieceJson } from './models/word-piece.ts';
import type { WordModel } from './models/word-model.ts';
import { createNormalizer } from './normalizers.ts';
import { createPostProcessor } from './post-processors.ts';
import { createPreTokenizer } from './pre-tokenizers.ts';

/** Options of {@link Tokenizer.decode}. */
export interface DecodeOptions {
  /** Leaves special tokens (BOS, EOS, ...) out of the text; false when left out. */
  readonly skipSpecial?: boolean;
}

/** Text to token ids and back. */
export interface Tokenizer {
  /** Largest id plus one, added tokens included. */
  readonly size: number;
  /** A token as the vocabulary writes it (`▁the`); undefined for an id that is not in it. Vocabularies are compared by it. */
  readonly tokenOf?: (id: number) => string | undefined;
  /**
   * Ids of a text, without the special tokens that a template would add (BOS, EOS).
   *
   * @throws PithError `TOKENIZER_FAILED` when a part of the text has no token and the tokenizer has no unknown token.
   */
  encode(text: string): Int32Array;
  /**
   * Ids of a text with the special tokens that the template of the tokenizer adds (`[CLS] ... [SEP]`), and the segment of each: 0
   * for the text, 1 for the second one.
   *
   * @param pair A second text.
   * @throws PithError `TOKENIZER_FAILED`.
   */
  encodeWithSpecial(
    text: string,
    pair?: string,
  ): {
    /** Token ids. */
    readonly ids: Int32Array;
    /** Segment of each token: 0 or 1. */
    readonly segments: Int32Array;
  };
  /** Text of ids; an id that the tokenizer does not know is decoded as its unknown token or left out. */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;
}

interface Model {
  readonly encode: WordModel;
  /** Pieces with their ids. */
  readonly pieces: ReadonlyMap<string, number>;
}

function modelOf({ model }: CheckedTokenizerJson): Model {
  switch (model.type) {
    case 'Unigram': {
      const json = model as unknown as UnigramJson;
      return { encode: createUnigram(json), pieces: new Map(json.vocab.map(([piece], id) => [piece, id])) };
    }
    case 'WordPiece': {
      const json = model as unknown as WordPieceJson;
      return { encode: createWordPiece(json), pieces: new Map(Object.entries(json.vocab)) };
    }
    default: {
      const json = model as unknown as BpeJson;
      return { encode: createBpe(json), pieces: new Map(Object.entries(json.vocab)) };
    }
  }
}

/**
 * Makes a tokenizer from a parsed tokenizer.json. What the file says of truncation and padding is left to whoever runs a model.
 *
 * @param tokenizerConfig A parsed tokenizer_config.json, where there is one; `clean_up_tokenization_spaces` is read.
 * @throws PithError `TOKENIZER_INVALID` for a file that is malformed or over a cap, `TOKENIZER_UNSUPPORTED` for a part that is
 * not known.
 */
export function createTokenizer(tokenizerJson: unknown, tokenizerConfig: unknown = {}): Tokenizer {
  const json = checkTokenizerJson(tokenizerJson);
  const config = (tokenizerConfig ?? {}) as { readonly clean_up_tokenization_spaces?: unknown };
  const normalize = createNormalizer(json.normalizer);
  const added = createAddedTokens(json.added_tokens, normalize);
  const cut = createPreTokenizer(json.pre_tokenizer);
  const process = createPostProcessor(json.post_processor);
  const decoder = createDecoder(json.decoder);
  const model = modelOf(json);
  // A token that is looked for in normalized text is decoded as it looks there.
  const tokens = new Map([...model.pieces].map(([piece, id]) => [id, piece]));
  const spoken = new Map(tokens);
  for (const token of json.added_tokens) {
    tokens.set(token.id, token.content);
    spoken.set(token.id, isNormalized(token) ? (normalize?.(token.content) ?? token.content) : token.content);
  }
  const special = new Set(json.added_tokens.filter((token) => token.special).map(({ id }) => id));
  const tidy = config.clean_up_tokenization_spaces === true;

  const idsOf = (text: string): number[] => {
    const ids: number[] = [];
    for (const section of added(text)) {
      if (typeof section === 'number') {
        ids.push(section);
        continue;
      }
      for (const word of cut ? cut(section) : [section]) {
        const own = model.encode(word.text);
        for (let i = 0; i < own.length; i++) ids.push(own[i]!);
      }
    }
    return ids;
  };
  const encoded = (ids: readonly number[], segment: number) => ({ ids, segments: ids.map(() => segment) });
  return Object.freeze({
    size: 1 + [...tokens.keys()].reduce((largest, id) => Math.max(largest, id), -1),
    tokenOf: (id: number) => tokens.get(id),
    encode: (text: string) => Int32Array.from(idsOf(text)),
    encodeWithSpecial: (text: string, pair?: string) => {
      const { ids, segments } = process(
        encoded(idsOf(text), 0),
        pair === undefined ? undefined : encoded(idsOf(pair), 1),
      );
      return { ids: Int32Array.from(ids), segments: Int32Array.from(segments) };
    },
    decode: (ids: ArrayLike<number>, { skipSpecial = false }: DecodeOptions = {}) => {
      // Ids beyond the vocabulary (padded embeddings) decode to nothing.
      const kept = Array.from(ids).flatMap((id) => (skipSpecial && special.has(id) ? [] : (spoken.get(id) ?? [])));
      const text = decoder ? decoder(kept).join('') : kept.join(' ');
      return tidy ? tidySpaces(text) : text;
    },
  });
}
