// Every pipeline that published models of the supported architectures have, and every component by itself, against the
// `tokenizers` library: ids, text, special tokens and segments of nasty texts. The fixture names the version and the calls.
import { readFileSync } from 'node:fs';
import { isPithError } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { createTokenizer } from './tokenizer.ts';

interface Pipeline {
  readonly name: string;
  readonly model: string;
  readonly options?: object;
  readonly ids: readonly string[];
  readonly decoded: readonly (string | null)[];
  readonly special: string;
  readonly both: string;
  readonly segments: string;
}

interface Fixture {
  readonly texts: readonly string[];
  readonly pair: readonly [number, string];
  readonly models: Readonly<Record<string, { readonly added_tokens: readonly object[]; readonly model: object }>>;
  readonly pipelines: readonly Pipeline[];
}

const { texts, pair, models, pipelines } = JSON.parse(
  readFileSync(new URL('pipelines.fixture.json', import.meta.url), 'utf8'),
) as Fixture;

/** The tokenizer.json of a pipeline. */
function fileOf(pipeline: Pipeline): Record<string, unknown> {
  const { added_tokens, model } = models[pipeline.model]!;
  return { ...pipeline, added_tokens, model: { ...model, ...pipeline.options } };
}

const joined = (ids: Int32Array) => ids.join(' ');

describe('as the tokenizers library does', () => {
  it.each(pipelines.map((pipeline) => [pipeline.name, pipeline] as const))('%s', (_name, pipeline) => {
    const tokenizer = createTokenizer(fileOf(pipeline));
    for (const [index, text] of texts.entries()) {
      const ids = tokenizer.encode(text);
      expect([text, joined(ids)]).toEqual([text, pipeline.ids[index]]);
      expect(tokenizer.decode(ids)).toBe(pipeline.decoded[index] ?? text);
    }
    const [index, second] = pair;
    expect(joined(tokenizer.encodeWithSpecial(texts[index]!).ids)).toBe(pipeline.special);
    const both = tokenizer.encodeWithSpecial(texts[index]!, second);
    expect([joined(both.ids), joined(both.segments)]).toEqual([pipeline.both, pipeline.segments]);
  });
});

