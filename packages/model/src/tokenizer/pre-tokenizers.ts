// Pre-tokenizers of a tokenizer.json: how a normalized text is cut into the words that the model sees. Each is what the class of
// this name does in the `tokenizers` library. `UnicodeScripts` is not among them.
import { toByteCharacters } from './byte-level.ts';
import { list, type Component } from './normalizers.ts';
import {
  behaviorOf,
  compilePattern,
  splitPiece,
  unsupported,
  type PatternJson,
  type Piece,
  type SplitBehavior,
} from './pattern.ts';

/** Cuts a piece into smaller ones. */
export type PreTokenizer = (piece: Piece) => Piece[];

const PART = 'pre_tokenizer';
const SPACE = /\p{White_Space}/gu;
const WORD = '\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200C\\u200D';
const WORDS = new RegExp(`[${WORD}]+|[^${WORD}\\p{White_Space}]+`, 'gu');
const PUNCTUATION = /[!-/:-@[-`{-~\p{P}]/gu;
const NUMERIC = /\p{N}/gu;
/** GPT-2's way to cut, with the white space of Unicode. */
const GPT2 =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

const cut = (pattern: RegExp, behavior: SplitBehavior, invert = false): PreTokenizer => {
  return (piece) => splitPiece(piece, pattern, behavior, invert);
};

const then = (first: PreTokenizer, second: PreTokenizer): PreTokenizer => {
  return (piece) => first(piece).flatMap(second);
};

function byteLevel(given: Component): PreTokenizer {
  // Both are true where the file is silent.
  const prefix = given['add_prefix_space'] !== false;
  const words = given['use_regex'] !== false;
  return (piece) => {
    const text = prefix && !piece.text.startsWith(' ') ? ` ${piece.text}` : piece.text;
    const own = { ...piece, text };
    const pieces = words ? splitPiece(own, GPT2, 'Isolated') : [own];
    return pieces.map((word) => ({ ...word, text: toByteCharacters(word.text) }));
  };
}

/** Whether a mark is put before a text, as old and new files say it. */
export function prependScheme(given: Component): 'always' | 'first' | 'never' {
  const { prepend_scheme: scheme = 'always', add_prefix_space: prefix } = given;
  if (scheme !== 'always' && scheme !== 'first' && scheme !== 'never') {
    throw unsupported(String(given.type), `prepend_scheme ${JSON.stringify(scheme)}`);
  }
  return prefix === false ? 'never' : scheme;
}

function metaspace(given: Component): PreTokenizer {
  const mark = typeof given['replacement'] === 'string' ? given['replacement'] : '\u2581';
  const scheme = prependScheme(given);
  const marks = compilePattern({ String: mark }, PART);
  const whole = given['split'] === false;
  return (piece) => {
    let text = piece.text.replaceAll(' ', () => mark);
    const wanted = scheme === 'always' || (scheme === 'first' && piece.first);
    if (wanted && !text.startsWith(mark)) text = mark + text;
    const own = { ...piece, text };
    return whole ? [own] : splitPiece(own, marks, 'MergedWithNext');
  };
}

function fixedLength(given: Component): PreTokenizer {
  const length = given['length'];
  if (!Number.isInteger(length) || (length as number) < 1) throw unsupported(PART, 'FixedLength without a length');
  return ({ text, first }) => {
    const characters = Array.from(text);
    return Array.from({ length: Math.ceil(characters.length / (length as number)) }, (_, i) => ({
      text: characters.slice(i * (length as number), (i + 1) * (length as number)).join(''),
      first: first && i === 0,
    }));
  };
}

/**
 * A pre-tokenizer; undefined for null.
 *
 * @throws PithError `TOKENIZER_UNSUPPORTED` naming what is not known.
 */
export function createPreTokenizer(given: unknown): PreTokenizer | undefined {
  if (given === null || given === undefined) return undefined;
  const component = given as Component;
  switch (component.type) {
    case 'Sequence':
      return list(component['pretokenizers'])
        .flatMap((step) => createPreTokenizer(step) ?? [])
        .reduce(then, (piece) => [piece]);
    case 'ByteLevel':
      return byteLevel(component);
    case 'Metaspace':
      return metaspace(component);
    case 'Split':
      return cut(
        compilePattern(component['pattern'] as PatternJson, PART),
        behaviorOf(component['behavior'], PART),
        component['invert'] === true,
      );
    case 'Punctuation':
      return cut(PUNCTUATION, behaviorOf(component['behavior'] ?? 'Isolated', PART));
    case 'Digits':
      return cut(NUMERIC, component['individual_digits'] === true ? 'Isolated' : 'Contiguous');
    case 'Whitespace':
      return cut(WORDS, 'Removed', true);
    case 'WhitespaceSplit':
      return cut(SPACE, 'Removed');
    case 'BertPreTokenizer':
      return then(cut(SPACE, 'Removed'), cut(PUNCTUATION, 'Isolated'));
    case 'CharDelimiterSplit':
      return cut(compilePattern({ String: String(component['delimiter']) }, PART), 'Removed');
    case 'FixedLength':
      return fixedLength(component);
    default:
      throw unsupported(PART, JSON.stringify(component.type) ?? 'one without a type');
  }
}
