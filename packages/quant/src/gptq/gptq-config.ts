// The configuration of GPTQ: validated once, defaults in one place.
import { DEFAULT_DAMPING, validate, type ScaleDType } from '@pith/tensor-core';
import { z } from 'zod';
import {
  mixedRoundingShape,
  rangeOption,
  schemeRules,
  withScaleDType,
  type MixedRoundingOptions,
} from '../pass/pass-options.ts';
import { defineRange, type RangeRuleInput } from '../range/parse-range.ts';
import type { AbsMaxRange, LpRange, MinMaxRange, MseRange, RangeRule } from '../range/range.ts';
import type { SchemeRule } from '../scheme/scheme-rules.ts';
import type { Scheme } from '../scheme/scheme.ts';

/**
 * The order in which columns are rounded. `none`: as they lie. `weight`: by falling diagonal of the Gram matrix, groups as
 * they lie (their scales come from the weights before any is rounded). `group`: by falling diagonal, groups of columns that
 * follow each other in that order (their scales come from the updated weights; a group index of 4 bytes a column is stored).
 */
export type ActOrder = 'none' | 'weight' | 'group';

/** Options of {@link gptqPass} and {@link gptqRounding}. */
export interface GptqOptions extends MixedRoundingOptions {
  /** A rule or its name: `minmax`, `absmax`, `mse`, `lp`. `lp:2.4` when left out. */
  readonly range?: string | RangeRule | RangeRuleInput;
  /** See {@link ActOrder}; `weight` when left out. */
  readonly actOrder?: ActOrder;
  /** Added to the diagonal of the Gram matrix, as a share of its mean, 0 to 1; 0.01 when left out. */
  readonly damping?: number;
  /**
   * What the errors of a range search count: `none`, all columns alike; `hessian`, each as much as the diagonal of the Gram
   * matrix says. `none` when left out.
   */
  readonly importance?: 'none' | 'hessian';
}

/** Validated {@link GptqOptions} with every default filled in; frozen. */
export interface GptqConfig {
  /** Tells methods apart. */
  readonly method: 'gptq';
  /** How weights are coded. */
  readonly scheme: Scheme;
  /** How those of modules that match a pattern are coded. */
  readonly schemeFor: readonly SchemeRule[];
  /** How ranges are chosen. */
  readonly range: MinMaxRange | AbsMaxRange | MseRange | LpRange;
  /** Order of the columns. */
  readonly actOrder: ActOrder;
  /** Share of the mean of the diagonal. */
  readonly damping: number;
  /** Weighting of a range search. */
  readonly importance: 'none' | 'hessian';
  /** Patterns; empty: every linear layer of the blocks. */
  readonly include: readonly string[];
  /** Patterns. */
  readonly ignore: readonly string[];
}

const options = z.strictObject({
  ...mixedRoundingShape,
  range: rangeOption.default(() => defineRange({ kind: 'lp' })),
  actOrder: z.enum(['none', 'weight', 'group']).default('weight'),
  damping: z.number().min(0).max(1).default(DEFAULT_DAMPING),
  importance: z.enum(['none', 'hessian']).default('none'),
});

/**
 * Validates options, fills in the defaults and freezes the result.
 *
 * @throws PithError `CONFIG_INVALID` with every offending option.
 */
export function gptqConfig(given: GptqOptions): GptqConfig {
  const checked = options.superRefine(({ scheme: all, schemeFor, range, importance }, context) => {
    const problem = (path: string, message: string) => void context.addIssue({ code: 'custom', path: [path], message });
    for (const [pattern, scheme] of [['', all] as const, ...Object.entries(schemeFor)]) {
      const path = pattern === '' ? 'scheme' : `schemeFor.${pattern}`;
      const { weights } = scheme;
      if (weights.kind !== 'int') problem(path, `must code weights as integers, got "${scheme.name}"; use rtn for fp8`);
      else if (weights.granularity.kind === 'tensor') {
        problem(path, `must have one scale per channel or group, got "${scheme.name}"`);
      }
    }
    if (range.kind === 'percentile' || range.kind === 'rms') {
      problem('range', `must be one of minmax, absmax, mse, lp, got "${range.kind}"`);
    } else if (importance === 'hessian' && range.kind !== 'mse' && range.kind !== 'lp') {
      problem('importance', `weights the errors of a search, and range "${range.kind}" has none; use mse or lp`);
    }
  });
  const { scheme, schemeFor, scaleDType, range, ...rest } = validate(checked, given, { operation: 'gptq options' });
  return Object.freeze({
    method: 'gptq',
    scheme: withScaleDType(scheme, scaleDType satisfies ScaleDType | undefined),
    schemeFor: schemeRules(schemeFor, scaleDType),
    range: range as GptqConfig['range'],
    ...rest,
  });
}
