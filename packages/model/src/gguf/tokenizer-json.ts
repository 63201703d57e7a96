// The parts of a tokenizer.json that the metadata of a GGUF file is made from, and the list of its tokens.
import type { GgufValue } from '@pith/checkpoint';
import { PithError } from '@pith/tensor-core';
import { TOKEN_TYPES } from './token-types.ts';

/** A step of a normalizer, a pre-tokenizer or a post-processor. */
export interface TokenizerStep {
  readonly type: string;
  readonly [member: string]: unknown;
}

/** A tokenizer.json; it was checked by `createTokenizer`. */
export interface TokenizerJson {
  readonly model: {
    readonly type: string;
    /** Ids by piece, or pieces with their scores in the order of ids (Unigram). */
    readonly vocab: Readonly<Record<string, number>> | readonly (readonly [string, number])[];
    readonly merges?: readonly (string | readonly [string, string])[];
    readonly byte_fallback?: boolean;
    readonly ignore_merges?: boolean;
    readonly unk_token?: string | null;
    readonly unk_id?: number | null;
    readonly continuing_subword_prefix?: string | null;
  };
  readonly added_tokens?: readonly {
    readonly id: number;
    readonly content: string;
    readonly special?: boolean;
    readonly rstrip?: boolean;
  }[];
  readonly pre_tokenizer?: TokenizerStep | null;
  readonly normalizer?: TokenizerStep | null;
  readonly post_processor?: TokenizerStep | null;
}

/** A token as a file lists it. */
export interface ListedToken {
  /** How the file writes it. */
  readonly text: string;
  /** One of `TOKEN_TYPES`. */
  readonly type: number;
}

/** What the kinds of tokenizers differ in. */
export interface TokenizerKeys {
  /** `tokenizer.ggml.model`. */
  readonly model: string;
  /** `tokenizer.ggml.pre`. */
  readonly pre: string;
  /** By id. */
  readonly tokens: readonly ListedToken[];
  /** By id. */
  readonly scores?: readonly number[];
  /** Pairs joined by a space. */
  readonly merges?: readonly string[];
  /** Ids of special tokens by their names in keys: `bos`, `seperator`. */
  readonly special: Readonly<Record<string, number | null>>;
  /** Further keys without `tokenizer.ggml.`. */
  readonly more?: Readonly<Record<string, GgufValue>>;
}

/** Ids by piece, whatever the form of the vocabulary. */
export function pieceIds({ model: { vocab } }: TokenizerJson): ReadonlyMap<string, number> {
  if (isPieceList(vocab)) return new Map(vocab.map(([piece], id) => [piece, id]));
  return new Map(Object.entries(vocab));
}

/** True for the vocabulary of Unigram: pieces with their scores. */
export function isPieceList(vocab: TokenizerJson['model']['vocab']): vocab is readonly (readonly [string, number])[] {
  return Array.isArray(vocab);
}

/**
 * The tokens of a file, by id.
 *
 * @param size Rows of the embedding; ids without a token are filled up.
 * @param typeOf The type of a piece of the vocabulary that is no added token.
 */
export function listTokens(json: TokenizerJson, size: number, typeOf: (piece: string) => number): ListedToken[] {
  const tokens = Array.from({ length: size }, (_, id): ListedToken => ({
    text: `[PAD${id}]`,
    type: TOKEN_TYPES.unused,
  }));
  for (const [text, id] of pieceIds(json)) if (id < size) tokens[id] = { text, type: typeOf(text) };
  for (const { id, content, special } of json.added_tokens ?? []) {
    if (id >= size) continue;
    const known = typeOf(content);
    const own = special ? TOKEN_TYPES.control : TOKEN_TYPES.userDefined;
    tokens[id] = { text: content, type: known === TOKEN_TYPES.unknown ? known : own };
  }
  return tokens;
}

/** Steps of a sequence, one after the other. */
export function stepsOf(step: TokenizerStep | null | undefined): readonly TokenizerStep[] {
  if (step == null) return [];
  if (step.type !== 'Sequence') return [step];
  const inner = step['normalizers'] ?? step['pretokenizers'] ?? step['processors'] ?? [];
  return (inner as readonly TokenizerStep[]).flatMap(stepsOf);
}

/** Tokens that the template of a tokenizer puts before and behind a text; null for none. */
export interface TemplateEnds {
  readonly first: number | null;
  readonly last: number | null;
}

/** What the template puts around one text. */
export function templateEnds({ post_processor: processor }: TokenizerJson): TemplateEnds {
  for (const step of stepsOf(processor)) {
    const { cls, sep } = step as { cls?: readonly [string, number]; sep?: readonly [string, number] };
    if (cls !== undefined && sep !== undefined) return { first: cls[1], last: sep[1] };
    const { single, special_tokens: tokens } = step as {
      single?: readonly { readonly SpecialToken?: { readonly id: string } }[];
      special_tokens?: Readonly<Record<string, { readonly ids: readonly number[] }>>;
    };
    if (single === undefined) continue;
    const idOf = (name: string | undefined) => (name === undefined ? null : (tokens?.[name]?.ids[0] ?? null));
    return { first: idOf(single[0]?.SpecialToken?.id), last: idOf(single.at(-1)?.SpecialToken?.id) };
  }
  return { first: null, last: null };
}

/** Merges as pairs, whatever the style of the file. */
export function mergePairs({ model }: TokenizerJson): (readonly [string, string])[] {
  return (model.merges ?? []).map((merge) => {
    if (typeof merge !== 'string') return merge;
    const space = merge.indexOf(' ', 1);
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
}

/** The error of a tokenizer that llama.cpp does not have. */
export function unsupportedTokenizer(why: string): PithError {
  return new PithError('GGUF_TOKENIZER_UNSUPPORTED', `export GGUF: tokenizer: ${why}; choose another format`, {
    details: { why },
  });
}
