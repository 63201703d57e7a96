// Learns the merges of a byte-pair encoding (Sennrich et al. 2016, section 3.2): again and again the most frequent pair
// of neighbouring symbols becomes one symbol. Counts are kept up to date word by word instead of being taken anew;
// `train-bpe.test.ts` holds the result to the plain algorithm.

/** What a byte-pair encoding knows. */
export interface BytePairEncoding {
  /** Symbols in the order of their ids. */
  readonly vocabulary: readonly string[];
  /** Pairs in the order in which they are merged. */
  readonly merges: readonly (readonly [string, string])[];
}

interface Word {
  symbols: number[];
  readonly count: number;
}

/**
 * Trains on words and how often they occur.
 *
 * A tie goes to the pair whose symbols have the smaller ids, the left one first.
 *
 * @param counts Words as strings of alphabet characters.
 * @param alphabet Symbols to start from, in the order of their ids.
 * @param size Symbols wanted in all. Fewer come out when no pair occurs twice.
 */
export function trainBytePairs(
  counts: ReadonlyMap<string, number>,
  alphabet: readonly string[],
  size: number,
): BytePairEncoding {
  const vocabulary = [...alphabet];
  const ids = new Map(vocabulary.map((symbol, id) => [symbol, id]));
  const merges: [string, string][] = [];
  const words: Word[] = [...counts].map(([word, count]) => ({ symbols: Array.from(word, (c) => ids.get(c)!), count }));
  const table = new PairTable();
  for (const word of words) table.add(word, 1);
  while (vocabulary.length < size) {
    const best = table.mostFrequent();
    if (best === undefined || best.count < 2) break;
    const merged = vocabulary[best.left]! + vocabulary[best.right]!;
    merges.push([vocabulary[best.left]!, vocabulary[best.right]!]);
    // Two pairs can spell the same symbol; it keeps its first id.
    const id = ids.get(merged) ?? vocabulary.push(merged) - 1;
    ids.set(merged, id);
    for (const word of [...best.words]) {
      table.add(word, -1);
      word.symbols = mergePair(word.symbols, best.left, best.right, id);
      table.add(word, 1);
    }
  }
  return { vocabulary, merges };
}

interface Pair {
  readonly left: number;
  readonly right: number;
  count: number;
  readonly words: Set<Word>;
}

/** How often each pair of neighbours occurs, and in which words. */
class PairTable {
  readonly #pairs = new Map<string, Pair>();

  /** Counts the pairs of a word (`sign` 1) or takes them back (-1). */
  add(word: Word, sign: 1 | -1): void {
    for (let i = 0; i + 1 < word.symbols.length; i++) {
      const left = word.symbols[i]!;
      const right = word.symbols[i + 1]!;
      const key = `${left} ${right}`;
      let pair = this.#pairs.get(key);
      if (pair === undefined) this.#pairs.set(key, (pair = { left, right, count: 0, words: new Set() }));
      pair.count += sign * word.count;
      if (sign === 1) pair.words.add(word);
      else pair.words.delete(word);
      if (pair.words.size === 0) this.#pairs.delete(key);
    }
  }

  mostFrequent(): Pair | undefined {
    let best: Pair | undefined;
    for (const pair of this.#pairs.values()) {
      if (best === undefined || pair.count > best.count || (pair.count === best.count && isBefore(pair, best))) {
        best = pair;
      }
    }
    return best;
  }
}

const isBefore = (a: Pair, b: Pair): boolean => a.left < b.left || (a.left === b.left && a.right < b.right);

/** Replaces each occurrence of the pair, from left to right. */
export function mergePair(symbols: readonly number[], left: number, right: number, merged: number): number[] {
  const result: number[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      result.push(merged);
      i++;
    } else result.push(symbols[i]!);
  }
  return result;
}
