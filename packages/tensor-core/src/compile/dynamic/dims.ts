// Lengths of axes that are known when a program runs. While a program is traced every such axis has a length that stands for
// it: a number that divides no other number of the program, so that the lengths of all values tell what they are products of.
import { PithError } from '../../errors/pith-error.ts';

/** A product of a number and of axes that are known when the program runs. */
export interface SymbolicDim {
  /** Multiplies the axes. */
  readonly factor: number;
  /** Names of the axes, in alphabetical order; one that is there twice is squared. */
  readonly axes: readonly string[];
}

/** The length of an axis: a number, or a product that holds an axis that is known when the program runs. */
export type Dim = number | SymbolicDim;

/** How the length of a dynamic axis relates to those of others. */
export interface DynamicAxis {
  /** The axis is as long as the first of these less the second. */
  readonly difference?: readonly [string, string];
  /** Longest that the program may be traced with; 997 when left out. */
  readonly largest?: number;
}

/** Dynamic axes by name. */
export type DynamicAxes = Readonly<Record<string, DynamicAxis>>;

/** Lengths that stand for the dynamic axes in one trace. */
export type Tags = Readonly<Record<string, number>>;

const SMALLEST_TAG = 17;
const LARGEST_TAG = 997;

function isPrime(n: number): boolean {
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return n > 1;
}

const PRIMES = Array.from({ length: LARGEST_TAG - SMALLEST_TAG + 1 }, (_, i) => SMALLEST_TAG + i).filter(isPrime);

/**
 * Lengths for the axes: primes, and differences of them, that divide none of `avoid`.
 *
 * @param avoid Every number that the program's own lengths are made of.
 * @param taken Lengths that must not be used again: those of another trace.
 * @throws PithError `DYNAMIC_AXES` where there are no such numbers.
 */
export function pickTags(axes: DynamicAxes, avoid: readonly number[], taken: readonly number[] = []): Tags {
  const names = Object.keys(axes);
  const free = names.filter((name) => axes[name]!.difference === undefined);
  const dividesNone = (tag: number) => tag > 1 && avoid.every((number) => number === 0 || number % tag !== 0);
  const search = (chosen: Tags, left: readonly string[]): Tags | undefined => {
    const [name, ...rest] = left;
    if (name === undefined) return withDifferences(chosen);
    const fitting = PRIMES.filter((prime) => prime <= (axes[name]!.largest ?? LARGEST_TAG) && dividesNone(prime));
    for (const prime of fitting.reverse()) {
      if (Object.values(chosen).includes(prime) || taken.includes(prime)) continue;
      const found = search({ ...chosen, [name]: prime }, rest);
      if (found) return found;
    }
    return undefined;
  };
  const withDifferences = (chosen: Tags): Tags | undefined => {
    const all: Record<string, number> = { ...chosen };
    for (const name of names) {
      const [whole, part] = axes[name]!.difference ?? [];
      if (whole === undefined) continue;
      const tag = all[whole]! - all[part!]!;
      if (!dividesNone(tag) || Object.values(all).some((other) => other % tag === 0) || taken.includes(tag))
        return undefined;
      all[name] = tag;
    }
    return all;
  };
  const found = search({}, free);
  if (found) return found;
  throw new PithError(
    'DYNAMIC_AXES',
    `trace: found no lengths for the axes ${names.join(', ')} that divide none of the program's numbers`,
    {
      kind: 'internal',
      details: { axes: names },
    },
  );
}

/** What a length of a trace stands for. */
export function dimOf(length: number, tags: Tags): Dim {
  if (length <= 0) return length;
  let factor = length;
  const axes: string[] = [];
  for (const [name, tag] of Object.entries(tags)) {
    while (factor % tag === 0) {
      factor /= tag;
      axes.push(name);
    }
  }
  return axes.length === 0 ? length : { factor, axes: axes.sort() };
}

/** True for a length that is known when the program runs. */
export function isSymbolic(dim: Dim | undefined): dim is SymbolicDim {
  return typeof dim === 'object';
}

/** True where two lengths are the same whatever the axes are. */
export function sameDim(a: Dim | undefined, b: Dim | undefined): boolean {
  if (!isSymbolic(a) || !isSymbolic(b)) return a === b;
  return a.factor === b.factor && a.axes.join() === b.axes.join();
}

/** Text for names and messages: `sequence_length`, `12 * batch_size * sequence_length`. */
export function dimText(dim: Dim): string {
  if (!isSymbolic(dim)) return String(dim);
  return [...(dim.factor === 1 ? [] : [dim.factor]), ...dim.axes].join(' * ');
}
