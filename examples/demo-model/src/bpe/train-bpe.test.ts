import { describe, expect, it } from 'vitest';
import { writeTexts } from '../grammar/demo-grammar.ts';
import { drawFrom } from '../pages.ts';
import { byteCharacters, byteLevelWords } from './byte-level.ts';
import { mergePair, trainBytePairs, type BytePairEncoding } from './train-bpe.ts';

/** The algorithm as its paper has it: all pairs are counted anew for each merge. */
function slowReference(counts: ReadonlyMap<string, number>, alphabet: string[], size: number): BytePairEncoding {
  const vocabulary = [...alphabet];
  const merges: [string, string][] = [];
  let words = [...counts].map(([word, count]) => ({ symbols: Array.from(word, (c) => alphabet.indexOf(c)), count }));
  while (vocabulary.length < size) {
    const pairs = new Map<string, number>();
    for (const { symbols, count } of words) {
      for (let i = 0; i + 1 < symbols.length; i++) {
        const key = `${symbols[i]} ${symbols[i + 1]}`;
        pairs.set(key, (pairs.get(key) ?? 0) + count);
      }
    }
    const sorted = [...pairs].map(([key, count]) => ({ pair: key.split(' ').map(Number) as [number, number], count }));
    sorted.sort((a, b) => b.count - a.count || a.pair[0] - b.pair[0] || a.pair[1] - b.pair[1]);
    const best = sorted[0];
    if (best === undefined || best.count < 2) break;
    const [left, right] = best.pair;
    const merged = vocabulary[left]! + vocabulary[right]!;
    merges.push([vocabulary[left]!, vocabulary[right]!]);
    const known = vocabulary.indexOf(merged);
    const id = known >= 0 ? known : vocabulary.push(merged) - 1;
    words = words.map(({ symbols, count }) => ({ symbols: mergePair(symbols, left, right, id), count }));
  }
  return { vocabulary, merges };
}

const countsOf = (words: readonly string[]): Map<string, number> => {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
};

describe('trainBytePairs', () => {
  it('merges the most frequent pair first: an example by hand', () => {
    // aaab x 3, ab x 2: pairs aa 6, ab 5. After aa -> X: Xa 3, ab 5 -> Y: XY 3.
    const { vocabulary, merges } = trainBytePairs(
      new Map([
        ['aaab', 3],
        ['ab', 2],
      ]),
      ['a', 'b'],
      5,
    );
    expect(merges).toEqual([
      ['a', 'a'],
      ['a', 'b'],
      ['aa', 'ab'],
    ]);
    expect(vocabulary).toEqual(['a', 'b', 'aa', 'ab', 'aaab']);
  });

  it('stops when no pair occurs twice', () => {
    expect(trainBytePairs(new Map([['ab', 1]]), ['a', 'b'], 100).merges).toEqual([]);
  });

  it('learns what the plain algorithm learns', () => {
    const alphabet = [...byteCharacters].sort();
    const texts = [...writeTexts(drawFrom(21), 8000), 'naïve café – 12 345 €', 'aaaa aaaaaaa abababab'];
    const counts = countsOf(texts.flatMap(byteLevelWords));
    expect(trainBytePairs(counts, alphabet, 500)).toEqual(slowReference(counts, alphabet, 500));
  });
});

describe('byteLevelWords', () => {
  it('cuts as GPT-2 does, with the space before a word', () => {
    expect(byteLevelWords(`"I don't know," said Tom.\n Two  12€`)).toEqual([
      '"',
      'I',
      'Ġdon',
      "'t",
      'Ġknow',
      ',"',
      'Ġsaid',
      'ĠTom',
      '.',
      'Ċ',
      'ĠTwo',
      'Ġ',
      'Ġ12',
      'âĤ¬',
    ]);
  });

  it('has a character for every byte', () => {
    expect(new Set(byteCharacters).size).toBe(256);
    expect(byteCharacters[0x20]).toBe('Ġ');
    expect(byteCharacters[0x41]).toBe('A');
    expect(byteCharacters[0xad]).toBe('Ń');
  });
});
