// Tokenizers through a GGUF file and back: every way to cut text that has a name, SentencePiece-style BPE, WordPiece, Unigram.
import type { GgufValue } from '@pith/checkpoint';
import { describe, expect, it } from 'vitest';
import { createTokenizer } from '../tokenizer/tokenizer.ts';
import { ggufTokenizer } from './gguf-tokenizer.ts';
import { ggufTokenizerFiles } from './gguf-tokenizer-json.ts';
import { MetadataReader } from './metadata-reader.ts';
import { PRE_TOKENIZERS } from './pre-tokenizers.ts';
import { byteLevel, sentencePiece, TEXTS, unigram, wordPiece } from './tokenizers.fixture.ts';

const CASES: readonly (readonly [string, object])[] = [
  ...PRE_TOKENIZERS.map(({ name, json, ignoreMerges }) => [name, byteLevel(json, ignoreMerges ?? false)] as const),
  ['SentencePiece-style BPE', sentencePiece(true)],
  ['SentencePiece-style BPE without a space before', sentencePiece(false)],
  ['WordPiece', wordPiece({ lowercase: true })],
  ['WordPiece with case', wordPiece({ lowercase: false })],
  ['Unigram with a map of characters', unigram({ map: true })],
  ['Unigram without one', unigram({ map: false })],
];

function throughFile(
  json: object,
  more = 0,
): { metadata: Map<string, GgufValue>; back: ReturnType<typeof createTokenizer> } {
  const options = { vocabularySize: createTokenizer(json).size + more, bosTokenId: null, eosTokenId: null };
  const metadata = ggufTokenizer(json, options);
  const files = ggufTokenizerFiles(new MetadataReader(metadata, 'x.gguf'), 'x.gguf')!;
  return { metadata, back: createTokenizer(files.tokenizer, files.config) };
}

describe('a tokenizer out of the file that was made of it', () => {
  it.each(CASES)('%s', (_, json) => {
    const original = createTokenizer(json);
    // Ids without a token, as embeddings with rows to spare have them.
    const { back } = throughFile(json, 3);
    for (const text of TEXTS) {
      const ids = original.encode(text);
      expect(back.encode(text), text).toEqual(ids);
      // Some of these have no decoder; a file always has one.
      if ((json as { decoder?: unknown }).decoder != null) expect(back.decode(ids), text).toBe(original.decode(ids));
    }
  });

  it('has what stands around a text', () => {
    const { metadata } = throughFile(wordPiece({ lowercase: true }));
    const files = ggufTokenizerFiles(new MetadataReader(metadata, 'x.gguf'), 'x.gguf')!;
    const { single } = files.tokenizer['post_processor'] as { single: object[] };
    expect(single.map((step) => Object.keys(step)[0])).toEqual(['SpecialToken', 'Sequence', 'SpecialToken']);
    expect(files.config).toMatchObject({ cls_token: '[CLS]', sep_token: '[SEP]' });
  });

  it.each<[string, (metadata: Map<string, GgufValue>) => unknown]>([
    ['GGUF_KEY_MISSING', (metadata) => metadata.delete('tokenizer.ggml.scores')],
    [
      'GGUF_VALUE_INVALID',
      (metadata) =>
        metadata.set('tokenizer.ggml.precompiled_charsmap', { type: 'array', items: { type: 'int32', values: [256] } }),
    ],
    ['GGUF_VALUE_INVALID', (metadata) => metadata.set('tokenizer.ggml.unknown_token_id', { type: 'int32', value: -1 })],
  ])('refuses %s by name', (code, change) => {
    const { metadata } = throughFile(unigram({ map: true }));
    change(metadata);
    expect(() => ggufTokenizerFiles(new MetadataReader(metadata, 'x.gguf'), 'x.gguf')).toThrow(
      expect.objectContaining({ code }),
    );
  });
});