describe('what is not known or does not fit is one error that names it', () => {
  const good = fileOf(pipelines.find(({ name }) => name === 'bert uncased')!);
  const bytes = fileOf(pipelines.find(({ name }) => name === 'llama-3')!);
  const withModel = (options: object) => ({ ...bytes, model: { ...(bytes['model'] as object), ...options } });
  const template = (single: unknown, special_tokens: unknown = {}) => ({
    ...good,
    post_processor: { type: 'TemplateProcessing', single: [single], pair: [], special_tokens },
  });

  it.each([
    ['normalizer', { ...good, normalizer: { type: 'Mystery' } }, 'TOKENIZER_UNSUPPORTED', 'normalizer'],
    ['no type', { ...good, normalizer: {} }, 'TOKENIZER_UNSUPPORTED', 'one without a type'],
    [
      'pre-tokenizer',
      { ...good, pre_tokenizer: { type: 'UnicodeScripts' } },
      'TOKENIZER_UNSUPPORTED',
      'UnicodeScripts',
    ],
    ['decoder', { ...good, decoder: { type: 'CTC' } }, 'TOKENIZER_UNSUPPORTED', 'CTC'],
    ['post-processor', { ...good, post_processor: { type: 'Mystery' } }, 'TOKENIZER_UNSUPPORTED', 'Mystery'],
    [
      'two post-processors',
      { ...good, post_processor: { type: 'Sequence', processors: [good['post_processor'], good['post_processor']] } },
      'TOKENIZER_UNSUPPORTED',
      'several',
    ],
    [
      'a template without its token',
      template({ SpecialToken: { id: '[X]', type_id: 0 } }),
      'TOKENIZER_UNSUPPORTED',
      '[X]',
    ],
    ['a third text', template({ Sequence: { id: 'C', type_id: 0 } }), 'TOKENIZER_UNSUPPORTED', 'Sequence'],
    [
      'behavior',
      { ...good, pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'Shuffled' } },
      'TOKENIZER_UNSUPPORTED',
      'Shuffled',
    ],
    [
      'a pattern that cannot be said',
      { ...good, pre_tokenizer: { type: 'Split', pattern: { Regex: '(?<a' }, behavior: 'Isolated' } },
      'TOKENIZER_UNSUPPORTED',
      'regular expression',
    ],
    [
      'a scheme',
      { ...good, pre_tokenizer: { type: 'Metaspace', prepend_scheme: 'odd' } },
      'TOKENIZER_UNSUPPORTED',
      'odd',
    ],
    [
      'a length',
      { ...good, pre_tokenizer: { type: 'FixedLength', length: 0 } },
      'TOKENIZER_UNSUPPORTED',
      'FixedLength',
    ],
    ['a prefix that is no text', { ...good, normalizer: { type: 'Prepend' } }, 'TOKENIZER_UNSUPPORTED', 'Prepend'],
    ['a decoder of strips', { ...good, decoder: { type: 'Strip', content: 5 } }, 'TOKENIZER_UNSUPPORTED', 'Strip'],
    [
      'BERT without its tokens',
      { ...good, post_processor: { type: 'BertProcessing' } },
      'TOKENIZER_UNSUPPORTED',
      'cls',
    ],
    ['a merge without its piece', withModel({ merges: ['h zz'] }), 'TOKENIZER_INVALID', 'the pieces of merge 0'],
    ['an option of another type', withModel({ byte_fallback: 'yes' }), 'TOKENIZER_INVALID', 'byte_fallback'],
    [
      'an unknown piece beyond the vocabulary',
      { ...good, model: { type: 'Unigram', vocab: [['a', 0]], unk_id: 1 } },
      'TOKENIZER_INVALID',
      'unk_id',
    ],
    [
      'a flag of another type',
      { ...good, added_tokens: [{ id: 0, content: 'x', lstrip: 1 }] },
      'TOKENIZER_INVALID',
      'lstrip',
    ],
    [
      'a map that is no base64',
      { ...good, normalizer: { type: 'Precompiled', precompiled_charsmap: '!' } },
      'TOKENIZER_INVALID',
      'base64',
    ],
    [
      'a map that ends early',
      { ...good, normalizer: { type: 'Precompiled', precompiled_charsmap: 'AAEAAAAAAAA=' } },
      'TOKENIZER_INVALID',
      'a trie of 256 bytes',
    ],
    [
      'a map of another type',
      { ...good, normalizer: { type: 'Precompiled', precompiled_charsmap: 5 } },
      'TOKENIZER_INVALID',
      'number',
    ],
  ])('%s', (_name, file, code, part) => {
    try {
      createTokenizer(file);
    } catch (error) {
      expect(isPithError(error) && error.code).toBe(code);
      expect((error as Error).message).toContain(part);
      expect((error as Error).message.length).toBeLessThan(400);
      return;
    }
    throw new Error('it was read');
  });

  it('a text without a piece, where there is no unknown token', () => {
    const unigram = createTokenizer({ model: { type: 'Unigram', vocab: [['a', 0]], unk_id: null } });
    expect([...unigram.encode('aa')]).toEqual([0, 0]);
    expect(() => unigram.encode('ab')).toThrow(expect.objectContaining({ code: 'TOKENIZER_FAILED' }));
    const bpe = createTokenizer({ model: { type: 'BPE', vocab: { a: 0 }, merges: [], unk_token: '<unk>' } });
    expect(() => bpe.encode('b')).toThrow(expect.objectContaining({ code: 'TOKENIZER_FAILED' }));
  });
});

it('a whole text is one word where nothing cuts it, in time that does not grow with its square', () => {
  const file = { ...fileOf(pipelines.find(({ name }) => name === 'llama-2')!), pre_tokenizer: null };
  const text = 'the quick brown fox '.repeat(20_000);
  const tokenizer = createTokenizer(file);
  const ids = tokenizer.encode(text);
  expect(tokenizer.decode(ids)).toBe(text);
  // A quadratic merge would need 10^10 steps.
  expect(ids.length).toBeLessThan(text.length);
});
