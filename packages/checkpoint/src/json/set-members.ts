// Changes single members of a JSON object and leaves every other byte of its text as it was: numbers keep their
// spelling (`1e-05`, `10000.0`, integers beyond 2^53), which parsing and printing would change. transformers tells
// 10000 from 10000.0 where a field must be a float.
import { DOCUMENT_LIMITS, parseJsonObject, type JsonObject, type JsonValue } from './parse-json.ts';
import { JsonReader } from './json-reader.ts';
import { skipJsonValue } from './skip-json-value.ts';

interface Member {
  /** From the key's quote to the end of the value. */
  readonly start: number;
  readonly end: number;
}

/**
 * The text of a JSON object with some members replaced, added at the end, or (`undefined`) removed.
 *
 * New values are printed with an indentation of two spaces. A value of type number prints as JavaScript does.
 *
 * @throws PithError as {@link parseJsonObject} does.
 */
export function setMembers(text: string, members: Readonly<Record<string, JsonValue | undefined>>): string {
  parseJsonObject(new TextEncoder().encode(text), {}, DOCUMENT_LIMITS);
  const found = findMembers(text);
  let result = text;
  for (const [key, value] of Object.entries(members)) {
    const member = found.get(key);
    result = member ? replaceMember(result, key, value) : value === undefined ? result : addMember(result, key, value);
  }
  return result;
}

function findMembers(text: string): Map<string, Member> {
  const reader = new JsonReader(text, { codes: 'JSON', operation: 'edit JSON', file: 'the text' });
  const result = new Map<string, Member>();
  reader.expect('{');
  if (reader.accept('}')) return result;
  do {
    reader.peek();
    const start = reader.position;
    const key = reader.string();
    reader.expect(':');
    skipJsonValue(reader, true);
    result.set(key, { start, end: reader.position });
  } while (reader.accept(','));
  reader.expect('}');
  return result;
}

function replaceMember(text: string, key: string, value: JsonValue | undefined): string {
  const members = findMembers(text);
  const member = members.get(key)!;
  if (value !== undefined) return text.slice(0, member.start) + printMember(key, value) + text.slice(member.end);
  // A removed member takes one comma and the white space on its side along.
  const all = [...members.values()];
  const index = all.indexOf(member);
  if (index > 0) return text.slice(0, all[index - 1]!.end) + text.slice(member.end);
  const next = all[1];
  return text.slice(0, member.start) + (next ? text.slice(next.start) : text.slice(member.end));
}

function addMember(text: string, key: string, value: JsonValue): string {
  const last = [...findMembers(text).values()].at(-1);
  if (last) return `${text.slice(0, last.end)},\n  ${printMember(key, value)}${text.slice(last.end)}`;
  const brace = text.indexOf('{') + 1;
  return `${text.slice(0, brace)}\n  ${printMember(key, value)}\n${text.slice(brace).trimStart()}`;
}

function printMember(key: string, value: JsonValue): string {
  return `${JSON.stringify(key)}: ${printJson(value, 1)}`;
}

/** JSON with an indentation of two spaces, starting at `level`; NaN and infinities in Python's spelling. */
export function printJson(value: JsonValue, level = 0): string {
  if (typeof value === 'number' && !Number.isFinite(value)) return Number.isNaN(value) ? 'NaN' : `${value}`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  const inner = '  '.repeat(level + 1);
  const outer = '  '.repeat(level);
  if (Array.isArray(value)) {
    const items = (value as readonly JsonValue[]).map((item) => inner + printJson(item, level + 1));
    return items.length === 0 ? '[]' : `[\n${items.join(',\n')}\n${outer}]`;
  }
  const entries = Object.entries(value as JsonObject);
  const lines = entries.map(([key, item]) => `${inner}${JSON.stringify(key)}: ${printJson(item, level + 1)}`);
  return lines.length === 0 ? '{}' : `{\n${lines.join(',\n')}\n${outer}}`;
}
