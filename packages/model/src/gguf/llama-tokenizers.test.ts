// Tokens that llama.cpp makes of the metadata that is written, against those of tokenizer.json: every way to cut text that has a name,
// SentencePiece-style BPE, WordPiece, Unigram. Files of a vocabulary alone, all loaded in one process.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runLlama } from '@pith-tooling/vitest/llama';
import { hasRuntime } from '@pith-tooling/vitest/runtimes';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { planGguf, type GgufValue } from '@pith/checkpoint';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTokenizer } from '../tokenizer/tokenizer.ts';
import { ggufTokenizer } from './gguf-tokenizer.ts';
import { PRE_TOKENIZERS } from './pre-tokenizers.ts';
import { byteLevel, sentencePiece, TEXTS, TRAINED, unigram, wordPiece } from './tokenizers.fixture.ts';

interface Case {
  readonly name: string;
  readonly json: object;
  /** Texts on which llama.cpp is known to differ, and why. */
  readonly except?: Readonly<Record<string, string>>;
}

// Falcon's tokenizer.json looks for numbers once bytes are characters: six bytes (0xB2 and the like) are numbers then.
const NUMBERS = 'llama.cpp looks for numbers in the text alone';
const EXCEPT: Readonly<Record<string, Case['except']>> = {
  falcon: { 'αβγ δεζ Ωμέγα': NUMBERS, '中文句子，没有空格！': NUMBERS },
};

const real = (model: string): Case => ({
  name: `the tokenizer of ${model}`,
  json: JSON.parse(readFileSync(shared(`models/${model}/tokenizer.json`), 'utf8')) as object,
});

const CASES: readonly Case[] = [
  ...(hasShared ? ['stories260k', 'docs6m'].map(real) : []),
  ...PRE_TOKENIZERS.map(({ name, json, ignoreMerges }) => ({
    name,
    json: byteLevel(json, ignoreMerges ?? false),
    ...(EXCEPT[name] && { except: EXCEPT[name] }),
  })),
  { name: 'SentencePiece-style BPE', json: sentencePiece(true) },
  { name: 'SentencePiece-style BPE without a space before', json: sentencePiece(false) },
  {
    name: 'WordPiece',
    json: wordPiece({ lowercase: true }),
    except: { '한국어 문장입니다.': 'syllables of Hangul are not taken apart when accents are stripped' },
  },
  { name: 'WordPiece with case', json: wordPiece({ lowercase: false }) },
  { name: 'Unigram with a map of characters', json: unigram({ map: true }) },
  {
    name: 'Unigram',
    json: unigram({ map: false }),
    except: {
      'tabs\tand\nnew lines\n\n\nand  \n more\r\n':
        'only spaces are stripped, and line ends where a map makes them spaces',
    },
  },
];

const TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}";

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-tokens-'));
});
afterAll(() => rmSync(root, { recursive: true }));

function vocabularySize(json: object): number {
  return createTokenizer(json).size;
}

/** A file that holds a vocabulary and nothing else. */
function write(json: object, path: string): void {
  const metadata = new Map<string, GgufValue>([
    ['general.architecture', { type: 'string', value: 'llama' }],
    ...ggufTokenizer(json, {
      vocabularySize: vocabularySize(json),
      bosTokenId: null,
      eosTokenId: null,
      chatTemplate: TEMPLATE,
    }),
  ]);
  writeFileSync(path, planGguf(metadata, []).header);
}

describe.skipIf(!hasRuntime('node-llama-cpp'))('llama.cpp cuts text as tokenizer.json does', () => {
  let tokens: number[][][] = [];
  let templates: (string | null)[] = [];
  beforeAll(() => {
    const jobs = CASES.map(({ json }, i) => {
      const path = join(root, `${i}.gguf`);
      write(json, path);
      return { path, vocabOnly: true, texts: TEXTS, template: true };
    });
    const answers = runLlama<{ ids: number[][] } & { template: string | null }>(jobs);
    const results = CASES.map((_, i) => ({ ids: answers[2 * i]!.ids, template: answers[2 * i + 1]!.template }));
    tokens = results.map(({ ids }) => ids);
    templates = results.map(({ template }) => template);
  }, 60_000);

  it.each(CASES.map((one, i) => [one.name, one, i] as const))('%s', (_name, { json, except = {} }, i) => {
    const tokenizer = createTokenizer(json);
    const own = Object.fromEntries(TEXTS.map((text) => [text, [...tokenizer.encode(text)]]));
    const theirs = Object.fromEntries(TEXTS.map((text, j) => [text, tokens[i]![j]!]));
    for (const text of Object.keys(except)) {
      expect(theirs[text]).not.toEqual(own[text]);
      delete own[text];
      delete theirs[text];
    }
    expect(theirs).toEqual(own);
  });

  it('Unigram as sentencepiece cuts it', () => {
    const i = CASES.findIndex(({ name }) => name === 'Unigram with a map of characters');
    expect(tokens[i]).toEqual(TRAINED.ids);
  });

  it('has the chat template', () => {
    expect(templates.every((template) => template === TEMPLATE)).toBe(true);
  });
});

