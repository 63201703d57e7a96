import { describe, expect, it } from 'vitest';
import { drawFrom } from '../pages.ts';
import { demoGrammar, writeTexts } from './demo-grammar.ts';
import { dialogues } from './dialogues.ts';
import { facts } from './facts.ts';
import { faultsOf } from './faults.ts';
import { lexicon } from './lexicon.ts';
import { sketchWords } from './sketch-words.ts';
import { sketches } from './sketches.ts';
import { stories } from './stories.ts';

const texts = writeTexts(drawFrom(11), 400_000);
const all = texts.join('\n');

describe('the demo grammar', () => {
  it('writes the same texts from the same seed, and others from another', () => {
    expect(writeTexts(drawFrom(11), 20_000)).toEqual(writeTexts(drawFrom(11), 20_000));
    expect(writeTexts(drawFrom(12), 20_000)).not.toEqual(writeTexts(drawFrom(11), 20_000));
  });

  it('does not repeat itself', () => {
    expect(new Set(texts).size / texts.length).toBeGreaterThan(0.95);
  });

  it('has no symbol and no category twice', () => {
    const parts = [stories, facts, dialogues, sketches];
    const symbols = parts.flatMap((part) => Object.keys(part));
    expect(new Set(symbols).size).toBe(symbols.length);
    const categories = [lexicon, sketchWords].flatMap((part) => Object.keys(part));
    expect(new Set(categories).size).toBe(categories.length);
  });

  it('uses every production', () => {
    const used = new Set(['text']);
    for (const alternatives of Object.values(demoGrammar.productions)) {
      for (const text of alternatives)
        for (const [, name] of text.matchAll(/\{([A-Za-z]+)/g)) used.add(name![0]!.toLowerCase() + name!.slice(1));
    }
    expect(Object.keys(demoGrammar.productions).filter((symbol) => !used.has(symbol))).toEqual([]);
  });

  it('writes sentences without plain mistakes', () => {
    for (const text of texts) expect(faultsOf(text), text).toEqual([]);
    expect(all).not.toMatch(/[{}]|undefined|  |\. [a-z]| [.,!?]/);
  });

  it('keeps the pronouns of a hero', () => {
    // In the texts of one person, that person's pronouns alone are found.
    const facts = all.match(/^\w+ is a \w+ who .*\. (He|She) needs a \w+ for (his|her) work\.$/gm) ?? [];
    expect(facts.length).toBeGreaterThan(4);
    const girls = new Set(lexicon['girl']!.map(({ base }) => base));
    for (const fact of facts) expect(/ She needs .* her work/.test(fact), fact).toBe(girls.has(fact.split(' ')[0]));
  });
});

describe('faultsOf', () => {
  it('finds each kind of mistake', () => {
    expect(faultsOf('The cow are honest.')).toEqual(['number: The cow are']);
    expect(faultsOf('The cows has moved.')).toEqual(['number: The cows has']);
    expect(faultsOf('A apple and an pear.')).toEqual(['article: A apple', 'article: an pear']);
    expect(faultsOf('Tom asked her mother.')).toEqual(['pronoun: Tom asked her mother']);
    expect(faultsOf('the zebra said, "No.')).toEqual([
      'unknown word: zebra',
      'an open quote',
      'no capital letter at the beginning',
    ]);
    expect(faultsOf('Tom ran')).toEqual(['no end']);
  });
});
