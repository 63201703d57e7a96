import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { describe, expect, it } from 'vitest';
import { createTokenizer } from './tokenizer.ts';

const json = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as unknown;
const load = (model: string) =>
  createTokenizer(
    json(shared(`models/${model}/tokenizer.json`)),
    json(shared(`models/${model}/tokenizer_config.json`)),
  );
// idsSha256 in the reference is of little-endian u32.
const sha256 = (ids: Int32Array) => createHash('sha256').update(new Uint8Array(ids.buffer)).digest('hex');

interface Reference {
  tokenization: { cases: { text: string; ids: number[]; decoded: string; decodedSkipSpecial: string }[] };
  perplexity: { cases: { file: string; firstBytes: number | null; tokens: number; idsSha256: string }[] };
}

// golden/stories260k/reference.json: tokenizers 0.23.3, Tokenizer.from_file(tokenizer.json).
describe.skipIf(!hasShared)('stories260k against the reference tokenizer', () => {
  const tokenizer = hasShared ? load('stories260k') : undefined!;
  const reference = hasShared ? (json(shared('golden/stories260k/reference.json')) as Reference) : undefined;

  it.each(reference?.tokenization.cases ?? [])(
    'ids and text of $text',
    ({ text, ids, decoded, decodedSkipSpecial }) => {
      expect([...tokenizer.encode(text)]).toEqual(ids);
      expect(tokenizer.decode(ids)).toBe(decoded);
      expect(tokenizer.decode(ids, { skipSpecial: true })).toBe(decodedSkipSpecial);
    },
  );

  it('ids of whole files, each one BPE word', () => {
    for (const { file, firstBytes, tokens, idsSha256 } of reference!.perplexity.cases) {
      const bytes = readFileSync(shared(file.replace('shared/', '')));
      const ids = tokenizer.encode(
        new TextDecoder().decode(firstBytes === null ? bytes : bytes.subarray(0, firstBytes)),
      );
      expect(ids).toHaveLength(tokens);
      expect(sha256(ids)).toBe(idsSha256);
    }
  });
});

it.skipIf(!hasShared)('docs6m: a byte-level tokenizer returns every text unchanged', () => {
  const tokenizer = load('docs6m');
  expect(tokenizer.size).toBe(4096);
  const texts = [
    '',
    'plain words',
    '  two  spaces\n\ttab ',
    'ünïcödé 漢字 😀 \uFEFF\u0000',
    readFileSync(shared('data/docs-eval.txt'), 'utf8').slice(0, 20_000),
  ];
  for (const text of texts) expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
});

const tiny = {
  added_tokens: [{ id: 0, content: '<unk>', special: true }],
  model: {
    type: 'BPE',
    vocab: { '<unk>': 0, a: 1, b: 2, ab: 3, '<0xF0>': 4, '<0xE2>': 5, '<0x82>': 6, '<0xAC>': 7 },
    merges: ['a b'],
    unk_token: '<unk>',
    byte_fallback: true,
  },
  decoder: { type: 'Sequence', decoders: [{ type: 'ByteFallback' }, { type: 'Fuse' }] },
};

describe('byte fallback', () => {
  const tokenizer = createTokenizer(tiny);

  it('writes bytes of characters that have no piece, and reads them back', () => {
    expect([...tokenizer.encode('ab€')]).toEqual([3, 5, 6, 7]);
    expect(tokenizer.decode([3, 5, 6, 7])).toBe('ab€');
  });

  it('decodes each byte of a broken run to one replacement character', () => {
    expect(tokenizer.decode([1, 4, 5, 6, 2])).toBe('a\uFFFD\uFFFD\uFFFDb');
  });

  it('leaves out ids beyond the vocabulary', () => {
    expect(tokenizer.decode([1, 99, 2])).toBe('ab');
    expect(tokenizer.decode([])).toBe('');
  });
});

describe('a bad tokenizer.json', () => {
  const withModel = (model: object) => ({ ...tiny, model: { ...tiny.model, ...model } });
  let deep: object = { type: 'Lowercase' };
  for (let level = 0; level < 40; level++) deep = { type: 'Sequence', normalizers: [deep] };

  it.each([
    ['not an object', null, 'the file must be an object'],
    ['no model', {}, 'model must be an object'],
    ['unknown model', withModel({ type: 'Magic' }), 'model.type must be one of'],
    ['no vocabulary', withModel({ vocab: 3 }), 'model.vocab must be an object'],
    ['giant id', withModel({ vocab: { a: 2 ** 31 } }), 'whole number below'],
    ['fractional id', withModel({ vocab: { a: 0.5 } }), 'whole number below'],
    ['an id twice', withModel({ vocab: { a: 1, b: 1 } }), 'must belong to one piece'],
    ['merges missing', withModel({ merges: undefined }), 'model.merges'],
    ['a merge of one piece', withModel({ merges: ['ab'] }), 'must be two pieces'],
    ['merges in two styles', withModel({ merges: [['a', 'b'], 'a b'] }), 'must be two pieces'],
    ['an endless piece', withModel({ vocab: { ['a'.repeat(20_000)]: 1 } }), 'at most 16384 characters'],
    ['a bad added token', { ...tiny, added_tokens: [{ id: -1, content: 'x' }] }, 'added token'],
    ['deep nesting', { ...tiny, normalizer: deep }, 'nested at most'],
    [
      'a giant pattern',
      { ...tiny, pre_tokenizer: { type: 'Split', pattern: { Regex: 'a'.repeat(20_000) } } },
      'at most 16384',
    ],
    ['a pattern of no kind', { ...tiny, pre_tokenizer: { type: 'Split', pattern: {} } }, 'must be a String or a Regex'],
    ['a list for a decoder', { ...tiny, decoder: [] }, 'decoder must be an object'],
    ['Unigram without scores', withModel({ type: 'Unigram', vocab: [['a', NaN]] }), 'finite score'],
  ])('%s', (_name, file, message) => {
    expect(() => createTokenizer(file)).toThrow(
      expect.objectContaining({ code: 'TOKENIZER_INVALID', message: expect.stringContaining(message) as string }),
    );
  });

  it('an unknown normalizer is named', () => {
    const file = { ...tiny, normalizer: { type: 'Mystery' } };
    expect(() => createTokenizer(file)).toThrow(
      expect.objectContaining({ code: 'TOKENIZER_UNSUPPORTED', message: expect.stringContaining('Mystery') as string }),
    );
  });

  it('text without a token is refused when there is no unknown token', () => {
    const bare = createTokenizer({ model: { type: 'WordPiece', vocab: { a: 0 }, unk_token: '[UNK]' } });
    expect(() => bare.encode('z')).toThrow(expect.objectContaining({ code: 'TOKENIZER_FAILED' }));
  });
});
