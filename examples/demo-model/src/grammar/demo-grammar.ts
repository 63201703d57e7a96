// The grammar of the demo model and the text that it writes.
import { dialogues } from './dialogues.ts';
import { expand, type Draw, type Grammar } from './expand.ts';
import { facts } from './facts.ts';
import { lexicon } from './lexicon.ts';
import { sketchWords } from './sketch-words.ts';
import { sketches } from './sketches.ts';
import { stories } from './stories.ts';

/** Stories, facts, dialogues and free sentences; `text` is the start. */
export const demoGrammar: Grammar = {
  lexicon: { ...lexicon, ...sketchWords },
  productions: {
    ...stories,
    ...facts,
    ...dialogues,
    ...sketches,
    text: ['{story}', '{story}', '{story}', '{facts}', '{dialogue}', '{dialogue}', '{sketch}', '{sketch}', '{sketch}'],
  },
};

/** Writes texts until they have at least `characters` characters in all. */
export function writeTexts(draw: Draw, characters: number): string[] {
  const texts: string[] = [];
  for (let length = 0; length < characters; length += texts.at(-1)!.length) {
    texts.push(expand(demoGrammar, 'text', draw));
  }
  return texts;
}
