import { describe, expect, it } from 'vitest';
import { expand, wordsOf, type Grammar } from './expand.ts';

const first = (): number => 0;
const last = (count: number): number => count - 1;

const grammar: Grammar = {
  lexicon: {
    person: [
      { base: 'Ann', he: 'she' },
      { base: 'Bob', he: 'he' },
    ],
    fruit: [
      { base: 'apple', pl: 'apples' },
      { base: 'pear', pl: 'pears' },
    ],
  },
  productions: {
    one: ['{Hero:person} has a {fruit}. {Hero.he} is {mood}.'],
    mood: ['glad', 'as {other} as {friend:person}'],
    other: ['old', 'young'],
    same: ['{a:person} {b:person} {a}'],
    many: ['{c:person} {d:person} {e:person}'],
    lost: ['{nothing}'],
    form: ['{fruit.ing}'],
  },
};

describe('expand', () => {
  it('binds, capitalizes, agrees and corrects the article', () => {
    expect(expand(grammar, 'one', first)).toBe('Ann has an apple. She is glad.');
    expect(expand(grammar, 'one', last)).toBe('Bob has a pear. He is as young as Ann.');
  });

  it('never binds one thing to two names', () => {
    expect(expand(grammar, 'same', first)).toBe('Ann Bob Ann');
    expect(() => expand(grammar, 'many', first)).toThrow('every word of "person" is bound already');
  });

  it('names a slot that means nothing', () => {
    expect(() => expand(grammar, 'lost', first)).toThrow('no category is called "nothing"');
    expect(() => expand(grammar, 'form', first)).toThrow('"apple" has no form for the slot {fruit.ing}');
    expect(() => expand(grammar, 'no such', first)).toThrow('no production is called "no such"');
  });
});

describe('wordsOf', () => {
  it('lists the words of productions and lexicon in lower case', () => {
    expect([...wordsOf(grammar)].sort()).toEqual(
      'a an ann apple apples as bob glad has he is old pear pears she young'.split(' '),
    );
  });
});
