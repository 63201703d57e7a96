// A tokenizer.json out of the metadata of a GGUF file: the way back of `gguf-tokenizer.ts`. A file that has kept its
// tokenizer.json (`tokenizer.huggingface.json`) is taken at its word.
//
// SentencePiece-style vocabularies have scores where tokenizer.json has merges: every way in which two pieces make a third is a
// merge, and the better its score the earlier it comes (transformers converts them so, too).
import { parseJsonObject, type JsonObject, type JsonValue } from '@pith/checkpoint';
import { PithError } from '@pith/tensor-core';
import { TOKEN_TYPES } from './token-types.ts';
import type { MetadataReader } from './metadata-reader.ts';
import { preTokenizerOf, PRE_TOKENIZERS } from './pre-tokenizers.ts';
import { unigramModel, wordPieceModel } from './tokenizer-models.ts';

/** The files of a tokenizer. */
export interface TokenizerFiles {
  /** tokenizer.json. */
  readonly tokenizer: JsonObject;
  /** tokenizer_config.json. */
  readonly config: JsonObject;
}

const KEY = 'tokenizer.ggml';
/** Caps on a tokenizer.json within a file, those of `checkTokenizerJson` in bytes. */
const EMBEDDED_LIMITS = { maxBytes: 256 * 2 ** 20, maxDepth: 64, maxValues: 2 ** 24 };

/** Caps on a vocabulary. Merges are found by looking at every way to cut every piece: the work grows with the square of a length. */
export const VOCABULARY_CAPS = Object.freeze({
  /** Tokens. */
  tokens: 2 ** 22,
  /** UTF-16 units of one. */
  token: 2 ** 10,
  /** UTF-16 units of all together. */
  text: 2 ** 23,
});

/**
 * The tokenizer of a file, or null where it has none.
 *
 * @param file label of the file in errors.
 * @throws PithError `GGUF_TOKENIZER_UNSUPPORTED`, `GGUF_KEY_MISSING`, `GGUF_VALUE_INVALID`, `GGUF_LIMIT_EXCEEDED`, and those of JSON for a
 * tokenizer.json within the file.
 */
export function ggufTokenizerFiles(metadata: MetadataReader, file: string): TokenizerFiles | null {
  const kind = metadata.text(`${KEY}.model`);
  if (kind === undefined || kind === 'none' || kind === 'no_vocab') return null;
  const tokens = metadata.require(`${KEY}.tokens`, metadata.texts(`${KEY}.tokens`));
  checkVocabulary(tokens, file);
  const types = metadata.numbers(`${KEY}.token_type`) ?? [];
  const config = tokenizerConfig(metadata, tokens);
  const kept = metadata.text('tokenizer.huggingface.json');
  if (kept !== undefined) {
    const origin = { codes: 'JSON', operation: 'open GGUF', file: `${file}: tokenizer.huggingface.json` };
    return { tokenizer: parseJsonObject(new TextEncoder().encode(kept), origin, EMBEDDED_LIMITS), config };
  }
  const made = model(kind, metadata, tokens, types, file);
  return {
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: addedTokens(tokens, types),
      ...made,
    },
    config,
  };
}

function checkVocabulary(tokens: readonly string[], file: string): void {
  const refuse = (what: string, limit: number, got: number): never => {
    throw new PithError(
      'GGUF_LIMIT_EXCEEDED',
      `open GGUF: ${file}: ${KEY}.tokens may have at most ${limit} ${what}, it has ${got}; the file is damaged`,
      { details: { file, key: `${KEY}.tokens`, limit, got } },
    );
  };
  if (tokens.length > VOCABULARY_CAPS.tokens) refuse('tokens', VOCABULARY_CAPS.tokens, tokens.length);
  const longest = tokens.reduce((most, { length }) => Math.max(most, length), 0);
  if (longest > VOCABULARY_CAPS.token) refuse('characters in a token', VOCABULARY_CAPS.token, longest);
  const all = tokens.reduce((sum, { length }) => sum + length, 0);
  if (all > VOCABULARY_CAPS.text) refuse('characters in all tokens', VOCABULARY_CAPS.text, all);
}

