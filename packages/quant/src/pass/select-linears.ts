// Which linears of the blocks a pass works on.
import { moduleMatcher } from '@pith/model';
import type { LinearSpec, PlannedModel, TechniqueProblem } from '@pith/model';
import type { RoundingConfig } from './pass-options.ts';

/** Patterns of modules, validated. */
export type LinearPatterns = Pick<RoundingConfig, 'include' | 'ignore'>;

/** Tells whether a pass with these patterns works on a linear of a block. */
export function linearSelector({ include, ignore }: LinearPatterns): (linear: Pick<LinearSpec, 'path'>) => boolean {
  const including = include.map(moduleMatcher);
  const ignoring = ignore.map(moduleMatcher);
  return ({ path }) => {
    if (ignoring.some((matches) => matches(path))) return false;
    return including.length === 0 || including.some((matches) => matches(path));
  };
}

/** The selected linears of all blocks, and patterns that cannot be meant. */
export function selectLinears(model: PlannedModel, config: LinearPatterns) {
  const { blocks, head } = model.architecture;
  const all = blocks.flatMap(({ linears }) => linears);
  const problems: TechniqueProblem[] = [];
  for (const [option, patterns] of [
    ['include', config.include],
    ['ignore', config.ignore],
  ] as const) {
    for (const pattern of patterns) {
      const matches = moduleMatcher(pattern);
      if (all.some(({ path }) => matches(path))) continue;
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
  return { linears: all.filter(linearSelector(config)), problems };
}

function headOutsideBlocks(path: string): TechniqueProblem {
  return {
    code: 'HEAD_OUTSIDE_BLOCKS',
    name: path,
    message: `plan: ${path} lies outside the blocks, which this method works on; leave it out of the include patterns`,
  };
}
