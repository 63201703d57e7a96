// Tokens that llama.cpp makes of the metadata that is written, against those of tokenizer.json: every way to cut text that has a name,
// SentencePiece-style BPE, WordPiece, Unigram. Files of a vocabulary alone, all loaded in one process.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hasRuntime, runtimeUrl } from '@pith-tooling/vitest/runtimes';
import { planGguf, type GgufValue } from '@pith/checkpoint';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTokenizer } from '../tokenizer/tokenizer.ts';
import { ggufTokenizer } from './gguf-tokenizer.ts';
import { PRE_TOKENIZERS } from './pre-tokenizers.ts';
import { byteLevel, sentencePiece, TEXTS, unigram, wordPiece } from './tokenizers.fixture.ts';

interface Case {
  readonly name: string;
  readonly json: object;
  /** Texts on which llama.cpp is known to differ, and why. */
  readonly except?: Readonly<Record<string, string>>;
}

const CASES: readonly Case[] = [
  ...PRE_TOKENIZERS.map(({ name, json, ignoreMerges }) => ({ name, json: byteLevel(json, ignoreMerges ?? false) })),
  { name: 'SentencePiece-style BPE', json: sentencePiece(true) },
  { name: 'SentencePiece-style BPE without a space before', json: sentencePiece(false) },
  {
    name: 'WordPiece',
    json: wordPiece({ lowercase: true }),
    except: { '한국어 문장입니다.': 'syllables of Hangul are not taken apart when accents are stripped' },
  },
  { name: 'WordPiece with case', json: wordPiece({ lowercase: false }) },
  {
    name: 'Unigram',
    json: unigram(),
    except: {
      'tabs\tand\nnew lines\n\n\nand  \n more\r\n':
        'only spaces are stripped, and line ends where a map makes them spaces',
    },
  },
];

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
    ...ggufTokenizer(json, { vocabularySize: vocabularySize(json), bosTokenId: null, eosTokenId: null }),
  ]);
  writeFileSync(path, planGguf(metadata, []).header);
}

describe.skipIf(!hasRuntime('node-llama-cpp'))('llama.cpp cuts text as tokenizer.json does', () => {
  let tokens: number[][][] = [];
  beforeAll(() => {
    const jobs = CASES.map(({ json }, i) => {
      const path = join(root, `${i}.gguf`);
      write(json, path);
      return JSON.stringify({ path, texts: TEXTS });
    });
    const script = fileURLToPath(new URL('vocabulary.fixture.mjs', import.meta.url));
    const lines = execFileSync(process.execPath, [script, runtimeUrl('node-llama-cpp'), ...jobs], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: 2 ** 26,
    });
    tokens = lines
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as number[][]);
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
});
