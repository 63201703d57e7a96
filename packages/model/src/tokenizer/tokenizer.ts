// Tokenizers from tokenizer.json, by @huggingface/tokenizers. The file is followed as it stands: added tokens are cut
// out first and the normalizer runs on every piece between them. Without a pre-tokenizer a whole text is one word; the
// library merges with a heap, 100 KB in 0.3 s, so long texts need no cutting.
import { Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { PithError } from '@pith/tensor-core';
import { decodeByteRun } from './byte-fallback.ts';
import { checkTokenizerJson } from './check-tokenizer-json.ts';

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

interface DecoderNode {
  readonly config?: { readonly type?: string };
  readonly decoders?: readonly DecoderNode[];
  text_decoder?: { decode(bytes: Uint8Array): string };
}

function mendByteFallback(decoder: DecoderNode | null): void {
  if (decoder === null) return;
  if (decoder.config?.type === 'ByteFallback') decoder.text_decoder = { decode: decodeByteRun };
  decoder.decoders?.forEach(mendByteFallback);
}

function failed(what: string, cause: unknown): PithError {
  const reason = (cause instanceof Error ? cause.message : String(cause)).slice(0, 300);
  return new PithError('TOKENIZER_FAILED', `${what}: ${reason}`, { cause, details: { reason } });
}

/**
 * Makes a tokenizer from a parsed tokenizer.json.
 *
 * @param tokenizerConfig A parsed tokenizer_config.json, where there is one.
 * @throws PithError `TOKENIZER_INVALID` for a file that is malformed or over a cap, `TOKENIZER_FAILED` for a part that
 * the library does not know.
 */
export function createTokenizer(tokenizerJson: unknown, tokenizerConfig: unknown = {}): Tokenizer {
  const json = checkTokenizerJson(tokenizerJson);
  const config = typeof tokenizerConfig === 'object' && tokenizerConfig !== null ? tokenizerConfig : {};
  let library: LibraryTokenizer;
  try {
    // The library tidies spaces before punctuation unless told otherwise; tokenizer.json alone never does.
    library = new LibraryTokenizer(json, { clean_up_tokenization_spaces: false, ...config });
    mendByteFallback(library.decoder as DecoderNode | null);
  } catch (cause) {
    throw failed('read tokenizer', cause);
  }
  const ids = Array.isArray(json.model.vocab)
    ? [json.model.vocab.length - 1]
    : Object.values(json.model.vocab as Record<string, number>);
  const size = 1 + [...ids, ...json.added_tokens.map(({ id }) => id)].reduce((a, b) => Math.max(a, b), -1);
  return Object.freeze({
    size,
    tokenOf: (id: number) => library.id_to_token(id),
    encode: (text: string) => {
      let encoded: (number | undefined)[];
      try {
        encoded = library.encode(text, { add_special_tokens: false }).ids;
      } catch (cause) {
        throw failed('tokenize', cause);
      }
      const missing = encoded.indexOf(undefined);
      if (missing >= 0) throw failed('tokenize', `token ${missing} of the text is not in the vocabulary`);
      return Int32Array.from(encoded as number[]);
    },
    encodeWithSpecial: (text: string, pair?: string) => {
      let encoded: { ids: (number | undefined)[]; token_type_ids: number[] };
      try {
        const asked = { add_special_tokens: true, return_token_type_ids: true, text_pair: pair ?? null } as const;
        encoded = library.encode(text, asked);
      } catch (cause) {
        throw failed('tokenize', cause);
      }
      const missing = encoded.ids.indexOf(undefined);
      if (missing >= 0) throw failed('tokenize', `token ${missing} of the text is not in the vocabulary`);
      return { ids: Int32Array.from(encoded.ids as number[]), segments: Int32Array.from(encoded.token_type_ids) };
    },
    decode: (ids: ArrayLike<number>, { skipSpecial = false }: DecodeOptions = {}) => {
      // Ids beyond the vocabulary (padded embeddings) decode to nothing.
      const known = Array.from(ids).filter((id) => library.id_to_token(id) !== undefined);
      try {
        return known.length === 0 ? '' : library.decode(known, { skip_special_tokens: skipSpecial });
      } catch (cause) {
        throw failed('decode', cause);
      }
    },
  });
}
