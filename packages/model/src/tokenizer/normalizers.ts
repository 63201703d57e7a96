// Normalizers of a tokenizer.json: what happens to a text before it is cut. Each is what the class of this name does in the
// `tokenizers` library; case and categories are those of the Unicode version of the JavaScript engine.
import { toByteCharacters } from './byte-level.ts';
import { compilePattern, unsupported, type PatternJson } from './pattern.ts';
import { precompiledMap } from './precompiled-map.ts';

/** A component as tokenizer.json writes it. */
export interface Component {
  /** Its class. */
  readonly type?: unknown;
  readonly [option: string]: unknown;
}

/** Changes a text. */
export type Normalizer = (text: string) => string;

/** Characters between these, both included, are ideographs that BERT puts spaces around. */
const IDEOGRAPHS =
  /[\u{4E00}-\u{9FFF}\u{3400}-\u{4DBF}\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\u{F900}-\u{FAFF}\u{2F800}-\u{2FA1F}]/gu;

/** Lower case character by character: no rule looks at a neighbour, so that a final sigma is like any other. */
const lowercase: Normalizer = (text) => text.replace(/./gsu, (character) => character.toLowerCase());

function bert(given: Component): Normalizer {
  const clean = given['clean_text'] !== false;
  const ideographs = given['handle_chinese_chars'] !== false;
  const lower = given['lowercase'] !== false;
  const strip = typeof given['strip_accents'] === 'boolean' ? given['strip_accents'] : lower;
  return (text) => {
    let result = text;
    if (clean) {
      result = result.replace(/[^\t\n\r\P{Cc}]|[\p{Cf}\p{Co}\0\uFFFD]/gu, '').replace(/\p{White_Space}/gu, ' ');
    }
    if (ideographs) result = result.replace(IDEOGRAPHS, ' $& ');
    if (strip) result = result.normalize('NFD').replace(/\p{Mn}/gu, '');
    return lower ? lowercase(result) : result;
  };
}

/** SentencePiece's cleaning of machine-translation text. */
const nmt: Normalizer = (text) =>
  text
    .replace(/[\u0001-\u0008\u000B\u000E-\u001F\u007F\u008F\u009F]/g, '')
    .replace(/[\u0009\u000A\u000C\u000D\u1680\u200B-\u200F\u2028\u2029\u2581\uFEFF\uFFFD]/g, ' ');

const unicode = (form: string): Normalizer => {
  return (text) => text.normalize(form);
};

function strip(given: Component): Normalizer {
  const left = given['strip_left'] !== false;
  const right = given['strip_right'] !== false;
  return (text) => {
    const start = left ? text.replace(/^\p{White_Space}+/u, '') : text;
    return right ? start.replace(/\p{White_Space}+$/u, '') : start;
  };
}

function replace(given: Component): Normalizer {
  const pattern = compilePattern(given['pattern'] as PatternJson, 'normalizer');
  const content = typeof given['content'] === 'string' ? given['content'] : '';
  return (text) => text.replaceAll(pattern, () => content);
}

/**
 * A normalizer; undefined for null.
 *
 * @throws PithError `TOKENIZER_UNSUPPORTED` naming what is not known.
 */
export function createNormalizer(given: unknown): Normalizer | undefined {
  if (given === null || given === undefined) return undefined;
  const component = given as Component;
  switch (component.type) {
    case 'Sequence': {
      const steps = list(component['normalizers']).map(createNormalizer);
      return (text) => steps.reduce((result, step) => (step ? step(result) : result), text);
    }
    case 'BertNormalizer':
      return bert(component);
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return unicode(component.type);
    case 'Nmt':
      return nmt;
    case 'Lowercase':
      return lowercase;
    case 'Strip':
      return strip(component);
    case 'StripAccents':
      return (text) => text.replace(/\p{M}/gu, '');
    case 'Prepend': {
      const { prepend } = component as { prepend?: unknown };
      if (typeof prepend !== 'string') throw unsupported('normalizer', 'Prepend without the text');
      return (text) => (text === '' ? text : prepend + text);
    }
    case 'Replace':
      return replace(component);
    case 'ByteLevel':
      return toByteCharacters;
    case 'Precompiled':
      return precompiledMap(component['precompiled_charsmap']);
    default:
      throw unsupported('normalizer', JSON.stringify(component.type) ?? 'one without a type');
  }
}

/** Members of a sequence. */
export function list(given: unknown): readonly unknown[] {
  return Array.isArray(given) ? given : [];
}
