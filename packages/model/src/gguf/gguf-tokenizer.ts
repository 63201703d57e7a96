// A tokenizer.json as the metadata of a GGUF file. llama.cpp knows two kinds that matter here: byte-level BPE ("gpt2") with a
// named pre-tokenizer, and SentencePiece-style BPE ("llama"), which has no merges but scores: the better of two
// neighbouring pairs is merged first, so that the index of a merge, negated, is the score of the piece it makes.
import type { GgufValue } from '@pith/checkpoint';
import { PithError } from '@pith/tensor-core';
import { namePreTokenizer } from './pre-tokenizers.ts';
import { TOKEN_TYPES } from './token-types.ts';

/** The parts of a tokenizer.json that are read here; it was checked by `createTokenizer`. */
interface TokenizerJson {
  readonly model: {
    readonly type: string;
    readonly vocab: Readonly<Record<string, number>>;
    readonly merges?: readonly (string | readonly [string, string])[];
    readonly byte_fallback?: boolean;
    readonly ignore_merges?: boolean;
    readonly unk_token?: string | null;
  };
  readonly added_tokens?: readonly { readonly id: number; readonly content: string; readonly special?: boolean }[];
  readonly pre_tokenizer?: PreTokenizer | null;
  readonly normalizer?: { readonly type: string; readonly normalizers?: readonly { readonly type: string }[] } | null;
}

interface PreTokenizer {
  readonly type: string;
  readonly use_regex?: boolean;
  readonly individual_digits?: boolean;
  readonly prepend_scheme?: string;
  readonly pattern?: { readonly Regex?: string };
  readonly pretokenizers?: readonly PreTokenizer[];
}

/** What beside tokenizer.json decides the metadata. */
export interface GgufTokenizerOptions {
  /** Rows of the embedding; ids without a token are filled up. */
  readonly vocabularySize: number;
  /** Null for none. */
  readonly bosTokenId: number | null;
  /** The first of the tokens that end a text; null for none. */
  readonly eosTokenId: number | null;
  /** Another token that ends a text: the end of a turn. */
  readonly endOfTurnTokenId?: number;
  /** Whether a text is opened by BOS. */
  readonly addBos: boolean;
  /** A chat template, where there is one. */
  readonly chatTemplate?: string;
}

/**
 * The metadata of a tokenizer.
 *
 * @param tokenizerJson A parsed tokenizer.json.
 * @throws PithError `GGUF_TOKENIZER_UNSUPPORTED` for a kind or a pre-tokenizer that llama.cpp has no name for.
 */
export function ggufTokenizer(tokenizerJson: unknown, options: GgufTokenizerOptions): Map<string, GgufValue> {
  const json = tokenizerJson as TokenizerJson;
  if (json.model.type !== 'BPE') throw unsupported(`the model must be BPE, got ${json.model.type}`);
  const sentencePiece = json.model.byte_fallback === true;
  const tokens = tokenList(json, options.vocabularySize, sentencePiece);
  const strings = (values: readonly string[]): GgufValue => ({ type: 'array', items: { type: 'string', values } });
  const metadata = new Map<string, GgufValue>([
    ['tokenizer.ggml.model', { type: 'string', value: sentencePiece ? 'llama' : 'gpt2' }],
    ['tokenizer.ggml.pre', { type: 'string', value: sentencePiece ? 'default' : preTokenizerName(json) }],
    ['tokenizer.ggml.tokens', strings(tokens.map(({ text }) => text))],
  ]);
  if (sentencePiece) {
    const scores = pieceScores(json, tokens);
    metadata.set('tokenizer.ggml.scores', { type: 'array', items: { type: 'float32', values: scores } });
  }
  const types = tokens.map(({ type }) => type);
  metadata.set('tokenizer.ggml.token_type', { type: 'array', items: { type: 'int32', values: types } });
  if (!sentencePiece) metadata.set('tokenizer.ggml.merges', strings(mergePairs(json).map((pair) => pair.join(' '))));
  const special: readonly (readonly [string, number | null])[] = [
    ['bos', options.bosTokenId],
    ['eos', options.eosTokenId],
    ['eot', options.endOfTurnTokenId ?? null],
    ['unknown', json.model.unk_token == null ? null : (json.model.vocab[json.model.unk_token] ?? null)],
  ];
  for (const [name, id] of special) {
    if (id !== null) metadata.set(`tokenizer.ggml.${name}_token_id`, { type: 'uint32', value: id });
  }
  metadata.set('tokenizer.ggml.add_bos_token', { type: 'bool', value: options.addBos });
  metadata.set('tokenizer.ggml.add_eos_token', { type: 'bool', value: false });
  if (sentencePiece) metadata.set('tokenizer.ggml.add_space_prefix', { type: 'bool', value: prependsSpace(json) });
  if (options.chatTemplate !== undefined) {
    metadata.set('tokenizer.chat_template', { type: 'string', value: options.chatTemplate });
  }
  return metadata;
}

