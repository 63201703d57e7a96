// What a scheme asks of a weight or a range that they do not have, in words, with what would fit.
import { formatRange } from '../range/parse-range.ts';
import type { RangeRule } from '../range/range.ts';
import { formatScheme } from '../scheme/format-scheme.ts';
import { fittingGroupSizes } from '../scheme/resolve-scheme.ts';
import type { Scheme } from '../scheme/scheme.ts';

/** What fits a row of `columns` that the groups of a scheme do not divide. */
export function groupRemedy(scheme: Scheme, columns: number, path: string): string {
  const { weights } = scheme;
  if (weights.kind === 'float' && weights.scaleDType !== undefined) {
    return `"${scheme.name}" has groups of this size only: give the layer another scheme (--scheme-for '${path}=w8'), or ignore it`;
  }
  const perChannel = formatScheme({ ...scheme, weights: { ...weights, granularity: { kind: 'channel' } } });
  return `groups of ${fittingGroupSizes(columns).join(', ')} divide ${columns}; "${perChannel}" has one scale per channel and always fits`;
}

/** A range rule that a scheme cannot be rounded with. */
export function rangeProblem({ name, weights }: Scheme, range: RangeRule) {
  if (weights.granularity.kind !== 'block' || (range.kind !== 'percentile' && range.kind !== 'rms')) return undefined;
  return {
    name,
    code: 'RANGE_UNSUPPORTED',
    message: `plan: ${name} has one scale for each tile, whose range cannot be ${formatRange(range)}`,
    remedy: 'use minmax, absmax, mse or lp',
  };
}

/** Inputs that a runtime rounds in groups which do not divide a row of `columns`; none where groups of weights say so already. */
export function inputGroupProblem(scheme: Scheme, name: string, columns: number, path: string) {
  const { activations, weights } = scheme;
  const size = activations?.granularity === 'group' ? activations.size : undefined;
  if (size === undefined || weights.granularity.kind === 'group' || columns % size === 0) return undefined;
  return {
    name,
    code: 'GROUP_DOES_NOT_DIVIDE',
    message: `plan: ${name} has ${columns} columns, which groups of ${size} inputs do not divide`,
    remedy: `leave inputs alone (${scheme.name}-a16), give the layer another scheme (--scheme-for '${path}=w8'), or ignore it`,
  };
}
