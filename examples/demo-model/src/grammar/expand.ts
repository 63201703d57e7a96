// A grammar with agreement: productions are sentences with slots, and a slot can be bound to one thing for a whole
// story, so that names, pronouns, numbers and facts agree from the first sentence to the last.
//
//   {place}           a word drawn from the category `place`, or the expansion of the production `place`
//   {toy.pl}          another form of it: a plural, a past tense, a pronoun
//   {hero:person}     draws a person and binds it: from here on {hero} and {hero.his} mean that person
//   {Hero.he}         a capital first letter in the slot's name makes a capital first letter in the text

/** A word or a thing with its forms; `base` is the form that a slot without a form writes. */
export type Entry = Readonly<Record<string, string>>;

/** Words by category. */
export type Lexicon = Readonly<Record<string, readonly Entry[]>>;

/** Alternatives by symbol; one is drawn with equal chance. */
export type Productions = Readonly<Record<string, readonly string[]>>;

/** Draws an integer in [0, count). */
export type Draw = (count: number) => number;

/** A set of productions over a lexicon. */
export interface Grammar {
  readonly lexicon: Lexicon;
  readonly productions: Productions;
}

const SLOT = /\{([A-Za-z]+)(?::([A-Za-z]+))?(?:\.([A-Za-z]+))?\}/g;

/**
 * Writes one text from `symbol`.
 *
 * @throws Error when a slot names nothing that the grammar knows: a fault of the grammar.
 */
export function expand(grammar: Grammar, symbol: string, draw: Draw): string {
  return withArticles(expandSymbol(grammar, symbol, draw, new Map()));
}

function expandSymbol(grammar: Grammar, symbol: string, draw: Draw, bound: Map<string, Entry>): string {
  const alternatives = grammar.productions[symbol];
  if (alternatives === undefined) throw new Error(`expand: no production is called "${symbol}"`);
  return alternatives[draw(alternatives.length)]!.replace(
    SLOT,
    (slot, name: string, category?: string, form = 'base') => {
      const key = name[0]!.toLowerCase() + name.slice(1);
      const text =
        category === undefined && !bound.has(key) && key in grammar.productions
          ? expandSymbol(grammar, key, draw, bound)
          : formOf(chooseEntry(grammar.lexicon, key, category, draw, bound), form, slot);
      return key === name ? text : text[0]!.toUpperCase() + text.slice(1);
    },
  );
}

/** The entry that a slot stands for. A new binding differs from every entry that is bound already. */
function chooseEntry(
  lexicon: Lexicon,
  key: string,
  category: string | undefined,
  draw: Draw,
  bound: Map<string, Entry>,
): Entry {
  const known = bound.get(key);
  if (known !== undefined && category === undefined) return known;
  const entries = lexicon[category ?? key];
  if (entries === undefined) throw new Error(`expand: no category is called "${category ?? key}"`);
  const taken = new Set([...bound.values()].map((entry) => entry['base']));
  const free = entries.filter((entry) => !taken.has(entry['base']));
  if (free.length === 0) throw new Error(`expand: every word of "${category ?? key}" is bound already`);
  const entry = free[draw(free.length)]!;
  if (category !== undefined) bound.set(key, entry);
  return entry;
}

function formOf(entry: Entry, form: string, slot: string): string {
  const text = entry[form];
  if (text === undefined) throw new Error(`expand: "${entry['base']}" has no form for the slot ${slot}`);
  return text;
}

/** "a" before a vowel becomes "an"; "honest" and "hour" are the only words of the lexicon that hide theirs. */
function withArticles(text: string): string {
  return text.replace(/\b([Aa]) (?=[aeiouAEIOU]|honest|hour)/g, '$1n ');
}

/** Every word that the grammar can write, in lower case: the words of its productions and of its lexicon. */
export function wordsOf(grammar: Grammar): Set<string> {
  const words = new Set<string>(['an']);
  const add = (text: string): void => {
    for (const word of text
      .replace(SLOT, ' ')
      .toLowerCase()
      .match(/[a-z]+(?:'[a-z]+)?/g) ?? [])
      words.add(word);
  };
  for (const alternatives of Object.values(grammar.productions)) alternatives.forEach(add);
  for (const entries of Object.values(grammar.lexicon)) for (const entry of entries) Object.values(entry).forEach(add);
  return words;
}
