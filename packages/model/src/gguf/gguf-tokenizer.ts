// A tokenizer.json as the metadata of a GGUF file. llama.cpp has four kinds that matter here: byte-level BPE ("gpt2") with a named
// pre-tokenizer; SentencePiece-style BPE ("llama"), which has no merges but scores; Unigram ("t5"); WordPiece ("bert"). Each has a
// file of its own, except the first.
import type { GgufValue } from '@pith/checkpoint';
import { sentencePieceKeys } from './sentence-piece.ts';
import { namePreTokenizer } from './pre-tokenizers.ts';
import { TOKEN_TYPES } from './token-types.ts';
import {
  listTokens,
  mergePairs,
  pieceIds,
  templateEnds,
  unsupportedTokenizer,
  type ListedToken,
  type TokenizerJson,
  type TokenizerKeys,
} from './tokenizer-json.ts';
import { unigramKeys } from './unigram.ts';
import { wordPieceKeys } from './word-piece.ts';

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
  /** The token that short texts are filled up with. */
  readonly paddingToken?: string;
  /** The token that stands for a word to be guessed. */
  readonly maskToken?: string;
  /** Whether a text is opened by BOS; what the template does when left out. */
  readonly addBos?: boolean;
  /** A chat template, where there is one. */
  readonly chatTemplate?: string;
  /** Further templates by their names (`tool_use`). */
  readonly namedTemplates?: Readonly<Record<string, string>>;
}

const text = (value: string): GgufValue => ({ type: 'string', value });
const flag = (value: boolean): GgufValue => ({ type: 'bool', value });
const strings = (values: readonly string[]): GgufValue => ({ type: 'array', items: { type: 'string', values } });

/**
 * The metadata of a tokenizer.
 *
 * @param tokenizerJson A parsed tokenizer.json.
 * @throws PithError `GGUF_TOKENIZER_UNSUPPORTED` for a kind or a pre-tokenizer that llama.cpp has no name for, or a token twice.
 */
export function ggufTokenizer(tokenizerJson: unknown, options: GgufTokenizerOptions): Map<string, GgufValue> {
  const json = tokenizerJson as TokenizerJson;
  const ids = pieceIds(json);
  const idOf = (token: string | undefined): number | null =>
    token === undefined
      ? null
      : (json.added_tokens?.find(({ content }) => content === token)?.id ?? ids.get(token) ?? null);
  const { model, pre, tokens, scores, merges, special, more = {} } = keysOf(json, options);
  checkDistinct(tokens);
  const metadata = new Map<string, GgufValue>([
    ['tokenizer.ggml.model', text(model)],
    ['tokenizer.ggml.pre', text(pre)],
    ['tokenizer.ggml.tokens', strings(tokens.map((token) => token.text))],
  ]);
  const set = (key: string, value: GgufValue) => metadata.set(`tokenizer.ggml.${key}`, value);
  if (scores !== undefined) set('scores', { type: 'array', items: { type: 'float32', values: scores } });
  set('token_type', { type: 'array', items: { type: 'int32', values: tokens.map(({ type }) => type) } });
  if (merges !== undefined) set('merges', strings(merges));
  const { first, last } = templateEnds(json);
  const known = {
    bos: options.bosTokenId ?? first,
    eos: options.eosTokenId,
    eot: options.endOfTurnTokenId ?? null,
    unknown: idOf(json.model.unk_token ?? undefined),
    padding: idOf(options.paddingToken),
    mask: idOf(options.maskToken),
    ...special,
  };
  for (const [name, id] of Object.entries(known)) {
    if (id !== null && id < tokens.length) set(`${name}_token_id`, { type: 'uint32', value: id });
  }
  set('add_bos_token', flag(options.addBos ?? (first !== null && first === known.bos)));
  set('add_eos_token', flag(last !== null && last === known.eos));
  for (const [key, value] of Object.entries(more)) set(key, value);
  if (options.chatTemplate !== undefined) metadata.set('tokenizer.chat_template', text(options.chatTemplate));
  const named = Object.entries(options.namedTemplates ?? {});
  if (named.length > 0) {
    // Names are parts of keys.
    const names = named.map(([name]) => name.replace(/[^A-Za-z0-9]/g, '_'));
    metadata.set('tokenizer.chat_templates', strings(names));
    named.forEach(([, template], i) => metadata.set(`tokenizer.chat_template.${names[i]}`, text(template)));
  }
  return metadata;
}

function keysOf(json: TokenizerJson, { vocabularySize }: GgufTokenizerOptions): TokenizerKeys {
  switch (json.model.type) {
    case 'BPE':
      return json.model.byte_fallback === true
        ? sentencePieceKeys(json, vocabularySize)
        : byteLevelKeys(json, vocabularySize);
    case 'WordPiece':
      return wordPieceKeys(json, vocabularySize);
    case 'Unigram':
      return unigramKeys(json, vocabularySize);
    default:
      throw unsupportedTokenizer(`the model must be BPE, WordPiece or Unigram, got ${json.model.type}`);
  }
}

function byteLevelKeys(json: TokenizerJson, size: number): TokenizerKeys {
  const { pre_tokenizer: pre, model } = json;
  const named = namePreTokenizer(pre, model.ignore_merges === true);
  if (named === undefined) {
    throw unsupportedTokenizer(
      `llama.cpp must have a name for how text is cut into words, it has none for ${JSON.stringify(pre ?? null).slice(0, 200)}`,
    );
  }
  return {
    model: 'gpt2',
    pre: named.name,
    tokens: listTokens(json, size, () => TOKEN_TYPES.normal),
    merges: mergePairs(json).map((pair) => pair.join(' ')),
    special: {},
  };
}

/** llama.cpp ends its process where two ids have the same token. */
function checkDistinct(tokens: readonly ListedToken[]): void {
  const seen = new Map<string, number>();
  for (const [id, token] of tokens.entries()) {
    const before = seen.get(token.text);
    if (before !== undefined) {
      throw unsupportedTokenizer(
        `each token must have one id, ${JSON.stringify(token.text.slice(0, 80))} has ${before} and ${id}`,
      );
    }
    seen.set(token.text, id);
  }
}
