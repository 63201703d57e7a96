// English spelling rules for the forms that the grammar needs. Irregular words are written out in the lexicon.
import type { Entry } from './expand.ts';

const endsInHiss = (word: string): boolean => /(?:s|x|z|ch|sh|go)$/.test(word);
const endsInConsonantY = (word: string): boolean => /[^aeiou]y$/.test(word);
/** One short vowel and one consonant that is doubled before a suffix: "hop", "plan", "stop". */
const doublesItsEnd = (word: string): boolean => /^[^aeiou]*[aeiou][bdgklmnprt]$/.test(word);

/** "cow" becomes "cows", "berry" "berries", "box" "boxes", "calf" "calves"; for a verb the third person: "carries", "watches". */
export function withS(word: string): string {
  if (endsInConsonantY(word)) return `${word.slice(0, -1)}ies`;
  if (word.endsWith('lf')) return `${word.slice(0, -1)}ves`;
  return endsInHiss(word) ? `${word}es` : `${word}s`;
}

/** The regular past: "walked", "carried", "hoped", "hopped". */
export function withEd(word: string): string {
  if (word.endsWith('e')) return `${word}d`;
  if (endsInConsonantY(word)) return `${word.slice(0, -1)}ied`;
  return doublesItsEnd(word) ? `${word}${word.at(-1)}ed` : `${word}ed`;
}

/** The present participle: "walking", "hoping", "hopping". */
export function withIng(word: string): string {
  if (/[^e]e$/.test(word)) return `${word.slice(0, -1)}ing`;
  return doublesItsEnd(word) ? `${word}${word.at(-1)}ing` : `${word}ing`;
}

/** A noun: `base` and `pl`. */
export function noun(base: string, plural = withS(base)): Entry {
  return { base, pl: plural };
}

/** A verb: `base`, `s` (he walks), `past`, `part` (has walked), `ing`. */
export function verb(base: string, past = withEd(base), part = past, ing = withIng(base)): Entry {
  return { base, s: withS(base), past, part, ing };
}
