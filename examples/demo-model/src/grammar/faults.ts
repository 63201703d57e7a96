// What a text must not have if the grammar could have written it: words that it does not know, articles, numbers and
// pronouns that do not agree, quotes that stay open. Not a parser: it finds plain mistakes, in texts of the model too.
import { demoGrammar } from './demo-grammar.ts';
import { wordsOf } from './expand.ts';

const words = wordsOf(demoGrammar);
const { actor, animal, girl, boy } = demoGrammar.lexicon;
const nouns = [...actor!, ...animal!];
// "sheep" and the like are one and many.
const singular = new Set(nouns.filter(({ base, pl }) => base !== pl).map(({ base }) => base!));
const plural = new Set(nouns.filter(({ base, pl }) => base !== pl).map(({ pl }) => pl!));
const pronouns = new Map([
  ...girl!.map(({ base }) => [base!, 'her'] as const),
  ...boy!.map(({ base }) => [base!, 'his'] as const),
]);

/** The mistakes of one text (a line), in words; none for a text of the grammar. */
export function faultsOf(text: string): string[] {
  const faults: string[] = [];
  for (const word of text.toLowerCase().match(/[a-z]+(?:'[a-z]+)?/g) ?? []) {
    if (!words.has(word)) faults.push(`unknown word: ${word}`);
  }
  for (const [wrong] of text.matchAll(/\b[Aa] (?=[aeiou]|honest)\w+|\b[Aa]n (?=[^aeiouh])\w+/g))
    faults.push(`article: ${wrong}`);
  for (const [phrase, noun, form] of text.matchAll(/(?:^|[.!?] )(?:The|All) (\w+) (is|are|has|have|does|do) /g)) {
    const many = form === 'are' || form === 'have' || form === 'do';
    if ((singular.has(noun!) && many) || (plural.has(noun!) && !many)) faults.push(`number: ${phrase.trim()}`);
  }
  for (const [phrase, name, pronoun] of text.matchAll(
    /\b(\w+) (?:and|told|asked) (his|her) (?:mother|father|sister|brother|grand)/g,
  )) {
    const right = pronouns.get(name!);
    if (right !== undefined && right !== pronoun) faults.push(`pronoun: ${phrase}`);
  }
  if (text.split('"').length % 2 === 0) faults.push('an open quote');
  if (!/^["A-Z]/.test(text)) faults.push('no capital letter at the beginning');
  if (!/[.!?]"?$/.test(text)) faults.push('no end');
  return faults;
}
