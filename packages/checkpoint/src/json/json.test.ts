import { isPithError, type PithError } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { parseJsonObject, type JsonLimits, type JsonValue } from './parse-json.ts';
import { printJson, setMembers } from './set-members.ts';

const parse = (text: string | Uint8Array, limits?: JsonLimits) =>
  parseJsonObject(typeof text === 'string' ? new TextEncoder().encode(text) : text, { file: 'config.json' }, limits);
const failure = (text: string | Uint8Array, limits?: JsonLimits): PithError => {
  try {
    parse(text, limits);
  } catch (error) {
    if (isPithError(error)) return error;
    throw error;
  }
  throw new Error('accepted');
};
/** With prototypes, for comparison with `JSON.parse`. */
const plain = (value: JsonValue): unknown => JSON.parse(JSON.stringify(value)) as unknown;

describe('parseJsonObject', () => {
  it.each([
    '{}',
    ' { "a" : [ ] , "b":{ } }\n',
    '{"s":"\\u00e9\\n\\"\\\\\\/\\b\\f\\r\\t\\ud83d\\ude00","é":"重"}',
    '{"n":[0,-0,1,-1,1.5,1e3,1E-3,-2.5e+10,123456789012345678901234567890,1e400]}',
    '{"l":[true,false,null,[[[]]],{"x":{"y":[1]}}]}',
  ])('reads %s as JSON.parse does', (text) => {
    expect(plain(parse(text))).toEqual(plain(JSON.parse(text) as JsonValue));
  });

  it("takes Python's NaN and Infinity, which some config.json files hold", () => {
    expect(parse('{"a":NaN,"b":[Infinity,-Infinity]}')).toMatchObject({ a: Number.NaN, b: [Infinity, -Infinity] });
  });

  it('makes objects that no name can reach out of', () => {
    const value = parse('{"constructor":{"prototype":{"polluted":1}},"toString":2}');
    expect(Object.getPrototypeOf(value)).toBeNull();
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(value['hasOwnProperty']).toBeUndefined();
    expect(failure('{"a":{"__proto__":{"polluted":1}}}').code).toBe('JSON_FORBIDDEN_KEY');
    expect(failure('{"\\u005f_proto__":1}').code).toBe('JSON_FORBIDDEN_KEY');
  });

  const limits = { maxBytes: 1000, maxDepth: 3, maxValues: 10 };
  it.each([
    ['a key twice', '{"a":1,"\\u0061":2}', 'JSON_DUPLICATE_KEY'],
    ['a key twice, deep inside', '{"x":[{"a":1,"a":2}]}', 'JSON_DUPLICATE_KEY'],
    ['nesting beyond the limit', '{"a":[[[]]]}', 'JSON_TOO_DEEP'],
    ['more values than the limit', `{"a":[${'1,'.repeat(10)}1]}`, 'JSON_TOO_MANY_VALUES'],
    ['more bytes than the limit', `{"a":"${'x'.repeat(1000)}"}`, 'JSON_TOO_LARGE'],
    ['a list', '[]', 'JSON_NOT_AN_OBJECT'],
    ['nothing', '', 'JSON_NOT_AN_OBJECT'],
    ['a byte-order mark', '\ufeff{}', 'JSON_NOT_AN_OBJECT'],
    ['two objects', '{}{}', 'JSON_SYNTAX'],
    ['a comma too many', '{"a":1,}', 'JSON_SYNTAX'],
    ['a comment', '{"a":1/* */}', 'JSON_SYNTAX'],
    ['single quotes', "{'a':1}", 'JSON_SYNTAX'],
    ['no quotes', '{a:1}', 'JSON_SYNTAX'],
    ['a leading zero', '{"a":01}', 'JSON_SYNTAX'],
    ['a leading plus', '{"a":+1}', 'JSON_SYNTAX'],
    ['a number without digits', '{"a":.5}', 'JSON_SYNTAX'],
    ['undefined', '{"a":undefined}', 'JSON_SYNTAX'],
    ['an open string', '{"a":"x', 'JSON_SYNTAX'],
    ['an open object', '{"a":1', 'JSON_SYNTAX'],
    ['a tab in a string', '{"a":"\t"}', 'JSON_SYNTAX'],
    ['a short escape', '{"a":"\\u12"}', 'JSON_SYNTAX'],
    ['a lone surrogate', '{"a":"\\udc00"}', 'JSON_SYNTAX'],
    ['an escape at the end', '{"a":"\\', 'JSON_SYNTAX'],
  ])('refuses %s', (_, text, code) => {
    const error = failure(text, limits);
    expect(error.code).toBe(code);
    expect(error.message).toContain('config.json');
    expect(error.details['file']).toBe('config.json');
  });

  it('refuses bytes that are not UTF-8', () => {
    expect(failure(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)).code).toBe('JSON_NOT_UTF8');
  });

  it('refuses a nest of a million lists without a stack overflow', () => {
    expect(failure(`{"a":${'['.repeat(1_000_000)}`).code).toBe('JSON_TOO_DEEP');
    expect(failure(`{"a":${'{"a":'.repeat(1_000_000)}`).code).toBe('JSON_TOO_DEEP');
  });

  it('refuses millions of small objects before they cost memory', () => {
    expect(failure(`{"a":[${'{},'.repeat(2_000_000)}{}]}`).code).toBe('JSON_TOO_MANY_VALUES');
  });
});

