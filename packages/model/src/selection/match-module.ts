// Patterns that select modules by path.
//
// - `lm_head`, `down_proj`, `layers.0`: consecutive whole parts of a path, anywhere in it: `layers.0` selects all that
//   lies in block 0 and nothing of block 10;
// - `*` stands for any letters within one part, `**` for any number of parts: `layers.*.mlp`, `layers.1*.**.k_proj`;
// - `re:` and a regular expression, matched from the start of the path as llm-compressor does: `re:.*k_proj$`.
import { PithError } from '@pith/tensor-core';

/** Longest pattern that is read. */
const MAX_PATTERN_LENGTH = 1000;

/** Says whether a module path is selected. */
export type ModuleMatcher = (path: string) => boolean;

/**
 * Compiles a pattern, see the head of this file.
 *
 * @throws PithError `PATTERN_INVALID` for an empty pattern or a regular expression with a fault.
 */
export function moduleMatcher(pattern: string): ModuleMatcher {
  if (pattern === '' || pattern.length > MAX_PATTERN_LENGTH) {
    throw invalid(pattern, `it must have 1 to ${MAX_PATTERN_LENGTH} characters`);
  }
  if (pattern.startsWith('re:')) {
    const expression = compile(pattern);
    return (path) => expression.exec(path)?.index === 0;
  }
  if (!/^[\w*.-]+$/.test(pattern) || pattern.split('.').includes('')) {
    throw invalid(
      pattern,
      'a path has letters, digits, "_", "-", "*" between single dots; write "re:" before a regular expression',
    );
  }
  const parts = pattern.split('.');
  return (path) => {
    const given = path.split('.');
    return given.some((_, start) => matchesFrom(parts, given, start));
  };
}

function matchesFrom(parts: readonly string[], path: readonly string[], start: number): boolean {
  const match = (i: number, j: number): boolean => {
    if (i === parts.length) return true; // what is below a selected path is selected
    if (parts[i] === '**') {
      for (let next = j; next <= path.length; next += 1) if (match(i + 1, next)) return true;
      return false;
    }
    return j < path.length && matchesPart(parts[i]!, path[j]!) && match(i + 1, j + 1);
  };
  return match(0, start);
}

function matchesPart(pattern: string, part: string): boolean {
  if (!pattern.includes('*')) return pattern === part;
  const pieces = pattern.split('*');
  const first = pieces[0]!;
  const last = pieces.at(-1)!;
  if (!part.startsWith(first) || !part.endsWith(last) || part.length < first.length + last.length) return false;
  let at = first.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = part.indexOf(piece, at);
    if (found < 0 || found + piece.length > part.length - last.length) return false;
    at = found + piece.length;
  }
  return true;
}

function compile(pattern: string): RegExp {
  try {
    return new RegExp(pattern.slice(3), 'u');
  } catch (cause) {
    throw invalid(pattern, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function invalid(pattern: string, why: string, cause?: unknown): PithError {
  return new PithError(
    'PATTERN_INVALID',
    `module pattern ${JSON.stringify(pattern.slice(0, 200))}: ${why}; write for example "lm_head", "model.layers.*.mlp.down_proj" or "re:.*k_proj"`,
    { details: { pattern: pattern.slice(0, MAX_PATTERN_LENGTH) }, cause },
  );
}
