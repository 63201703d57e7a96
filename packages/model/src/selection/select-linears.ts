// Which linears of the blocks a technique works on.
import type { LinearSpec } from '../architecture/architecture.ts';
import type { PlannedModel, TechniqueProblem } from '../technique/planned-model.ts';
import { moduleMatcher } from './match-module.ts';

/** Patterns of modules, see `moduleMatcher`. */
export interface LinearPatterns {
  /** Linears that are worked on; all linears of the blocks where this is empty. */
  readonly include: readonly string[];
  /** Linears that are left alone; stronger than `include`. */
  readonly ignore: readonly string[];
}

/**
 * Tells whether a technique with these patterns works on a linear of a block. Routers are left alone whatever the patterns say:
 * they are small, and what they lose changes which expert a token goes to.
 *
 * @throws PithError `PATTERN_INVALID`
 */
export function linearSelector({
  include,
  ignore,
}: LinearPatterns): (linear: Pick<LinearSpec, 'path' | 'role'>) => boolean {
  const including = include.map(moduleMatcher);
  const ignoring = ignore.map(moduleMatcher);
  return ({ path, role }) => {
    if (role === 'router' || ignoring.some((matches) => matches(path))) return false;
    return including.length === 0 || including.some((matches) => matches(path));
  };
}

/** What {@link selectLinears} found. */
export interface SelectedLinears {
  /** Linears of the blocks, in order. */
  readonly linears: readonly LinearSpec[];
  /** Patterns that cannot be meant. */
  readonly problems: TechniqueProblem[];
}

/** The selected linears of all blocks, and patterns that cannot be meant. The output projection lies in no block. */
export function selectLinears(model: Pick<PlannedModel, 'architecture'>, patterns: LinearPatterns): SelectedLinears {
  const { blocks, head } = model.architecture;
  const all = blocks.flatMap(({ linears }) => linears);
  const problems: TechniqueProblem[] = [];
  for (const option of ['include', 'ignore'] as const) {
    for (const pattern of patterns[option]) {
      const matches = moduleMatcher(pattern);
      const found = all.filter(({ path }) => matches(path));
      if (found.length > 0) {
        if (option === 'include' && found.every(({ role }) => role === 'router')) {
          problems.push(routerLeftAlone(pattern, found[0].path));
        }
        continue;
      }
      if (matches(head.path)) {
        if (option === 'include') problems.push(headOutsideBlocks(head.path));
        continue;
      }
      problems.push({
        code: 'PATTERN_MATCHES_NOTHING',
        name: pattern,
        message: `plan: the module pattern "${pattern}" matches no linear layer; modules are named like ${all[0]?.path}, ${all.at(-1)?.path}`,
      });
    }
  }
  return { linears: all.filter(linearSelector(patterns)), problems };
}

function routerLeftAlone(pattern: string, path: string): TechniqueProblem {
  return {
    code: 'ROUTER_LEFT_ALONE',
    name: pattern,
    message: `plan: "${pattern}" matches routers alone (${path}), which are left as they are: they decide which expert a token goes to; leave it out of the include patterns`,
  };
}

function headOutsideBlocks(path: string): TechniqueProblem {
  return {
    code: 'HEAD_OUTSIDE_BLOCKS',
    name: path,
    message:
      `plan: ${path} lies outside the blocks, which this method works on; leave it out of the patterns, or round to nearest ` +
      '(--method rtn without a calibration text), which codes it too',
  };
}
