// Files from strangers, thousands of damaged ones: each is read or refused with a PithError, nothing else happens.
import { isPithError, randomStream } from '@pith/tensor-core';
import { describe, expect, it } from 'vitest';
import { describeArchitecture, listLinears } from '../architecture/registry.ts';
import { readModelConfig } from '../config/read-config.ts';
import { createTokenizer } from '../tokenizer/tokenizer.ts';
import { mutateJson } from './mutate-json.fixture.ts';

const CASES = 2000;

/** Runs a reader on damaged copies; returns how many were read and how many refused. */
function fuzz(name: string, good: readonly unknown[], read: (json: unknown) => void) {
  const counts = { read: 0, refused: 0 };
  for (let seed = 0; seed < CASES; seed++) {
    const random = randomStream(seed, name);
    const json = mutateJson(good[seed % good.length], random);
    try {
      read(json);
      counts.read++;
    } catch (error) {
      if (!isPithError(error) || error.kind !== 'input') {
        throw new Error(`seed ${seed}: ${JSON.stringify(json).slice(0, 2000)}`, { cause: error });
      }
      expect(error.message.length).toBeLessThan(20_000);
      counts.refused++;
    }
  }
  return counts;
}

const sizes = {
  vocab_size: 300,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 4,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 64,
  bos_token_id: 1,
  eos_token_id: [2, 3],
  tie_word_embeddings: true,
};
const llama3 = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4 };

it('config.json', () => {
  const good = [
    {
      model_type: 'llama',
      ...sizes,
      rope_scaling: { ...llama3, original_max_position_embeddings: 16 },
      mlp_bias: true,
    },
    { model_type: 'mistral', ...sizes, sliding_window: 8, head_dim: 8, rope_parameters: { rope_type: 'default' } },
    { model_type: 'qwen2', ...sizes, use_sliding_window: true, layer_types: new Array(4).fill('sliding_attention') },
  ];
  const counts = fuzz('config', good, (json) => {
    const config = readModelConfig(json);
    describeArchitecture(config);
    for (const { inFeatures, outFeatures } of listLinears(config)) {
      expect(Number.isSafeInteger(inFeatures * outFeatures) && inFeatures > 0 && outFeatures > 0).toBe(true);
    }
  });
  expect(counts.read).toBeGreaterThan(CASES / 10);
  expect(counts.refused).toBeGreaterThan(CASES / 10);
});

describe('tokenizer.json', () => {
  const bpe = {
    added_tokens: [{ id: 0, content: '<s>', special: true, normalized: false }],
    normalizer: { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '_' }, { type: 'NFC' }] },
    pre_tokenizer: { type: 'Split', pattern: { Regex: '\\s+' }, behavior: 'Isolated', invert: false },
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [{ type: 'ByteFallback' }, { type: 'Fuse' }, { type: 'Strip', content: ' ', start: 1, stop: 0 }],
    },
    model: {
      type: 'BPE',
      vocab: { '<s>': 0, a: 1, b: 2, ab: 3, _: 4, '<0x20>': 5 },
      merges: ['a b'],
      unk_token: '<s>',
      byte_fallback: true,
      fuse_unk: true,
    },
  };
  const cut = (behavior: string) => ({ type: 'Punctuation', behavior });
  const steps = [
    { type: 'Digits', individual_digits: true },
    cut('MergedWithNext'),
    { type: 'CharDelimiterSplit', delimiter: '|' },
    { type: 'FixedLength', length: 3 },
    { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
  ];
  const template = {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: { '<s>': { id: '<s>', ids: [0], tokens: ['<s>'] } },
  };
  const mixed = {
    ...bpe,
    added_tokens: [...bpe.added_tokens, { id: 6, content: 'ab ', single_word: true, lstrip: true, normalized: true }],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Precompiled', precompiled_charsmap: 'EAAAAAABAAAAAAAAAAAAAAAAAABYAA==' },
        { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
        { type: 'Strip', strip_left: true, strip_right: false },
        { type: 'Nmt' },
      ],
    },
    pre_tokenizer: { type: 'Sequence', pretokenizers: steps },
    post_processor: template,
    model: { ...bpe.model, continuing_subword_prefix: '_', end_of_word_suffix: 'b', merges: [['a', 'b']] },
  };
  const byteLevel = {
    ...bpe,
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: true, use_regex: true },
    decoder: { type: 'ByteLevel' },
  };
  const wordPiece = {
    added_tokens: [],
    normalizer: { type: 'BertNormalizer', lowercase: true },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    decoder: { type: 'WordPiece', prefix: '##' },
    model: {
      type: 'WordPiece',
      vocab: { '[UNK]': 0, a: 1, '##b': 2 },
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
    },
  };
  const unigram = {
    ...wordPiece,
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' },
    decoder: { type: 'Metaspace', replacement: '▁' },
    model: {
      type: 'Unigram',
      vocab: [
        ['<unk>', 0],
        ['▁', -1],
        ['a', -2],
        ['ab', -1.5],
      ],
      unk_id: 0,
    },
  };

  it('is read or refused, and encodes and decodes afterwards', () => {
    const counts = fuzz('tokenizer', [bpe, byteLevel, wordPiece, unigram, mixed], (json) => {
      const tokenizer = createTokenizer(json);
      for (const text of ['', 'ab a <s>b\u0000é 漢']) {
        const ids = tokenizer.encode(text);
        for (const id of ids) expect(id).toBeLessThan(tokenizer.size);
        expect(typeof tokenizer.decode([...ids, 0, 1, 99])).toBe('string');
        const both = tokenizer.encodeWithSpecial(text, 'b');
        expect(both.segments).toHaveLength(both.ids.length);
      }
    });
    expect(counts.read).toBeGreaterThan(CASES / 10);
    expect(counts.refused).toBeGreaterThan(CASES / 10);
  });
});
