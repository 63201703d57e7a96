// Small tokenizers of every kind, and texts with what tokenizers differ in.
import { readFileSync } from 'node:fs';
import type { TokenizerNode } from './pre-tokenizers.ts';

/** Contractions, numbers, spaces, other scripts, accents, symbols, line ends. */
export const TEXTS: readonly string[] = [
  'Once upon a time there was a small house.',
  'the time of the other theatre',
  "It's, they'RE, we've; I'm HE'LL don't",
  'In 1999 there were 12345 apples and 7 pears, 3.14159 of 1000000',
  '  two  spaces and   three ',
  'tabs\tand\nnew lines\n\n\nand  \n more\r\n',
  'ünïcödé naïve café résumé Ångström',
  'Größe und Straße, ÜBER alles',
  '漢字とひらがなカタカナ混じり文。',
  '中文句子，没有空格！',
  'привет мир, это тест',
  'αβγ δεζ Ωμέγα',
  '한국어 문장입니다.',
  'مرحبا بالعالم',
  'emoji 😀👍🏽 and 🇩🇪 flags',
  'snake_case camelCase HTTPServer2Go x==y!=z',
  'function f(a, b) { return a[0] + b["k"]; } // end',
  'C++ $100 50% a&b <tag/> #hash @name ~tilde^ |pipe| `code`',
  '...!!!???---***',
  'e-mail@example.org/path?q=1&r=2',
  'ALLCAPS MixedCase lower',
  'a',
  ' ',
  'x\u00a0y\u2003z',
  'zero\u200bwidth',
  '“quoted” ‘text’ — dash… ellipsis',
  'ﬁ ligature ½ ² ①',
  "'s at the start 'T in upper",
  '1 22 333 4444 55555 666666',
  'the end',
];

/** Letters that byte-level vocabularies write bytes as, by byte. */
function byteLetters(): string[] {
  const printable = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
}

/** Merges from the texts themselves, the way BPE is trained: the most frequent pair first, ties by spelling. */
function trained(words: readonly (readonly string[])[], count: number): [string, string][] {
  let current = words.map((word) => [...word]);
  const merges: [string, string][] = [];
  while (merges.length < count) {
    const pairs = new Map<string, number>();
    for (const word of current) {
      for (let i = 0; i + 1 < word.length; i++) {
        const key = `${word[i]!} ${word[i + 1]!}`;
        pairs.set(key, (pairs.get(key) ?? 0) + 1);
      }
    }
    const best = [...pairs].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0];
    if (best === undefined || best[1] < 2) break;
    const [left, right] = best[0].split(' ') as [string, string];
    merges.push([left, right]);
    current = current.map((word) => {
      const made: string[] = [];
      for (let i = 0; i < word.length; i++) {
        const both = word[i] === left && word[i + 1] === right;
        made.push(both ? left + right : word[i]!);
        if (both) i++;
      }
      return made;
    });
  }
  return merges;
}

/** Byte-level BPE with two hundred merges that cross whatever the pre-tokenizer does not cut. */
export function byteLevel(pre_tokenizer: TokenizerNode, ignoreMerges: boolean): object {
  const letters = byteLetters();
  const bytes = (text: string) => [...new TextEncoder().encode(text)].map((byte) => letters[byte]!);
  const merges = trained(TEXTS.map(bytes), 200);
  // Words that no merge makes, which are found whole where merges are ignored.
  const whole = ['Ġtheatre', 'Ġapples', '1999', '123', 'house'];
  const pieces = [...new Set([...letters, ...merges.map((pair) => pair.join('')), ...whole])];
  return {
    version: '1.0',
    added_tokens: [{ id: pieces.length, content: '<|end|>', special: true }],
    normalizer: null,
    pre_tokenizer,
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      ignore_merges: ignoreMerges,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges,
    },
  };
}

