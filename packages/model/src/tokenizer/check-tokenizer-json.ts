// tokenizer.json comes from strangers: shape and caps are checked before the library sees it, so that a bad file is an
// error that names the fault and never a giant allocation. What is not bounded: the running time of a regular
// expression that the file brings for cutting words.
import { PithError } from '@pith/tensor-core';
import type { AddedTokenJson } from './added-tokens.ts';

/** Caps on a tokenizer.json. */
export const TOKENIZER_CAPS = Object.freeze({
  /** Entries of the vocabulary, merges, and largest id. */
  entries: 2 ** 22,
  /** Added tokens. */
  addedTokens: 2 ** 17,
  /** UTF-16 units of one piece or merge. */
  piece: 2 ** 14,
  /** UTF-16 units of a string in normalizers, pre-tokenizers, decoders (precompiled maps are long). */
  text: 2 ** 23,
  /** UTF-16 units of a regular expression. */
  pattern: 2 ** 14,
  /** Nested levels of normalizers, pre-tokenizers, decoders, post-processors. */
  depth: 24,
  /** Values in those. */
  nodes: 2 ** 16,
});

/** Steps that need a pattern. */
const PATTERNED = ['Split', 'Replace'];
const MODELS = ['BPE', 'Unigram', 'WordPiece'];

type Json = Readonly<Record<string, unknown>>;
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isId = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) < TOKENIZER_CAPS.entries;
const isPattern = (value: unknown) => isObject(value) && typeof (value['Regex'] ?? value['String']) === 'string';
const isPiece = (value: unknown) => typeof value === 'string' && value.length <= TOKENIZER_CAPS.piece;

function refuse(constraint: string, got: string): never {
  throw new PithError('TOKENIZER_INVALID', `read tokenizer: ${constraint}, got ${got}; mend tokenizer.json`, {
    details: { constraint, got },
  });
}

/** A short picture of a value for messages. */
function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function checkVocabulary(model: Json): void {
  const { vocab, type } = model;
  if (type === 'Unigram') {
    if (!Array.isArray(vocab)) refuse('model.vocab of Unigram must be a list', show(vocab));
    if (vocab.length > TOKENIZER_CAPS.entries) refuse(`at most ${TOKENIZER_CAPS.entries} pieces`, `${vocab.length}`);
    for (const entry of vocab as unknown[]) {
      if (!Array.isArray(entry) || !isPiece(entry[0]) || !Number.isFinite(entry[1])) {
        refuse('an entry of model.vocab must be [piece, finite score]', show(entry));
      }
    }
    return;
  }
  if (!isObject(vocab)) refuse('model.vocab must be an object of ids', show(vocab));
  const seen = new Set<number>();
  for (const [piece, id] of Object.entries(vocab)) {
    if (!isPiece(piece)) refuse(`a piece must have at most ${TOKENIZER_CAPS.piece} characters`, `${piece.length}`);
    if (!isId(id))
      refuse(`id of piece ${show(piece)} must be a whole number below ${TOKENIZER_CAPS.entries}`, show(id));
    if (seen.has(id)) refuse('an id must belong to one piece', `${id} twice, the second time for ${show(piece)}`);
    seen.add(id);
  }
}

function checkMerges(model: Json): void {
  const { merges } = model;
  if (!Array.isArray(merges)) refuse('model.merges of BPE must be a list', show(merges));
  if (merges.length > TOKENIZER_CAPS.entries) refuse(`at most ${TOKENIZER_CAPS.entries} merges`, `${merges.length}`);
  const pairs = Array.isArray(merges[0]);
  for (const merge of merges as unknown[]) {
    const good = pairs
      ? Array.isArray(merge) && merge.length === 2 && isPiece(merge[0]) && isPiece(merge[1])
      : isPiece(merge) && (merge as string).indexOf(' ') > 0;
    if (!good) refuse('a merge must be two pieces, all written in the same way', show(merge));
  }
}

/** Options of models with the type of each. */
const OPTIONS: Readonly<Record<string, string>> = {
  unk_token: 'string',
  continuing_subword_prefix: 'string',
  end_of_word_suffix: 'string',
  fuse_unk: 'boolean',
  byte_fallback: 'boolean',
  ignore_merges: 'boolean',
  max_input_chars_per_word: 'number',
};

