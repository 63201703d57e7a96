// A strict JSON reader that goes through a text from left to right. `JSON.parse` hides duplicate keys, builds a whole
// tree before a schema can refuse it, and rounds integers without a word; files from strangers need to be refused at
// the first wrong value, before memory is spent on them.
//
// RFC 8259, with two restrictions: no lone surrogates in strings, and (by the callers) no duplicate keys. One widening
// on request: Python's `NaN`, `Infinity` and `-Infinity`, which some config.json files hold.
import { PithError } from '@pith/tensor-core';

/** How errors of a reader are called and where the text comes from. */
export interface JsonOrigin {
  /** First part of the error codes: `JSON` makes `JSON_SYNTAX`, `JSON_NOT_UTF8`, `JSON_DUPLICATE_KEY`. */
  readonly codes: string;
  /** The operation, which opens the messages: `read config.json`. */
  readonly operation: string;
  /** The file that is read. */
  readonly file: string;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const NON_FINITE = /-?Infinity|NaN/y;
const ESCAPES: Readonly<Record<string, string>> = Object.freeze({
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
});

/**
 * The text of UTF-8 bytes.
 *
 * @throws PithError `<codes>_NOT_UTF8`.
 */
export function decodeUtf8(bytes: Uint8Array, origin: JsonOrigin): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new PithError(
      `${origin.codes}_NOT_UTF8`,
      `${origin.operation}: the text must be UTF-8, ${origin.file} has bytes that are not; get the file again`,
      { details: { file: origin.file }, cause },
    );
  }
}

/** A cursor over a JSON text. */
export class JsonReader {
  readonly text: string;
  readonly origin: JsonOrigin;
  /** Place of the next character. */
  position = 0;

  constructor(text: string, origin: JsonOrigin) {
    this.text = text;
    this.origin = origin;
  }

  /** A syntax error at the cursor. `expected` completes "expected ...". */
  fail(expected: string, at = this.position): PithError {
    const found = at < this.text.length ? JSON.stringify(this.text.slice(at, at + 12)) : 'the end';
    const { codes, operation, file } = this.origin;
    return new PithError(
      `${codes}_SYNTAX`,
      `${operation}: expected ${expected} at character ${at} of the JSON in ${file}, got ${found}; get the file again`,
      { details: { file, position: at } },
    );
  }

  /** The next character after white space, without passing it; '' at the end. */
  peek(): string {
    for (;;) {
      const code = this.text.charCodeAt(this.position);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) break;
      this.position += 1;
    }
    return this.text.charAt(this.position);
  }

  /** Passes one character, after white space. */
  expect(character: string): void {
    if (this.peek() !== character) throw this.fail(`"${character}"`);
    this.position += 1;
  }

  /** Passes one character if it is next, after white space. */
  accept(character: string): boolean {
    if (this.peek() !== character) return false;
    this.position += 1;
    return true;
  }

  /** Nothing but white space may be left. */
  end(): void {
    if (this.peek() !== '') throw this.fail('the end');
  }

  /** Reads a string. */
  string(): string {
    this.expect('"');
    const { text } = this;
    let start = this.position;
    let result = '';
    let escaped = false;
    for (let i = start; ; i += 1) {
      const code = text.charCodeAt(i);
      if (code === QUOTE) {
        this.position = i + 1;
        result = result === '' ? text.slice(start, i) : result + text.slice(start, i);
        break;
      }
      if (code === BACKSLASH) {
        result += text.slice(start, i);
        this.position = i + 1;
        result += this.escape();
        escaped = true;
        start = this.position;
        i = start - 1;
        continue;
      }
      // The comparison is false for NaN, which is the end of the text.
      if (!(code >= 0x20)) throw this.fail(i < text.length ? 'no control character in a string' : 'the end quote', i);
    }
    // Decoded UTF-8 holds none: only an escape can make one.
    if (escaped && /\p{Surrogate}/u.test(result)) throw this.fail('no lone surrogate in a string');
    return result;
  }

  private escape(): string {
    const letter = this.text.charAt(this.position);
    if (letter === 'u') {
      const digits = this.text.slice(this.position + 1, this.position + 5);
      if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw this.fail('four hexadecimal digits');
      this.position += 5;
      return String.fromCharCode(Number.parseInt(digits, 16));
    }
    const value = ESCAPES[letter];
    if (value === undefined) throw this.fail('an escape sequence');
    this.position += 1;
    return value;
  }

  /** Reads a number and returns its text; `nonFinite` also takes Python's NaN and Infinity. */
  numberText(nonFinite = false): string {
    this.peek();
    for (const pattern of nonFinite ? [NUMBER, NON_FINITE] : [NUMBER]) {
      pattern.lastIndex = this.position;
      const match = pattern.exec(this.text);
      if (match) {
        this.position += match[0].length;
        return match[0];
      }
    }
    throw this.fail('a number');
  }

  /** Passes a word: `true`, `false`, `null`. */
  word(word: string): void {
    this.peek();
    if (!this.text.startsWith(word, this.position)) throw this.fail(word);
    this.position += word.length;
  }
}
