// What of a weight is to go: a share of everything, or all but n of each m neighbours.
import { PithError } from '@pith/tensor-core';

/** A share of all weights that are compared with one another. */
export interface UnstructuredPattern {
  /** Tells the union apart. */
  readonly kind: 'unstructured';
  /** Share of weights that go, 0 to 1, 1 excluded. */
  readonly sparsity: number;
}

/** Of each `of` neighbours in a row, `kept` stay. */
export interface NmPattern {
  /** Tells the union apart. */
  readonly kind: 'n:m';
  /** n: weights that stay of each run. */
  readonly kept: number;
  /** m: columns of a run; divides the columns. */
  readonly of: number;
}

/** What of a weight is to go. */
export type SparsityPattern = UnstructuredPattern | NmPattern;

/** Longest run of an n:m pattern: hardware knows 4, research up to 32; ranks within a run cost its length squared. */
export const MAX_PATTERN_SPAN = 64;

/**
 * Reads `2:4`: 2 weights of each 4 neighbours stay.
 *
 * @throws PithError `PATTERN_INVALID`
 */
export function parsePattern(text: string): NmPattern {
  const match = /^(\d{1,6}):(\d{1,6})$/.exec(text);
  const [kept, of] = [Number(match?.[1] ?? 0), Number(match?.[2] ?? 0)];
  const refuse = (constraint: string): never => {
    throw new PithError(
      'PATTERN_INVALID',
      `sparsity pattern: ${constraint}, got ${JSON.stringify(text.slice(0, 40))}; write for example "2:4", which keeps 2 of each 4 neighbours`,
      { details: { pattern: text.slice(0, 40) } },
    );
  };
  if (match === null) refuse('it must be two numbers with a colon between them');
  if (kept > of) refuse('it cannot keep more weights than a run has');
  if (kept === 0) refuse('at least one weight of each run must stay');
  if (of > MAX_PATTERN_SPAN) refuse(`runs have at most ${MAX_PATTERN_SPAN} columns`);
  return Object.freeze<NmPattern>({ kind: 'n:m', kept, of });
}

/** `50%`, `2:4`: for people. */
export function formatPattern(pattern: SparsityPattern): string {
  if (pattern.kind === 'n:m') return `${pattern.kept}:${pattern.of}`;
  return `${Number((100 * pattern.sparsity).toPrecision(6))}%`;
}

/** Share of weights that go. */
export function sparsityOf(pattern: SparsityPattern): number {
  return pattern.kind === 'n:m' ? 1 - pattern.kept / pattern.of : pattern.sparsity;
}

/**
 * How many of `count` weights go: the share rounded down, so that never more go than asked. (0.29 * 100 is not quite 29 in
 * binary: what is whole but for rounding counts as whole.)
 */
export function prunedCount(count: number, sparsity: number): number {
  return Math.min(count, Math.floor(count * sparsity * (1 + 2 ** -50)));
}