function checkOptions(model: Json): void {
  for (const [option, type] of Object.entries(OPTIONS)) {
    const value = model[option] ?? undefined;
    const good = typeof value === type && (type !== 'string' || isPiece(value));
    if (value !== undefined && !good) refuse(`model.${option} must be a ${type}`, show(value));
  }
  const { unk_id: unknown, vocab, type } = model;
  const pieces = Array.isArray(vocab) ? vocab.length : 0;
  if (type === 'Unigram' && unknown !== undefined && unknown !== null && !(isId(unknown) && unknown < pieces)) {
    refuse(`model.unk_id must be the index of one of ${pieces} pieces`, show(unknown));
  }
}

const FLAGS = ['special', 'single_word', 'lstrip', 'rstrip', 'normalized'];

function checkAddedTokens(tokens: unknown): void {
  if (!Array.isArray(tokens)) refuse('added_tokens must be a list', show(tokens));
  if (tokens.length > TOKENIZER_CAPS.addedTokens) {
    refuse(`at most ${TOKENIZER_CAPS.addedTokens} added tokens`, `${tokens.length}`);
  }
  for (const token of tokens as unknown[]) {
    const good = isObject(token) && isPiece(token.content) && token.content !== '' && isId(token.id);
    if (!good) refuse('an added token must have an id and a content that is not empty', show(token));
    const odd = FLAGS.find((flag) => token[flag] !== undefined && typeof token[flag] !== 'boolean');
    if (odd !== undefined) refuse(`${odd} of an added token must be true or false`, show(token));
  }
}

/** Walks normalizers and the like: depth, count and lengths only; their types are checked by the library. */
function checkPipeline(value: unknown, part: string): void {
  let nodes = 0;
  const walk = (node: unknown, depth: number, key: string): void => {
    if (++nodes > TOKENIZER_CAPS.nodes) refuse(`${part} must have at most ${TOKENIZER_CAPS.nodes} values`, 'more');
    if (depth > TOKENIZER_CAPS.depth) refuse(`${part} must be nested at most ${TOKENIZER_CAPS.depth} deep`, 'more');
    // A pattern that is missing or of another kind would be passed over without a word.
    if (isObject(node) && PATTERNED.includes(String(node['type'])) && !isPattern(node['pattern'])) {
      refuse(`the pattern of ${String(node['type'])} in ${part} must be a String or a Regex`, show(node['pattern']));
    }
    if (typeof node === 'string') {
      const cap = key === 'Regex' ? TOKENIZER_CAPS.pattern : TOKENIZER_CAPS.text;
      if (node.length > cap) refuse(`a string in ${part} must have at most ${cap} characters`, `${node.length}`);
    } else if (typeof node === 'object' && node !== null) {
      for (const [name, child] of Object.entries(node)) walk(child, depth + 1, name);
    }
  };
  if (value !== null && !isObject(value)) refuse(`${part} must be an object or null`, show(value));
  walk(value, 0, part);
}

/** A tokenizer.json whose outline is known to be sound; the parts that may be left out are null. */
export interface CheckedTokenizerJson {
  readonly added_tokens: readonly AddedTokenJson[];
  readonly model: { readonly type: string; readonly vocab: unknown; readonly byte_fallback?: boolean };
  readonly normalizer: unknown;
  readonly pre_tokenizer: unknown;
  readonly post_processor: unknown;
  readonly decoder: unknown;
}

/**
 * Checks the outline and the caps of a parsed tokenizer.json.
 *
 * @throws PithError `TOKENIZER_INVALID`.
 */
export function checkTokenizerJson(json: unknown): CheckedTokenizerJson {
  if (!isObject(json)) refuse('the file must be an object', show(json));
  const { model, added_tokens = [] } = json;
  if (!isObject(model)) refuse('model must be an object', show(model));
  // Files before 2021 leave the type of a BPE model out.
  const type = model.type ?? ('merges' in model ? 'BPE' : undefined);
  if (typeof type !== 'string' || !MODELS.includes(type)) {
    refuse(`model.type must be one of ${MODELS.join(', ')}`, show(type));
  }
  checkVocabulary({ ...model, type });
  checkOptions({ ...model, type });
  if (type === 'BPE') checkMerges(model);
  checkAddedTokens(added_tokens);
  const parts = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null } as Record<
    string,
    unknown
  >;
  for (const part of Object.keys(parts)) {
    parts[part] = json[part] ?? null;
    checkPipeline(parts[part], part);
  }
  return { ...json, ...parts, model: { ...model, type }, added_tokens } as unknown as CheckedTokenizerJson;
}