/** BPE over U+2581 with bytes for what has no piece. */
export function sentencePiece(prefix: boolean): object {
  const words = TEXTS.map((text) => [...`\u2581${text.replaceAll(' ', '\u2581')}`]);
  const merges = trained(words, 150);
  const special = ['<unk>', '<s>', '</s>'];
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  // Letters of other scripts have no piece.
  const letters = [...new Set(words.flat())].filter((letter) => letter < '\u0100' || letter === '\u2581');
  const known = new Set(letters);
  const kept = merges.filter(([left, right]) => [...left, ...right].every((letter) => known.has(letter)));
  const pieces = [...new Set([...special, ...bytes, ...kept.map((pair) => pair.join('')), ...letters])];
  const normalizers = [
    ...(prefix ? [{ type: 'Prepend', prepend: '\u2581' }] : []),
    { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' },
  ];
  return {
    version: '1.0',
    added_tokens: special.map((content, id) => ({ id, content, special: true })),
    normalizer: { type: 'Sequence', normalizers },
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: kept,
    },
  };
}

/** BERT's, with pieces of the texts' own words. */
export function wordPiece({ lowercase }: { readonly lowercase: boolean }): object {
  const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]'];
  const plain = (text: string) => (lowercase ? text.toLowerCase().normalize('NFD').replace(/\p{M}/gu, '') : text);
  const words = [...new Set(TEXTS.flatMap((text) => plain(text).match(/[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu) ?? []))];
  // Every third word whole, halves of the others, letters of words in ASCII.
  const pieces = words.flatMap((word, i) => {
    const letters = [...word];
    const half = Math.ceil(letters.length / 2);
    if (i % 3 === 0) return [word];
    return [letters.slice(0, half).join(''), `##${letters.slice(half).join('')}`];
  });
  const ascii = [...'abcdefghijklmnopqrstuvwxyz0123456789'].flatMap((letter) => [letter, `##${letter}`]);
  const vocab = [...new Set([...special, ...pieces.filter((piece) => piece !== '##'), ...ascii])];
  return {
    version: '1.0',
    added_tokens: special.map((content, id) => ({ id, content, special: true })),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [
        { SpecialToken: { id: '[CLS]', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '[SEP]', type_id: 0 } },
      ],
      pair: [
        { SpecialToken: { id: '[CLS]', type_id: 0 } },
        { Sequence: { id: 'A', type_id: 0 } },
        { SpecialToken: { id: '[SEP]', type_id: 0 } },
        { Sequence: { id: 'B', type_id: 1 } },
        { SpecialToken: { id: '[SEP]', type_id: 1 } },
      ],
      special_tokens: {
        '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] },
        '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] },
      },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(vocab.map((piece, id) => [piece, id])),
    },
  };
}

/** What unigram.fixture.json holds. */
interface TrainedUnigram {
  readonly charsmap: string;
  readonly vocab: readonly (readonly [string, number])[];
  /** Of each of the texts. */
  readonly ids: readonly (readonly number[])[];
}

/**
 * Unigram as sentencepiece trained it on the texts. sentencepiece 0.2.3: `SentencePieceTrainer.train(model_type='unigram', vocab_size=260,
 * hard_vocab_limit=False, character_coverage=0.98, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, normalization_rule_tsv=...)` with 13 rules
 * of NFKC and spaces that the texts need. Ids by tokenizers 0.23.3; sentencepiece orders one tie otherwise (`---***`).
 */
export const TRAINED = JSON.parse(
  readFileSync(new URL('unigram.fixture.json', import.meta.url), 'utf8'),
) as TrainedUnigram;

/** A tokenizer.json of {@link TRAINED} as T5 has it; without a map of characters, other white space stays. */
export function unigram({ map }: { readonly map: boolean }): object {
  const special = ['<pad>', '</s>', '<unk>'];
  const metaspace = { type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'always', split: true };
  const sequence = { Sequence: { id: 'A', type_id: 0 } };
  const end = { SpecialToken: { id: '</s>', type_id: 0 } };
  return {
    version: '1.0',
    added_tokens: special.map((content, id) => ({ id, content, special: true })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        ...(map ? [{ type: 'Precompiled', precompiled_charsmap: TRAINED.charsmap }] : []),
        { type: 'Strip', strip_left: true, strip_right: true },
        { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' },
      ],
    },
    pre_tokenizer: metaspace,
    post_processor: {
      type: 'TemplateProcessing',
      single: [sequence, end],
      pair: [sequence, end, { Sequence: { id: 'B', type_id: 0 } }, end],
      special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
    },
    decoder: metaspace,
    model: { type: 'Unigram', unk_id: 2, byte_fallback: false, vocab: TRAINED.vocab },
  };
}
