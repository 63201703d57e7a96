import type { WordModel } from './word-model.ts';

/** Words that are remembered, and the longest of them in UTF-16 units. */
const REMEMBERED = 10_000;
const LONGEST = 256;

/** A model that remembers its words; all of them are forgotten when there are too many. */
export function wordCache(model: WordModel): WordModel {
  const known = new Map<string, ArrayLike<number>>();
  return (word) => {
    const before = known.get(word);
    if (before) return before;
    const ids = model(word);
    if (word.length > LONGEST) return ids;
    if (known.size >= REMEMBERED) known.clear();
    known.set(word, ids);
    return ids;
  };
}
