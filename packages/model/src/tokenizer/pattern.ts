// Patterns of a tokenizer.json, and cutting a text at what they match, as the `tokenizers` library does it. Regular expressions are
// written for Oniguruma; `@huggingface/tokenizers` knows how to say them in JavaScript.
import * as library from '@huggingface/tokenizers';
import { PithError } from '@pith/tensor-core';

// Its index of types leaves its pre-tokenizers out.
const { SplitPreTokenizer } = library as unknown as {
  readonly SplitPreTokenizer: new (json: object) => { readonly pattern: RegExp | null };
};

/** What becomes of the matches: pieces of their own, taken away, put to a neighbour, or runs of them one piece. */
export type SplitBehavior = 'Removed' | 'Isolated' | 'MergedWithPrevious' | 'MergedWithNext' | 'Contiguous';

const BEHAVIORS: readonly string[] = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'];

/** A pattern as tokenizer.json writes it. */
export interface PatternJson {
  /** A regular expression. */
  readonly Regex?: string;
  /** A text that is looked for as it is. */
  readonly String?: string;
}

/** A component that this version does not know. @param part `normalizer`, `pre_tokenizer` and so on. */
export function unsupported(part: string, what: string): PithError {
  return new PithError(
    'TOKENIZER_UNSUPPORTED',
    `read tokenizer: ${part} must be of a kind that is supported, got ${what.slice(0, 80)}; use a tokenizer.json without it`,
    { details: { part, got: what.slice(0, 80) } },
  );
}

/**
 * A pattern for `matchAll` and `replaceAll`.
 *
 * @throws PithError `TOKENIZER_UNSUPPORTED` for an expression that cannot be said in JavaScript.
 */
export function compilePattern({ Regex, String: text }: PatternJson, part: string): RegExp {
  if (Regex === undefined) return new RegExp((text ?? '').replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'), 'gu');
  try {
    const { pattern } = new SplitPreTokenizer({
      type: 'Split',
      pattern: { Regex },
      behavior: 'Isolated',
      invert: false,
    });
    if (pattern !== null) return pattern;
  } catch {
    // Said below.
  }
  throw unsupported(part, `the regular expression ${JSON.stringify(Regex)}`);
}

/** The behavior of a name. @throws PithError `TOKENIZER_UNSUPPORTED`. */
export function behaviorOf(name: unknown, part: string): SplitBehavior {
  if (typeof name === 'string' && BEHAVIORS.includes(name)) return name as SplitBehavior;
  throw unsupported(part, `the behavior ${JSON.stringify(name) ?? 'none'}`);
}

/** A stretch of a text. */
interface Span {
  start: number;
  end: number;
  readonly match: boolean;
}

/** The matches of a pattern and what lies between them, in order. */
function spansOf(text: string, pattern: RegExp, invert: boolean): Span[] {
  const spans: Span[] = [];
  let end = 0;
  for (const found of text.matchAll(pattern)) {
    if (end < found.index) spans.push({ start: end, end: found.index, match: invert });
    end = found.index + found[0].length;
    spans.push({ start: found.index, end, match: !invert });
  }
  if (end < text.length) spans.push({ start: end, end: text.length, match: invert });
  return spans;
}

function joined(spans: readonly Span[], behavior: SplitBehavior): Span[] {
  switch (behavior) {
    case 'Isolated':
      return [...spans];
    case 'Removed':
      return spans.filter(({ match }) => !match);
    case 'Contiguous': {
      const runs: Span[] = [];
      for (const span of spans) {
        const last = runs.at(-1);
        if (last?.match === span.match) last.end = span.end;
        else runs.push({ ...span });
      }
      return runs;
    }
    case 'MergedWithPrevious': {
      const runs: Span[] = [];
      let before = false;
      for (const span of spans) {
        const last = runs.at(-1);
        if (span.match && !before && last) last.end = span.end;
        else runs.push({ ...span });
        before = span.match;
      }
      return runs;
    }
    case 'MergedWithNext': {
      const runs: Span[] = [];
      let after = false;
      for (const span of [...spans].reverse()) {
        const next = runs.at(-1);
        if (span.match && !after && next) next.start = span.start;
        else runs.push({ ...span });
        after = span.match;
      }
      return runs.reverse();
    }
  }
}

/** A piece of a text on its way to the model. */
export interface Piece {
  /** Normalized. */
  readonly text: string;
  /** True where it stands at the very start of the text. */
  readonly first: boolean;
}

/** Cuts a piece; empty pieces fall away. @param invert True where what lies between the matches counts as matched. */
export function splitPiece({ text, first }: Piece, pattern: RegExp, behavior: SplitBehavior, invert = false): Piece[] {
  return joined(spansOf(text, pattern, invert), behavior)
    .filter(({ start, end }) => start < end)
    .map(({ start, end }) => ({ text: text.slice(start, end), first: first && start === 0 }));
}