/** Everything of a tokenizer.json but its added tokens. */
function model(
  kind: string,
  metadata: MetadataReader,
  tokens: readonly string[],
  types: readonly number[],
  file: string,
): Record<string, JsonValue> {
  switch (kind) {
    case 'gpt2':
      return byteLevel(metadata, tokens, types, file);
    case 'llama':
      return sentencePiece(metadata, tokens, types);
    case 'bert':
      return wordPieceModel({ metadata, tokens, types, template: template(metadata, tokens), file });
    case 't5':
      return unigramModel({ metadata, tokens, types, template: template(metadata, tokens), file });
    default:
      throw new PithError(
        'GGUF_TOKENIZER_UNSUPPORTED',
        `open GGUF: ${file}: ${KEY}.model must be gpt2, llama, bert or t5, got ${JSON.stringify(kind.slice(0, 40))}; open the model that the file was made from`,
        { details: { file, model: kind.slice(0, 40) } },
      );
  }
}

function byteLevel(
  metadata: MetadataReader,
  tokens: readonly string[],
  types: readonly number[],
  file: string,
): Record<string, JsonValue> {
  const name = metadata.text(`${KEY}.pre`) ?? 'default';
  const pre = preTokenizerOf(name);
  if (pre === undefined) {
    const known = PRE_TOKENIZERS.map((one) => one.name).join(', ');
    throw new PithError(
      'GGUF_TOKENIZER_UNSUPPORTED',
      `open GGUF: ${file}: ${KEY}.pre must be one of ${known}, got ${JSON.stringify(name.slice(0, 40))}; open the model that the file was made from`,
      { details: { file, pre: name.slice(0, 40) } },
    );
  }
  const merges = metadata.require(`${KEY}.merges`, metadata.texts(`${KEY}.merges`));
  return {
    normalizer: null,
    pre_tokenizer: pre.json as unknown as JsonValue,
    post_processor: template(metadata, tokens),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: pre.ignoreMerges ?? false,
      vocab: vocabulary(tokens, types, false),
      merges: merges.map((merge) => {
        const space = merge.indexOf(' ', 1);
        return [merge.slice(0, space), merge.slice(space + 1)];
      }),
    },
  };
}

/** U+2581, which stands for a space. */
const SPACE = '\u2581';

function sentencePiece(
  metadata: MetadataReader,
  tokens: readonly string[],
  types: readonly number[],
): Record<string, JsonValue> {
  const scores = metadata.require(`${KEY}.scores`, metadata.numbers(`${KEY}.scores`));
  const prefix = metadata.flag(`${KEY}.add_space_prefix`) ?? true;
  const unknown = metadata.count(`${KEY}.unknown_token_id`) ?? types.indexOf(TOKEN_TYPES.unknown);
  return {
    normalizer: {
      type: 'Sequence',
      normalizers: [
        ...(prefix ? [{ type: 'Prepend', prepend: SPACE }] : []),
        { type: 'Replace', pattern: { String: ' ' }, content: SPACE },
      ],
    },
    pre_tokenizer: null,
    post_processor: template(metadata, tokens),
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        ...(prefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: tokens[unknown] ?? null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: vocabulary(tokens, types, true),
      merges: mergesOf(tokens, scores, types),
    },
  };
}

/** Every pair of pieces that makes a third, those of the best third first; of one third, the shortest left piece first. */
export function mergesOf(
  tokens: readonly string[],
  scores: readonly number[],
  types: readonly number[],
): [string, string][] {
  const plain = (id: number): boolean =>
    (types[id] ?? TOKEN_TYPES.normal) === TOKEN_TYPES.normal || types[id] === TOKEN_TYPES.userDefined;
  const pieces = new Set(tokens.filter((_, id) => plain(id)));
  const order = [...tokens.keys()].filter(plain).sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0) || a - b);
  const merges: [string, string][] = [];
  for (const id of order) {
    const piece = tokens[id]!;
    for (let at = 1; at < piece.length; at++) {
      const left = piece.slice(0, at);
      if (pieces.has(left) && pieces.has(piece.slice(at))) merges.push([left, piece.slice(at)]);
    }
  }
  return merges;
}

