// Decoders of a tokenizer.json: how tokens become text again. Each is what the class of this name does in the `tokenizers` library;
// that of CTC (speech) is not among them.
import { decodeByteRun } from './byte-fallback.ts';
import { fromByteCharacters } from './byte-level.ts';
import { list, type Component } from './normalizers.ts';
import { compilePattern, unsupported, type PatternJson } from './pattern.ts';
import { prependScheme } from './pre-tokenizers.ts';

/** Changes tokens on their way to text; what it leaves is put behind one another. */
export type Decoder = (tokens: readonly string[]) => readonly string[];

const PART = 'decoder';

const TIDY: readonly (readonly [string, string])[] = [
  [' .', '.'],
  [' ?', '?'],
  [' !', '!'],
  [' ,', ','],
  [" ' ", "'"],
  [" n't", "n't"],
  [" 'm", "'m"],
  [" 's", "'s"],
  [" 've", "'ve"],
  [" 're", "'re"],
];

/** Takes away the spaces that English does not write before punctuation and endings. */
export function tidySpaces(text: string): string {
  return TIDY.reduce((result, [spaced, closed]) => result.replaceAll(spaced, closed), text);
}

function wordPiece(given: Component): Decoder {
  const prefix = typeof given['prefix'] === 'string' ? given['prefix'] : '##';
  const tidy = given['cleanup'] !== false;
  return (tokens) =>
    tokens.map((token, index) => {
      if (index === 0) return tidy ? tidySpaces(token) : token;
      const text = prefix !== '' && token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      return tidy ? tidySpaces(text) : text;
    });
}

function metaspace(given: Component): Decoder {
  const mark = typeof given['replacement'] === 'string' ? given['replacement'] : '\u2581';
  const prefixed = prependScheme(given) !== 'never';
  return (tokens) => tokens.map((token, index) => token.replaceAll(mark, prefixed && index === 0 ? '' : ' '));
}

function byteFallback(tokens: readonly string[]): string[] {
  const result: string[] = [];
  let bytes: number[] = [];
  const flush = () => {
    if (bytes.length > 0) result.push(decodeByteRun(Uint8Array.from(bytes)));
    bytes = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
    if (byte) {
      bytes.push(Number.parseInt(byte[1]!, 16));
      continue;
    }
    flush();
    result.push(token);
  }
  flush();
  return result;
}

function strip(given: Component): Decoder {
  const { content, start = 0, stop = 0 } = given as { content?: unknown; start?: unknown; stop?: unknown };
  if (typeof content !== 'string' || typeof start !== 'number' || typeof stop !== 'number') {
    throw unsupported(PART, 'Strip without content, start and stop');
  }
  return (tokens) =>
    tokens.map((token) => {
      const characters = Array.from(token);
      let from = 0;
      while (from < start && characters[from] === content) from++;
      let to = characters.length;
      while (characters.length - to < stop && to > from && characters[to - 1] === content) to--;
      return characters.slice(from, to).join('');
    });
}

/**
 * A decoder; undefined for null.
 *
 * @throws PithError `TOKENIZER_UNSUPPORTED` naming what is not known.
 */
export function createDecoder(given: unknown): Decoder | undefined {
  if (given === null || given === undefined) return undefined;
  const component = given as Component;
  switch (component.type) {
    case 'Sequence': {
      const steps = list(component['decoders']).flatMap((step) => createDecoder(step) ?? []);
      return (tokens) => steps.reduce((result, step) => step(result), tokens);
    }
    case 'ByteLevel':
      return (tokens) => [fromByteCharacters(tokens)];
    case 'WordPiece':
      return wordPiece(component);
    case 'Metaspace':
      return metaspace(component);
    case 'BPEDecoder': {
      const suffix = typeof component['suffix'] === 'string' ? component['suffix'] : '</w>';
      return (tokens) => tokens.map((token, index) => token.replaceAll(suffix, index === tokens.length - 1 ? '' : ' '));
    }
    case 'Replace': {
      const pattern = compilePattern(component['pattern'] as PatternJson, PART);
      const content = typeof component['content'] === 'string' ? component['content'] : '';
      return (tokens) => tokens.map((token) => token.replaceAll(pattern, () => content));
    }
    case 'Fuse':
      return (tokens) => [tokens.join('')];
    case 'Strip':
      return strip(component);
    case 'ByteFallback':
      return byteFallback;
    default:
      throw unsupported(PART, JSON.stringify(component.type) ?? 'one without a type');
  }
}
