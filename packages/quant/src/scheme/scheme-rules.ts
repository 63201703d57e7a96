// Which scheme a module gets where there are several: one for all, and others for modules that match a pattern. Of the
// patterns that match a module the last counts.
import { moduleMatcher } from '@pith/model';
import { resolveScheme, type QuantizableDType } from './resolve-scheme.ts';
import { needsInputRange, type Scheme } from './scheme.ts';

/** A scheme for modules that match a pattern. */
export interface SchemeRule {
  /** See `moduleMatcher`. */
  readonly pattern: string;
  /** How their weights are coded. */
  readonly scheme: Scheme;
}

/** Which schemes a configuration has. */
export interface SchemeChoice {
  /** Where no rule matches. */
  readonly scheme: Scheme;
  /** Others, the last that matches counts. */
  readonly schemeFor: readonly SchemeRule[];
}

/** The scheme of each module path. @throws PithError `PATTERN_INVALID` */
export function schemeChooser({ scheme, schemeFor }: SchemeChoice): (path: string) => Scheme {
  const rules = schemeFor.map((rule) => ({ ...rule, matches: moduleMatcher(rule.pattern) })).reverse();
  return (path) => rules.find(({ matches }) => matches(path))?.scheme ?? scheme;
}

/** The rule that decides on a module path, where one does. @throws PithError `PATTERN_INVALID` */
export function ruleFinder({ schemeFor }: Pick<SchemeChoice, 'schemeFor'>): (path: string) => SchemeRule | undefined {
  const rules = schemeFor.map((rule) => ({ rule, matches: moduleMatcher(rule.pattern) })).reverse();
  return (path) => rules.find(({ matches }) => matches(path))?.rule;
}

/** All schemes of a configuration. */
export function schemesOf({ scheme, schemeFor }: SchemeChoice): readonly Scheme[] {
  return [scheme, ...schemeFor.map((rule) => rule.scheme)];
}

/** True where a scheme has something that calibration has to find. */
export function needsCalibration({ activations }: Scheme): boolean {
  return needsInputRange(activations);
}

/** True for weights whose groups share one global scale (NVFP4). */
export function hasGlobalScale(scheme: Scheme, dtype: QuantizableDType = 'f32'): boolean {
  return resolveScheme(scheme, dtype).scaleDType === 'f8_e4m3';
}
