// WordPiece and Unigram out of the metadata of a GGUF file: the ways back of `word-piece.ts` and `unigram.ts`.
import type { JsonValue } from '@pith/checkpoint';
import { PithError } from '@pith/tensor-core';
import type { MetadataReader } from './metadata-reader.ts';
import { TOKEN_TYPES } from './token-types.ts';

/** What the makers of models read. */
export interface TokenizerSource {
  readonly metadata: MetadataReader;
  /** By id. */
  readonly tokens: readonly string[];
  /** By id; tokens without one are normal. */
  readonly types: readonly number[];
  /** What is put around a text; null for nothing. */
  readonly template: JsonValue;
  /** Label of the file in errors. */
  readonly file: string;
}

const KEY = 'tokenizer.ggml';
/** U+2581, which stands for a space. */
const SPACE = '\u2581';

const filler = (token: string, type: number | undefined): boolean =>
  type === TOKEN_TYPES.unused && /^\[PAD\d+\]$/.test(token);

/** Everything of a tokenizer.json of WordPiece but its added tokens. */
export function wordPieceModel({ metadata, tokens, types, template }: TokenizerSource): Record<string, JsonValue> {
  const lowercase = metadata.flag(`${KEY}.normalizer.lowercase`) ?? true;
  const vocab: Record<string, number> = Object.create(null) as Record<string, number>;
  for (const [id, token] of tokens.entries()) {
    const type = types[id] ?? TOKEN_TYPES.normal;
    if (!filler(token, type)) vocab[type === TOKEN_TYPES.normal ? pieceOf(token) : token] ??= id;
  }
  const unknown = metadata.count(`${KEY}.unknown_token_id`);
  return {
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: metadata.flag(`${KEY}.normalizer.strip_accents`) ?? lowercase,
      lowercase,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: template,
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: (unknown === undefined ? undefined : tokens[unknown]) ?? '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab,
    },
  };
}

/** A piece that opens a word is marked in the file, one that goes on is marked in tokenizer.json; what stands in brackets is neither. */
function pieceOf(token: string): string {
  if (token.startsWith(SPACE)) return token.slice(SPACE.length);
  return /^\[.+\]$/.test(token) ? token : `##${token}`;
}

/** A score that no path through a text takes. */
const NEVER = -1e9;

/**
 * Everything of a tokenizer.json of Unigram but its added tokens.
 *
 * @throws PithError `GGUF_KEY_MISSING`, `GGUF_VALUE_INVALID`.
 */
export function unigramModel(source: TokenizerSource): Record<string, JsonValue> {
  const { metadata, tokens, types, template } = source;
  const scores = metadata.require(`${KEY}.scores`, metadata.numbers(`${KEY}.scores`));
  const unknown = metadata.count(`${KEY}.unknown_token_id`) ?? types.indexOf(TOKEN_TYPES.unknown);
  const length = tokens.findLastIndex((token, id) => !filler(token, types[id])) + 1;
  const vocab = tokens.slice(0, length).map((token, id): JsonValue => {
    return [token, filler(token, types[id]) ? NEVER : (scores[id] ?? 0)];
  });
  const map = charactersMap(source);
  const single = metadata.flag(`${KEY}.remove_extra_whitespaces`) ?? false;
  const prefix = metadata.flag(`${KEY}.add_space_prefix`) ?? true;
  const metaspace = { replacement: SPACE, prepend_scheme: prefix ? 'always' : 'never', split: false };
  return {
    normalizer: {
      type: 'Sequence',
      normalizers: [
        ...(map === null ? [] : [{ type: 'Precompiled', precompiled_charsmap: map }]),
        ...(single
          ? [
              { type: 'Strip', strip_left: true, strip_right: true },
              { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
            ]
          : []),
      ],
    },
    pre_tokenizer: { type: 'Metaspace', ...metaspace },
    post_processor: template,
    decoder: { type: 'Metaspace', ...metaspace },
    model: {
      type: 'Unigram',
      unk_id: unknown < 0 || unknown >= length ? null : unknown,
      vocab,
      byte_fallback: types.includes(TOKEN_TYPES.byte),
    },
  };
}

/** SentencePiece's map of characters, as text; null for none. */
function charactersMap({ metadata, file }: TokenizerSource): string | null {
  const key = `${KEY}.precompiled_charsmap`;
  const bytes = metadata.numbers(key);
  if (bytes === undefined || bytes.length === 0) return null;
  if (!bytes.every((byte) => Number.isInteger(byte) && byte >= -128 && byte <= 255)) {
    throw new PithError(
      'GGUF_VALUE_INVALID',
      `open GGUF: ${file}: ${key} must be bytes, it holds other numbers; the file is damaged`,
      {
        details: { file, key },
      },
    );
  }
  let letters = '';
  for (let at = 0; at < bytes.length; at += 4096) {
    letters += String.fromCharCode(...bytes.slice(at, at + 4096).map((byte) => byte & 255));
  }
  return btoa(letters);
}
