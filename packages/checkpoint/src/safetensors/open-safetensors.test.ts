// Every way in which a safetensors file can be bad, each with its own code. `docs/formats/safetensors.md` lists them.
import { isPithError, type PithError } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { buildFile, CountingBytes } from '../testing/build-safetensors.fixture.ts';
import { openSafetensors } from './open-safetensors.ts';
import { STORED_DTYPES, storedBits } from './stored-dtype.ts';

const entry = (dtype: unknown, shape: unknown, data_offsets: unknown) => ({ dtype, shape, data_offsets });
const open = (bytes: Uint8Array) => openSafetensors(new CountingBytes(bytes), 'bad.safetensors');
const failure = async (bytes: Uint8Array): Promise<PithError> => {
  try {
    await open(bytes);
  } catch (error) {
    if (isPithError(error)) return error;
    throw error;
  }
  throw new Error('the file was accepted');
};

describe('a good file', () => {
  it('gives its tensors in the order of their offsets, and their bytes', async () => {
    const data = Uint8Array.from({ length: 14 }, (_, i) => i);
    const file = await open(
      buildFile(
        { b: entry('F32', [2], [6, 14]), __metadata__: { format: 'pt' }, a: entry('BF16', [1, 3], [0, 6]) },
        data,
      ),
    );
    expect([...file.tensors.keys()]).toEqual(['a', 'b']);
    expect(file.metadata).toEqual(new Map([['format', 'pt']]));
    const b = file.tensors.get('b')!;
    expect(b).toMatchObject({ dtype: 'f32', shape: [2], byteLength: 8, offset: file.dataOffset + 6 });
    expect(await b.source.read(1, 3)).toEqual(data.slice(7, 10));
  });

  it('may have scalars, empty tensors, names from every script and names of Object.prototype', async () => {
    const names = ['constructor', '__proto__', 'größe', '重み', 'a\u0000b', '0'];
    const header = `{${names.map((name) => `${JSON.stringify(name)}:{"dtype":"U8","shape":[0,7],"data_offsets":[0,0]}`).join()}}`;
    const file = await open(buildFile(header));
    expect([...file.tensors.keys()].sort()).toEqual([...names].sort());
    const scalar = await open(buildFile({ s: entry('F64', [], [0, 8]) }, 8));
    expect(scalar.tensors.get('s')).toMatchObject({ shape: [], byteLength: 8 });
    expect((await open(buildFile('{}'))).tensors.size).toBe(0);
    expect((await open(buildFile('{}   '))).tensors.size).toBe(0);
  });

  it.each(STORED_DTYPES)('may have dtype %s, with its exact bytes', async (dtype) => {
    const bytes = (8 * storedBits(dtype)) / 8;
    const file = await open(buildFile({ t: entry(dtype.toUpperCase(), [2, 4], [0, bytes]) }, bytes));
    expect(file.tensors.get('t')).toMatchObject({ dtype, byteLength: bytes });
  });

  it('reads nothing but its header', async () => {
    const bytes = buildFile({ t: entry('U8', [1000], [0, 1000]) }, 1000);
    const source = new CountingBytes(bytes);
    const file = await openSafetensors(source, 'x');
    expect(source.bytesRead).toBe(file.dataOffset);
  });
});

