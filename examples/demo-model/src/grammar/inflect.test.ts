import { expect, it } from 'vitest';
import { noun, verb, withEd, withIng, withS } from './inflect.ts';

it('spells plurals and third persons', () => {
  const words = ['cow', 'berry', 'toy', 'box', 'bush', 'match', 'glass', 'calf', 'go'];
  expect(words.map((word) => withS(word))).toEqual([
    'cows',
    'berries',
    'toys',
    'boxes',
    'bushes',
    'matches',
    'glasses',
    'calves',
    'goes',
  ]);
});

it('spells pasts and participles', () => {
  const words = ['walk', 'hope', 'carry', 'play', 'drop', 'wrap', 'cook', 'open', 'travel', 'see'];
  expect(words.slice(0, 9).map(withEd)).toEqual([
    'walked',
    'hoped',
    'carried',
    'played',
    'dropped',
    'wrapped',
    'cooked',
    'opened',
    'traveled',
  ]);
  expect(words.map(withIng)).toEqual([
    'walking',
    'hoping',
    'carrying',
    'playing',
    'dropping',
    'wrapping',
    'cooking',
    'opening',
    'traveling',
    'seeing',
  ]);
});

it('takes irregular forms as they are given', () => {
  expect(noun('mouse', 'mice')).toEqual({ base: 'mouse', pl: 'mice' });
  expect(verb('fly', 'flew', 'flown')).toEqual({ base: 'fly', s: 'flies', past: 'flew', part: 'flown', ing: 'flying' });
});
