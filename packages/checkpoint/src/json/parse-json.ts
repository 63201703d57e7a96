// JSON documents from strangers (config.json, an index) as data: bounded in size, depth and number of values, without
// duplicate keys, and as objects without a prototype, so that no name in a file can reach into Object.prototype.
import { PithError } from '@pith/tensor-core';
import { decodeUtf8, JsonReader, type JsonOrigin } from './json-reader.ts';

/** A value of a JSON document. Objects have no prototype. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;

/** An object of a JSON document, without a prototype. */
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

/** What a document may cost. */
export interface JsonLimits {
  /** Most bytes of text. */
  readonly maxBytes: number;
  /** Deepest nesting of objects and lists. */
  readonly maxDepth: number;
  /** Most values, objects and lists included. */
  readonly maxValues: number;
}

/** The caps on config.json and its like. */
export const DOCUMENT_LIMITS: JsonLimits = Object.freeze({
  maxBytes: 16 * 1024 * 1024,
  maxDepth: 64,
  maxValues: 500_000,
});

const DEFAULT_ORIGIN: JsonOrigin = { codes: 'JSON', operation: 'parse JSON', file: 'the text' };

/**
 * Parses a JSON object.
 *
 * Python's `NaN` and `Infinity` are taken as numbers. Integers beyond 2^53 are rounded, as `JSON.parse` does: write a
 * document back by {@link setMembers}, which keeps the text of what it does not touch.
 *
 * @throws PithError `JSON_TOO_LARGE`, `JSON_NOT_UTF8`, `JSON_SYNTAX`, `JSON_TOO_DEEP`, `JSON_TOO_MANY_VALUES`,
 * `JSON_DUPLICATE_KEY`, `JSON_FORBIDDEN_KEY` (`__proto__`), `JSON_NOT_AN_OBJECT`.
 */
export function parseJsonObject(
  bytes: Uint8Array,
  origin: Partial<JsonOrigin> = {},
  limits: JsonLimits = DOCUMENT_LIMITS,
): JsonObject {
  const from = { ...DEFAULT_ORIGIN, ...origin };
  checkSize(bytes.length, from, limits);
  const reader = new JsonReader(decodeUtf8(bytes, from), from);
  if (reader.peek() !== '{') {
    throw problem(from, 'NOT_AN_OBJECT', `${from.file} must hold a JSON object`, {});
  }
  const value = new DocumentParser(reader, limits).value(1) as JsonObject;
  reader.end();
  return value;
}

/**
 * Refuses a document by its size, before it is read.
 *
 * @throws PithError `JSON_TOO_LARGE`.
 */
export function checkSize(byteLength: number, origin: JsonOrigin, limits: JsonLimits = DOCUMENT_LIMITS): void {
  if (byteLength <= limits.maxBytes) return;
  throw problem(origin, 'TOO_LARGE', `${origin.file} may have at most ${limits.maxBytes} bytes, it has ${byteLength}`, {
    byteLength,
    limit: limits.maxBytes,
  });
}

function problem(origin: JsonOrigin, code: string, what: string, details: Record<string, unknown>): PithError {
  return new PithError(`${origin.codes}_${code}`, `${origin.operation}: ${what}; get the file again or correct it`, {
    details: { file: origin.file, ...details },
  });
}

class DocumentParser {
  private readonly reader: JsonReader;
  private readonly limits: JsonLimits;
  private values = 0;

  constructor(reader: JsonReader, limits: JsonLimits) {
    this.reader = reader;
    this.limits = limits;
  }

  /** `depth` is that of an object or list that starts here. */
  value(depth: number): JsonValue {
    const { reader, limits } = this;
    this.values += 1;
    if (this.values > limits.maxValues) {
      const what = `${reader.origin.file} may hold at most ${limits.maxValues} values`;
      throw problem(reader.origin, 'TOO_MANY_VALUES', what, { limit: limits.maxValues });
    }
    switch (reader.peek()) {
      case '{':
        return this.object(depth);
      case '[':
        return this.list(depth);
      case '"':
        return reader.string();
      case 't':
        reader.word('true');
        return true;
      case 'f':
        reader.word('false');
        return false;
      case 'n':
        reader.word('null');
        return null;
      default:
        return Number(reader.numberText(true));
    }
  }

  private enter(depth: number): void {
    if (depth <= this.limits.maxDepth) return;
    const { origin } = this.reader;
    const what = `${origin.file} may nest at most ${this.limits.maxDepth} deep`;
    throw problem(origin, 'TOO_DEEP', what, { limit: this.limits.maxDepth });
  }

  private list(depth: number): JsonValue[] {
    this.enter(depth);
    const { reader } = this;
    const result: JsonValue[] = [];
    reader.expect('[');
    if (reader.accept(']')) return result;
    do result.push(this.value(depth + 1));
    while (reader.accept(','));
    reader.expect(']');
    return result;
  }

  private object(depth: number): JsonObject {
    this.enter(depth);
    const { reader } = this;
    const result: Record<string, JsonValue> = Object.create(null) as Record<string, JsonValue>;
    reader.expect('{');
    if (reader.accept('}')) return result;
    do {
      const key = reader.string();
      if (key === '__proto__') {
        throw problem(reader.origin, 'FORBIDDEN_KEY', `${reader.origin.file} has the key "__proto__"`, { key });
      }
      if (key in result) {
        const what = `${reader.origin.file} has the key ${JSON.stringify(key)} twice in one object`;
        throw problem(reader.origin, 'DUPLICATE_KEY', what, { key });
      }
      reader.expect(':');
      result[key] = this.value(depth + 1);
    } while (reader.accept(','));
    reader.expect('}');
    return result;
  }
}