describe('setMembers', () => {
  const text =
    '{\n  "rms_norm_eps": 1e-05,\n  "rope_theta": 10000.0,\n  "big": 12345678901234567890,\n  "x": {"a": [1]}\n}\n';

  it('replaces, adds and removes members and leaves the spelling of all others', () => {
    expect(setMembers(text, { rope_theta: 5, x: undefined, new: { b: [], c: {} } })).toBe(
      '{\n  "rms_norm_eps": 1e-05,\n  "rope_theta": 5,\n  "big": 12345678901234567890,\n' +
        '  "new": {\n    "b": [],\n    "c": {}\n  }\n}\n',
    );
  });

  it('removes the first, the last and the only member', () => {
    expect(setMembers('{"a": 1, "b": 2}', { a: undefined })).toBe('{"b": 2}');
    expect(setMembers('{"a": 1, "b": 2}', { b: undefined })).toBe('{"a": 1}');
    expect(setMembers('{ "a": 1 }', { a: undefined })).toBe('{  }');
    expect(setMembers('{"a": 1}', { missing: undefined })).toBe('{"a": 1}');
  });

  it('adds to an empty object', () => {
    expect(JSON.parse(setMembers('{}', { a: 1 }))).toEqual({ a: 1 });
    expect(JSON.parse(setMembers(' { } ', { a: 1, b: 2 }))).toEqual({ a: 1, b: 2 });
  });

  it('is not misled by keys inside of values, by strings that look like members, or by escapes', () => {
    const tricky = '{"v": {"a": 1}, "s": "\\"a\\": 2, }", "\\u0061": 3}';
    expect(setMembers(tricky, { a: 9 })).toBe('{"v": {"a": 1}, "s": "\\"a\\": 2, }", "a": 9}');
  });

  it('passes over NaN and Infinity and prints them in the same spelling', () => {
    const result = setMembers('{"a": [NaN, -Infinity], "b": 1}', { b: [Number.NaN, -Infinity] });
    expect(result).toBe('{"a": [NaN, -Infinity], "b": [\n    NaN,\n    -Infinity\n  ]}');
  });

  it('refuses text that is not a sound object', () => {
    expect(() => setMembers('{"a":1,"a":2}', {})).toThrow(expect.objectContaining({ code: 'JSON_DUPLICATE_KEY' }));
  });
});

describe('printJson', () => {
  it('prints as JSON.stringify with two spaces does', () => {
    const value = { a: [1, { b: null }], c: 'x"\n', d: {}, e: [], f: true };
    expect(printJson(value)).toBe(JSON.stringify(value, null, 2));
  });
});