describe('tokenizers that llama.cpp does not have', () => {
  const options = { vocabularySize: 300, bosTokenId: null, eosTokenId: null };
  const changed = (json: object, changes: object) => ({ ...json, ...changes });
  const model = (json: object, changes: object) => ({
    ...json,
    model: { ...(json as { model: object }).model, ...changes },
  });

  it.each([
    [
      'a model of another kind',
      model(byteLevel(PRE_TOKENIZERS[0].json, false), { type: 'WordLevel' }),
      /got WordLevel/,
    ],
    ['bytes in Unigram', model(unigram({ map: true }), { byte_fallback: true }), /no byte_fallback/],
    [
      'Unigram without an unknown token',
      model(unigram({ map: true }), { unk_id: null }),
      /unknown token, got unk_id null/,
    ],
    [
      'pieces across words',
      model(unigram({ map: true }), { vocab: [...TRAINED.vocab, ['\u2581of\u2581the', -3]] }),
      /go across words.*of\u2581the/,
    ],
    ['Unigram in lower case', changed(unigram({ map: true }), { normalizer: { type: 'Lowercase' } }), /got Lowercase/],
    [
      'Unigram cut at bytes',
      changed(unigram({ map: true }), { pre_tokenizer: { type: 'ByteLevel' } }),
      /got ByteLevel/,
    ],
    ['WordPiece without a normalizer', changed(wordPiece({ lowercase: true }), { normalizer: null }), /got none/],
    [
      'WordPiece cut at spaces',
      changed(wordPiece({ lowercase: true }), { pre_tokenizer: { type: 'Whitespace' } }),
      /got Whitespace/,
    ],
    [
      'WordPiece that keeps Chinese words',
      changed(wordPiece({ lowercase: true }), { normalizer: { type: 'BertNormalizer', handle_chinese_chars: false } }),
      /handle_chinese_chars.*must be true/,
    ],
    [
      'WordPiece without a template',
      changed(wordPiece({ lowercase: true }), { post_processor: null }),
      /open and close/,
    ],
    [
      'a token with two ids',
      changed(byteLevel(PRE_TOKENIZERS[0].json, false), { added_tokens: [{ id: 299, content: 'a', special: true }] }),
      /"a" has 97 and 299/,
    ],
  ])('%s', (_name, json, message) => {
    expect(() => ggufTokenizer(json, options)).toThrow(
      expect.objectContaining({
        code: 'GGUF_TOKENIZER_UNSUPPORTED',
        message: expect.stringMatching(message) as string,
      }),
    );
  });

  it('further chat templates have keys of their own', () => {
    const namedTemplates = { tool_use: 'with tools', 'rag-2': 'with documents' };
    const metadata = ggufTokenizer(byteLevel(PRE_TOKENIZERS[0].json, false), { ...options, namedTemplates });
    expect(metadata.get('tokenizer.chat_templates')).toEqual({
      type: 'array',
      items: { type: 'string', values: ['tool_use', 'rag_2'] },
    });
    expect(metadata.get('tokenizer.chat_template.rag_2')).toEqual({ type: 'string', value: 'with documents' });
    expect(metadata.has('tokenizer.chat_template')).toBe(false);
  });

  it('special tokens and what opens and closes a text follow the template', () => {
    const value = (json: object, key: string) => {
      const entry = ggufTokenizer(json, { ...options, paddingToken: '[PAD]', maskToken: '[MASK]' }).get(
        `tokenizer.ggml.${key}`,
      );
      return entry?.type === 'array' ? entry.items.values : entry?.value;
    };
    const bert = wordPiece({ lowercase: false });
    expect(
      ['bos', 'eos', 'seperator', 'cls', 'padding', 'mask', 'unknown'].map((name) => value(bert, `${name}_token_id`)),
    ).toEqual([2, 3, 3, 2, 0, 4, 1]);
    expect([value(bert, 'add_bos_token'), value(bert, 'add_eos_token')]).toEqual([true, true]);
    expect(value(bert, 'normalizer.lowercase')).toBe(false);
    const t5 = unigram({ map: true });
    expect([value(t5, 'add_bos_token'), value(t5, 'remove_extra_whitespaces')]).toEqual([false, true]);
    expect(value(t5, 'precompiled_charsmap')).toHaveLength(atob(TRAINED.charsmap).length);
    const plain = byteLevel(PRE_TOKENIZERS[0].json, false);
    expect([value(plain, 'add_bos_token'), value(plain, 'add_eos_token')]).toEqual([false, false]);
  });
});
