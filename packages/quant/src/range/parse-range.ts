// Checks range rules and reads their names, as they are typed on a command line.
import { z } from 'zod';
import { PithError } from '@pith/tensor-core';
import type { AbsMaxRange, LpRange, MinMaxRange, MseRange, PercentileRange, RangeRule, RmsRange } from './range.ts';

/** Shrink factors that a search tries when none are named: 20 from 1 down to 0.24. */
export const DEFAULT_CANDIDATES = 20;
/** Lower end of the default grid of shrink factors. */
export const DEFAULT_SMALLEST = 0.2;
/** Exponent of `lp` when none is named, the one that GPTQ's own range search uses. */
export const DEFAULT_NORM = 2.4;

const search = {
  candidates: z.int().min(1).max(1000).default(DEFAULT_CANDIDATES),
  smallest: z.number().min(0).lt(1).default(DEFAULT_SMALLEST),
};

const rangeRule = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('minmax') }),
  z.strictObject({ kind: z.literal('absmax') }),
  z.strictObject({ kind: z.literal('percentile'), percent: z.number().gt(50).max(100) }),
  z.strictObject({ kind: z.literal('rms'), multiple: z.number().positive().max(1e6) }),
  z.strictObject({ kind: z.literal('mse'), ...search }),
  z.strictObject({ kind: z.literal('lp'), norm: z.number().positive().max(8).default(DEFAULT_NORM), ...search }),
]);

/** A range rule whose defaults may be left out. */
export type RangeRuleInput =
  | MinMaxRange
  | AbsMaxRange
  | PercentileRange
  | RmsRange
  | (Pick<MseRange, 'kind'> & Partial<MseRange>)
  | (Pick<LpRange, 'kind'> & Partial<LpRange>);

/**
 * Validates a rule, fills in its defaults and freezes it.
 *
 * @throws PithError `RANGE_INVALID` with every offending field.
 */
export function defineRange(rule: RangeRuleInput): RangeRule {
  const parsed = rangeRule.safeParse(rule);
  if (parsed.success) return Object.freeze(parsed.data);
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'range'}: ${message}`);
  throw new PithError('RANGE_INVALID', `define range: ${problems.join('; ')}; correct these fields`, {
    details: { problems },
  });
}

/** What each name of a rule takes after the colon. */
const FORMS: Readonly<Record<RangeRule['kind'], string>> = {
  minmax: 'minmax',
  absmax: 'absmax',
  percentile: 'percentile:99.9',
  rms: 'rms:4',
  mse: 'mse or mse:candidates=40,smallest=0.1',
  lp: 'lp:2.4 or lp:2.4,candidates=40,smallest=0.1',
};

/** The option that a bare number stands for. */
const MAIN_OPTION: Readonly<Record<string, string>> = { percentile: 'percent', rms: 'multiple', lp: 'norm' };

/**
 * Reads a rule: a name, or a name, a colon and options: `mse`, `percentile:99.9`, `rms:4`,
 * `mse:candidates=40,smallest=0.1`, `lp:2.4`.
 *
 * @throws PithError `RANGE_UNKNOWN` for text of another form, `RANGE_INVALID` for values out of their limits.
 */
export function parseRange(text: string): RangeRule {
  const colon = text.indexOf(':');
  const kind = (colon < 0 ? text : text.slice(0, colon)).trim().toLowerCase();
  if (!Object.hasOwn(FORMS, kind)) throw unknown(text);
  const rule: Record<string, unknown> = { kind };
  for (const option of colon < 0 ? [] : text.slice(colon + 1).split(',')) {
    const [left = '', right] = option.split('=').map((part) => part.trim());
    const name = right === undefined ? MAIN_OPTION[kind] : left;
    const value = right ?? left;
    if (name === undefined || value === '' || name === 'kind' || Object.hasOwn(rule, name)) throw unknown(text);
    rule[name] = Number(value);
  }
  return defineRange(rule as RangeRuleInput);
}

/** The text that {@link parseRange} reads back. */
export function formatRange(rule: RangeRule): string {
  switch (rule.kind) {
    case 'minmax':
    case 'absmax':
      return rule.kind;
    case 'percentile':
      return `percentile:${rule.percent}`;
    case 'rms':
      return `rms:${rule.multiple}`;
    case 'mse':
      return `mse:candidates=${rule.candidates},smallest=${rule.smallest}`;
    case 'lp':
      return `lp:${rule.norm},candidates=${rule.candidates},smallest=${rule.smallest}`;
  }
}

function unknown(text: string): PithError {
  const forms = Object.values(FORMS);
  return new PithError(
    'RANGE_UNKNOWN',
    `parse range: expected one of ${forms.join('; ')}, got ${JSON.stringify(text.slice(0, 60))}`,
    { details: { value: text.slice(0, 200), forms } },
  );
}
