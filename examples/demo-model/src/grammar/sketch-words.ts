// The words of the sketches: more nouns, verbs and adjectives than a story needs, free to meet one another.
import type { Entry, Lexicon } from './expand.ts';
import { noun, verb } from './inflect.ts';

const words = (list: string): Entry[] => list.split(' ').map((base) => ({ base }));
const nouns = (list: string): Entry[] => list.split(' ').map((base) => noun(base));
const verbs = (list: string): Entry[] => list.split(' ').map((base) => verb(base));

/** Categories of the sketches. */
export const sketchWords: Lexicon = {
  // People and animals that act.
  actor: [
    ...nouns('king queen prince princess judge nurse captain hunter miller potter singer dancer guard wizard'),
    ...nouns('pilot clown giant neighbor guest stranger student uncle aunt cousin clerk writer poet shepherd soldier'),
    noun('thief', 'thieves'),
    noun('child', 'children'),
    noun('woman', 'women'),
    noun('man', 'men'),
    noun('old lady', 'old ladies'),
  ],
  // Things that can be carried, bought, lost.
  item: [
    ...nouns('apple basket bottle box candle chair clock cup feather flower hammer ladder letter map mirror'),
    ...nouns('pencil pillow plate ribbon rope shell shovel stone sword ticket towel umbrella violin watch wheel'),
    ...nouns('blanket bucket button carpet coat crown drawing egg flute glove jacket jar needle parcel picture'),
    noun('knife', 'knives'),
    noun('leaf', 'leaves'),
    noun('loaf of bread', 'loaves of bread'),
    noun('penny', 'pennies'),
  ],
  // Where things happen, with the preposition that fits.
  spot: [
    ...words('kitchen garden castle tower tent cave cellar church office theater museum station valley').map(
      ({ base }) => ({ base: `in the ${base}` }),
    ),
    ...words('bridge hill island roof balcony beach street stairs').map(({ base }) => ({ base: `on the ${base}` })),
    ...words('well gate mill fountain lighthouse fence wall oven road window').map(({ base }) => ({
      base: `near the ${base}`,
    })),
    ...words('curtain barn door tree rocks').map(({ base }) => ({ base: `behind the ${base}` })),
  ],
  goal: words(
    'castle tower cave church office theater museum station valley bridge island mill lighthouse harbor village market palace',
  ).map(({ base }) => ({ base: `to the ${base}` })),
  // What one does to a thing.
  handle: [
    ...verbs(
      'carry clean drop lift push pull wash repair paint borrow fetch touch admire remember count wrap polish watch need like want open close move collect examine',
    ),
    verb('find', 'found'),
    verb('bring', 'brought'),
    verb('buy', 'bought'),
    verb('sell', 'sold'),
    verb('hide', 'hid', 'hidden'),
    verb('break', 'broke', 'broken'),
    verb('throw', 'threw', 'thrown'),
    verb('keep', 'kept'),
    verb('lose', 'lost'),
    verb('hold', 'held'),
    verb('see', 'saw', 'seen'),
    verb('choose', 'chose', 'chosen'),
    verb('forget', 'forgot', 'forgotten', 'forgetting'),
    verb('draw', 'drew', 'drawn'),
    verb('take', 'took', 'taken'),
    verb('make', 'made'),
    verb('steal', 'stole', 'stolen'),
  ],
  // What one does alone.
  act: [
    ...verbs(
      'dance laugh smile wait work rest whistle cry jump play talk listen shout dream hurry march kneel tremble cough',
    ),
    verb('sleep', 'slept'),
    verb('sing', 'sang', 'sung'),
    verb('stand', 'stood'),
    verb('sit', 'sat', 'sat', 'sitting'),
    verb('run', 'ran', 'run'),
  ],
  // How one gets somewhere.
  travel: [
    ...verbs('walk hurry travel march return move climb'),
    verb('run', 'ran', 'run'),
    verb('go', 'went', 'gone'),
    verb('ride', 'rode', 'ridden'),
    verb('come', 'came', 'come'),
    verb('fly', 'flew', 'flown'),
  ],
  give: [
    verb('give', 'gave', 'given'),
    verb('show', 'showed', 'shown'),
    verb('bring', 'brought'),
    verb('send', 'sent'),
    verb('sell', 'sold'),
    verb('lend', 'lent'),
    verb('offer'),
  ],
  think: [
    verb('think', 'thought'),
    verb('say', 'said'),
    verb('know', 'knew', 'known'),
    verb('believe'),
    verb('hope'),
    verb('hear', 'heard'),
  ],
  character: words(
    'kind brave quiet clever curious gentle cheerful careful lazy proud shy honest young old rich poor tall short strong weak thin wise polite noisy hungry sleepy lonely friendly nervous patient famous funny serious busy foolish',
  ),
  look: words(
    'old new broken heavy soft shiny wooden pretty red blue green yellow white black brown gray big small round flat thick thin dirty clean golden silver cheap expensive strange plain empty dusty warm cold wet dry sharp bright dark lovely',
  ),
  adverb: words(
    'slowly quickly quietly carefully gently happily bravely softly suddenly often always never sometimes usually secretly proudly calmly eagerly finally',
  ),
  when: [
    'in the morning',
    'in the evening',
    'at noon',
    'at midnight',
    'before breakfast',
    'after dinner',
    'during the storm',
    'all day',
    'every week',
    'once a year',
    'on Sunday',
    'on Monday',
    'on Friday',
    'at dawn',
    'in the rain',
    'for an hour',
    'without a word',
    'with a smile',
    'with great care',
    'for the first time',
  ].map((base) => ({ base })),
};