/** Ids of pieces; special tokens are in the vocabulary of SentencePiece as well. Fillers for ids without a token are left out. */
function vocabulary(tokens: readonly string[], types: readonly number[], special: boolean): JsonObject {
  const ids: Record<string, number> = Object.create(null) as Record<string, number>;
  for (const [id, token] of tokens.entries()) {
    const type = types[id] ?? TOKEN_TYPES.normal;
    if (type === TOKEN_TYPES.unused && /^\[PAD\d+\]$/.test(token)) continue;
    if (!special && (type === TOKEN_TYPES.control || type === TOKEN_TYPES.userDefined)) continue;
    ids[token] ??= id;
  }
  return ids;
}

/** Tokens that are cut out of a text before anything else. */
function addedTokens(tokens: readonly string[], types: readonly number[]): JsonObject[] {
  const added: JsonObject[] = [];
  for (const [id, content] of tokens.entries()) {
    const type = types[id];
    if (type !== TOKEN_TYPES.unknown && type !== TOKEN_TYPES.control && type !== TOKEN_TYPES.userDefined) continue;
    if (content === '') continue;
    const special = type !== TOKEN_TYPES.userDefined;
    added.push({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special });
  }
  return added;
}

function addsBos(metadata: MetadataReader): boolean {
  return metadata.flag(`${KEY}.add_bos_token`) ?? metadata.text(`${KEY}.model`) === 'llama';
}

function addsEos(metadata: MetadataReader): boolean {
  return metadata.flag(`${KEY}.add_eos_token`) ?? metadata.text(`${KEY}.model`) === 't5';
}

/** What puts tokens before and behind a text, where the file wants them; WordPiece has both always. */
function template(metadata: MetadataReader, tokens: readonly string[]): JsonValue {
  const words = metadata.text(`${KEY}.model`) === 'bert';
  const idOf = (name: string) => metadata.count(`${KEY}.${name}_token_id`);
  const first = words ? (idOf('cls') ?? idOf('bos')) : addsBos(metadata) ? idOf('bos') : undefined;
  const last = words ? (idOf('seperator') ?? idOf('eos')) : addsEos(metadata) ? idOf('eos') : undefined;
  const named = (id: number | undefined) =>
    id === undefined || tokens[id] === undefined ? [] : [{ id, token: tokens[id] }];
  const [before, behind] = [named(first), named(last)];
  if (before.length + behind.length === 0) return null;
  const special = (of: typeof before, type_id: number) =>
    of.map(({ token }) => ({ SpecialToken: { id: token, type_id } }));
  // BERT has one opening token for both texts, others one for each.
  const second = words ? [] : special(before, 1);
  const single = [...special(before, 0), { Sequence: { id: 'A', type_id: 0 } }, ...special(behind, 0)];
  return {
    type: 'TemplateProcessing',
    single,
    pair: [...single, ...second, { Sequence: { id: 'B', type_id: 1 } }, ...special(behind, 1)],
    special_tokens: Object.fromEntries(
      [...before, ...behind].map(({ id, token }) => [token, { id: token, ids: [id], tokens: [token] }]),
    ),
  };
}

function tokenizerConfig(metadata: MetadataReader, tokens: readonly string[]): JsonObject {
  const token = (name: string): string | undefined => {
    const id = metadata.count(`${KEY}.${name}_token_id`);
    return id === undefined ? undefined : tokens[id];
  };
  const named = {
    bos_token: token('bos'),
    eos_token: token('eos'),
    unk_token: token('unknown'),
    pad_token: token('padding'),
    mask_token: token('mask'),
    ...(metadata.text(`${KEY}.model`) === 'bert' && { cls_token: token('cls'), sep_token: token('seperator') }),
  };
  const template = metadata.text('tokenizer.chat_template');
  return {
    tokenizer_class: 'PreTrainedTokenizerFast',
    add_bos_token: addsBos(metadata),
    add_eos_token: addsEos(metadata),
    clean_up_tokenization_spaces: false,
    ...Object.fromEntries(Object.entries(named).filter((entry) => entry[1] !== undefined)),
    ...(template !== undefined && { chat_template: template }),
  } as JsonObject;
}