interface Token {
  readonly text: string;
  readonly type: number;
}

function tokenList(json: TokenizerJson, size: number, sentencePiece: boolean): Token[] {
  const tokens = Array.from({ length: size }, (_, id): Token => ({ text: `[PAD${id}]`, type: TOKEN_TYPES.unused }));
  for (const [text, id] of Object.entries(json.model.vocab)) {
    const byte = sentencePiece && /^<0x[0-9A-F]{2}>$/.test(text);
    if (id < size) tokens[id] = { text, type: byte ? TOKEN_TYPES.byte : TOKEN_TYPES.normal };
  }
  for (const { id, content, special } of json.added_tokens ?? []) {
    const unknown = sentencePiece && content === json.model.unk_token;
    const type = unknown ? TOKEN_TYPES.unknown : special ? TOKEN_TYPES.control : TOKEN_TYPES.userDefined;
    if (id < size) tokens[id] = { text: content, type };
  }
  return tokens;
}

function mergePairs(json: TokenizerJson): (readonly [string, string])[] {
  return (json.model.merges ?? []).map((merge) => {
    if (typeof merge !== 'string') return merge;
    const space = merge.indexOf(' ', 1);
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
}

function pieceScores(json: TokenizerJson, tokens: readonly Token[]): number[] {
  const pairs = mergePairs(json);
  const first = new Map<string, number>();
  pairs.forEach(([left, right], index) => {
    const piece = left + right;
    if (!first.has(piece)) first.set(piece, index);
  });
  return tokens.map(({ text, type }, id) => {
    if (type !== TOKEN_TYPES.normal) return 0;
    const merge = first.get(text);
    return -(merge ?? pairs.length + id);
  });
}

function preTokenizerName({ pre_tokenizer: pre, model }: TokenizerJson): string {
  const named = namePreTokenizer(pre, model.ignore_merges === true);
  if (named !== undefined) return named.name;
  throw unsupported(
    `llama.cpp must have a name for how text is cut into words, it has none for ${JSON.stringify(pre ?? null).slice(0, 200)}`,
  );
}

/** Whether a space is put before a text: by the normalizer, or by a Metaspace pre-tokenizer. */
function prependsSpace({ normalizer, pre_tokenizer: pre }: TokenizerJson): boolean {
  const normalizers = normalizer?.type === 'Sequence' ? (normalizer.normalizers ?? []) : normalizer ? [normalizer] : [];
  return (
    normalizers.some(({ type }) => type === 'Prepend') || (pre?.type === 'Metaspace' && pre.prepend_scheme !== 'never')
  );
}

function unsupported(why: string): PithError {
  return new PithError('GGUF_TOKENIZER_UNSUPPORTED', `export GGUF: tokenizer: ${why}; choose another format`, {
    details: { why },
  });
}
