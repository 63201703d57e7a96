// Passes over a value that nobody needs without building it.
import type { JsonReader } from './json-reader.ts';

const MAX_DEPTH = 64;

/**
 * Moves the reader behind the next value, which must be well-formed.
 *
 * @throws PithError `<codes>_SYNTAX`, also for values nested deeper than 64.
 */
export function skipJsonValue(reader: JsonReader, nonFinite = false, depth = 1): void {
  switch (reader.peek()) {
    case '"':
      reader.string();
      return;
    case 't':
      return reader.word('true');
    case 'f':
      return reader.word('false');
    case 'n':
      return reader.word('null');
    case '[':
    case '{':
      return skipContainer(reader, nonFinite, depth);
    default:
      reader.numberText(nonFinite);
  }
}

function skipContainer(reader: JsonReader, nonFinite: boolean, depth: number): void {
  if (depth > MAX_DEPTH) throw reader.fail(`a value nested at most ${MAX_DEPTH} deep`);
  const isObject = reader.accept('{');
  if (!isObject) reader.expect('[');
  const close = isObject ? '}' : ']';
  if (reader.accept(close)) return;
  do {
    if (isObject) {
      reader.string();
      reader.expect(':');
    }
    skipJsonValue(reader, nonFinite, depth + 1);
  } while (reader.accept(','));
  reader.expect(close);
}