describe('a bad file', () => {
  const good = entry('U8', [4], [0, 4]);
  const deep = '['.repeat(100_000);
  const cases: [what: string, code: string, file: Uint8Array, says: RegExp][] = [
    ['no bytes', 'FILE_TOO_SHORT', new Uint8Array(0), /at least 8 bytes, it has 0/],
    ['seven bytes', 'FILE_TOO_SHORT', new Uint8Array(7), /it has 7/],
    [
      'what Git LFS keeps in its place',
      'LFS_POINTER',
      new TextEncoder().encode('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n'),
      /git lfs pull/,
    ],
    ['a header length of 2^64 - 1', 'HEADER_TOO_LARGE', buildFile('{}', 0, 2n ** 64n - 1n), /18446744073709551615/],
    ['a header length just above the cap', 'HEADER_TOO_LARGE', buildFile('{}', 0, 100_000_001n), /100000000/],
    ['a header length beyond the file', 'HEADER_TRUNCATED', buildFile('{}', 0, 3n), /claims 3 bytes, 2 follow/],
    ['a header that is not UTF-8', 'HEADER_NOT_UTF8', buildFile(Uint8Array.of(0x7b, 0xff, 0x7d)), /UTF-8/],
    ['an overlong UTF-8 form', 'HEADER_NOT_UTF8', buildFile(Uint8Array.of(0x7b, 0xc0, 0xaf, 0x7d)), /UTF-8/],
    ['a byte-order mark', 'HEADER_SYNTAX', buildFile('\ufeff{}'), /as the first byte/],
    ['an empty header', 'HEADER_SYNTAX', buildFile(''), /got the end/],
    ['white space before the brace', 'HEADER_SYNTAX', buildFile(' {}'), /as the first byte/],
    ['a list as its header', 'HEADER_SYNTAX', buildFile('[]'), /as the first byte/],
    ['JSON that ends too early', 'HEADER_SYNTAX', buildFile('{"a":{"dtype":"U8"'), /got the end/],
    ['text behind the JSON', 'HEADER_SYNTAX', buildFile('{} x'), /expected the end/],
    ['zero bytes as padding', 'HEADER_SYNTAX', buildFile('{}\0\0'), /expected the end/],
    ['a comma too many', 'HEADER_SYNTAX', buildFile('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},}'), /"/],
    ['a lone surrogate in a name', 'HEADER_SYNTAX', buildFile('{"\\ud800":1}'), /surrogate/],
    ['a control character in a name', 'HEADER_SYNTAX', buildFile('{"a\nb":1}'), /control character/],
    ['a bad escape', 'HEADER_SYNTAX', buildFile('{"\\x41":1}'), /escape/],
    [
      'a name twice',
      'DUPLICATE_NAME',
      buildFile(`{"a":${JSON.stringify(good)},"\\u0061":${JSON.stringify(good)}}`, 4),
      /"a".*twice/,
    ],
    ['metadata twice', 'DUPLICATE_NAME', buildFile('{"__metadata__":{},"__metadata__":{}}'), /twice/],
    ['an empty name', 'NAME_INVALID', buildFile({ '': good }, 4), /1 to 4096/],
    ['a name of 5000 characters', 'NAME_INVALID', buildFile({ ['x'.repeat(5000)]: good }, 4), /1 to 4096/],
    ['metadata that is a list', 'METADATA_INVALID', buildFile({ __metadata__: [] }), /object of strings/],
    ['metadata with a number', 'METADATA_INVALID', buildFile({ __metadata__: { a: 1 } }), /"a" must be a string/],
    ['a metadata key twice', 'METADATA_INVALID', buildFile('{"__metadata__":{"a":"","a":""}}'), /"a" occurs twice/],
    ['an entry that is a number', 'ENTRY_INVALID', buildFile({ a: 1 }), /"a".*object/],
    ['nesting 100,000 deep', 'ENTRY_INVALID', buildFile(`{"a":${deep}`), /"a".*object/],
    ['nesting in a shape', 'SHAPE_INVALID', buildFile(`{"a":{"dtype":"U8","shape":${deep}`), /"a".*whole numbers/],
    ['an empty entry', 'ENTRY_INVALID', buildFile({ a: {} }), /"dtype" is missing/],
    ['no shape', 'ENTRY_INVALID', buildFile({ a: { dtype: 'U8', data_offsets: [0, 0] } }), /"shape" is missing/],
    ['no offsets', 'ENTRY_INVALID', buildFile({ a: { dtype: 'U8', shape: [0] } }), /"data_offsets" is missing/],
    ['a field that the format lacks', 'ENTRY_INVALID', buildFile({ a: { ...good, strides: [1] } }, 4), /"strides"/],
    ['a field twice', 'ENTRY_INVALID', buildFile('{"a":{"dtype":"U8","dtype":"I8"}}'), /"dtype" occurs twice/],
    ['a dtype that is a number', 'ENTRY_INVALID', buildFile({ a: entry(8, [4], [0, 4]) }, 4), /dtype must be a string/],
    ['an unknown dtype', 'DTYPE_UNKNOWN', buildFile({ a: entry('F33', [4], [0, 4]) }, 4), /"F33".*BF16/],
    ['a dtype in lower case', 'DTYPE_UNKNOWN', buildFile({ a: entry('u8', [4], [0, 4]) }, 4), /"u8"/],
    ['a dtype named like a method', 'DTYPE_UNKNOWN', buildFile({ a: entry('toString', [4], [0, 4]) }, 4), /toString/],
    ['a negative axis', 'SHAPE_INVALID', buildFile({ a: entry('U8', [-4], [0, 4]) }, 4), /got -4/],
    ['a fraction as an axis', 'SHAPE_INVALID', buildFile('{"a":{"dtype":"U8","shape":[4.0]'), /got 4\.0/],
    ['an axis in scientific notation', 'SHAPE_INVALID', buildFile('{"a":{"dtype":"U8","shape":[1e3]'), /got 1e3/],
    ['a string as an axis', 'SHAPE_INVALID', buildFile({ a: entry('U8', ['4'], [0, 4]) }, 4), /whole numbers/],
    ['null as a shape', 'SHAPE_INVALID', buildFile({ a: entry('U8', null, [0, 4]) }, 4), /list/],
    ['an axis of 2^53', 'SHAPE_INVALID', buildFile('{"a":{"dtype":"U8","shape":[9007199254740992]'), /2\^53/],
    ['an axis of 400 digits', 'SHAPE_INVALID', buildFile(`{"a":{"dtype":"U8","shape":[${'9'.repeat(400)}]`), /2\^53/],
    ['33 axes', 'SHAPE_INVALID', buildFile({ a: entry('U8', Array(33).fill(1), [0, 1]) }, 1), /more than 32/],
    ['half a byte', 'SHAPE_INVALID', buildFile({ a: entry('F4', [3], [0, 2]) }, 2), /whole number of bytes/],
    [
      'axes whose product overflows',
      'SHAPE_OVERFLOW',
      buildFile({ a: entry('U8', [2 ** 27, 2 ** 27], [0, 4]) }, 4),
      /2\^53/,
    ],
    [
      'an overflow that a 0 would hide',
      'SHAPE_OVERFLOW',
      buildFile({ a: entry('U8', [2 ** 52, 4, 0], [0, 0]) }),
      /2\^53/,
    ],
    ['bits that overflow', 'SHAPE_OVERFLOW', buildFile({ a: entry('F64', [2 ** 50], [0, 4]) }, 4), /2\^53/],
    ['one offset', 'OFFSETS_INVALID', buildFile({ a: entry('U8', [4], [0]) }, 4), /\[start, end\]/],
    ['three offsets', 'OFFSETS_INVALID', buildFile({ a: entry('U8', [4], [0, 4, 8]) }, 4), /more than 2/],
    ['offsets backwards', 'OFFSETS_INVALID', buildFile({ a: entry('U8', [4], [4, 0]) }, 4), /start <= end/],
    ['a negative offset', 'OFFSETS_INVALID', buildFile({ a: entry('U8', [4], [-4, 0]) }, 4), /got -4/],
    [
      'a span too short for its dtype',
      'SIZE_MISMATCH',
      buildFile({ a: entry('F32', [4], [0, 4]) }, 4),
      /takes 16 bytes.*span 4/,
    ],
    ['a span too long', 'SIZE_MISMATCH', buildFile({ a: entry('U8', [4], [0, 8]) }, 8), /takes 4 bytes.*span 8/],
    [
      'an overlap',
      'OFFSETS_OVERLAP',
      buildFile({ a: good, b: entry('U8', [4], [2, 6]) }, 6),
      /"b".*inside of tensor "a"/,
    ],
    ['two tensors on the same bytes', 'OFFSETS_OVERLAP', buildFile({ a: good, b: good }, 4), /"b"/],
    ['a gap', 'OFFSETS_GAP', buildFile({ a: good, b: entry('U8', [4], [6, 10]) }, 10), /"b".*bytes from 4/],
    ['data before the first tensor', 'OFFSETS_GAP', buildFile({ a: entry('U8', [4], [1, 5]) }, 5), /bytes from 0/],
    [
      'an offset far outside',
      'OFFSETS_OUT_OF_RANGE',
      buildFile({ a: good, b: entry('U8', [4], [2 ** 40, 2 ** 40 + 4]) }, 8),
      /"b".*outside the 8 bytes/,
    ],
    [
      'a file that was cut',
      'FILE_TRUNCATED',
      buildFile({ a: good, b: entry('U8', [4], [4, 8]) }, 7),
      /"b".*ends 1 bytes too early/,
    ],
    ['bytes behind the tensors', 'TRAILING_BYTES', buildFile({ a: good }, 5), /1 bytes follow/],
    ['bytes and no tensors', 'TRAILING_BYTES', buildFile('{}', 1), /1 bytes follow/],
  ];

  it.each(cases)('%s is %s', async (_, code, file, says) => {
    const error = await failure(file);
    expect(error.code).toBe(`SAFETENSORS_${code}`);
    expect(error.message).toMatch(says);
    expect(error.message).toContain('bad.safetensors');
    expect(error.message).toMatch(/get the file again|get it again/);
    expect(error.details['file']).toBe('bad.safetensors');
  });

  it('names every code of the format in some case', () => {
    const codes = new Set(cases.map(([, code]) => code));
    expect(codes.size).toBe(20);
  });

  it('passes on what the source says when the file shrinks while it is read', async () => {
    const bytes = buildFile({ a: good }, 4);
    const source = new CountingBytes(bytes);
    const file = await openSafetensors(source, 'x');
    await expect(file.tensors.get('a')!.source.read(2, 3)).rejects.toMatchObject({ code: 'BYTES_OUT_OF_RANGE' });
    await expect(file.tensors.get('a')!.source.read(-1, 3)).rejects.toMatchObject({ code: 'BYTES_OUT_OF_RANGE' });
  });
});
