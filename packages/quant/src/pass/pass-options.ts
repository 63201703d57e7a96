// Options that every pass of this package shares: what is rounded, how it is coded, which linears.
import { defineScheme } from '../scheme/define-scheme.ts';
import { parseScheme } from '../scheme/parse-scheme.ts';
import { schemeChooser, type SchemeRule } from '../scheme/scheme-rules.ts';
import type { Scheme } from '../scheme/scheme.ts';
import { defineRange, parseRange } from '../range/parse-range.ts';
import type { RangeRuleInput } from '../range/parse-range.ts';
import type { RangeRule } from '../range/range.ts';
import { moduleMatcher, type LinearPatterns } from '@pith/model';
import { isPithError } from '@pith/tensor-core';
import { z } from 'zod';

/** What a pass is told about coding and selection. */
export interface RoundingOptions {
  /** A name (`w4g128`) or a scheme. */
  readonly scheme: string | Scheme;
  /** Dtype of the scales; the weight's own when left out. */
  readonly scaleDType?: 'f16' | 'bf16' | 'f32';
  /** Patterns of the linear layers that are quantized (see `moduleMatcher`); all linear layers of the blocks when left out. */
  readonly include?: readonly string[];
  /** Patterns of linear layers that are kept; stronger than `include`. */
  readonly ignore?: readonly string[];
}

/** {@link RoundingOptions} of passes that code different modules differently. */
export interface MixedRoundingOptions extends RoundingOptions {
  /**
   * Other schemes by module pattern: `{ 'mlp.down_proj': 'w8g128' }`. Modules that match are quantized even where no `include`
   * matches them; of several patterns that match the last counts.
   */
  readonly schemeFor?: Readonly<Record<string, string | Scheme>>;
}

/** Validated {@link RoundingOptions}. */
export interface RoundingConfig {
  /** How weights are coded. */
  readonly scheme: Scheme;
  /** How those of modules that match a pattern are coded; all alike when left out. */
  readonly schemeFor?: readonly SchemeRule[];
  /** Patterns; empty: every linear layer of the blocks. */
  readonly include: readonly string[];
  /** Patterns. */
  readonly ignore: readonly string[];
}

/** A schema that hands on to a parser; its error becomes one of the offenders. */
function parsedBy<I, O>(inner: z.ZodType<I>, parse: (value: I) => O) {
  return inner.transform((value, context): O => {
    try {
      return parse(value);
    } catch (error) {
      if (!isPithError(error)) throw error;
      context.addIssue({ code: 'custom', message: error.message });
      return z.NEVER;
    }
  });
}

/** A scheme by name or by its parts. */
export const schemeOption = parsedBy(z.union([z.string(), z.looseObject({})]), (value): Scheme => {
  if (typeof value === 'string') return parseScheme(value);
  const { weights, activations, scaleDType } = value as unknown as Scheme;
  return defineScheme({ weights, ...(activations && { activations }), ...(scaleDType && { scaleDType }) });
});

/** A range rule by name or by its parts. */
export const rangeOption = parsedBy(z.union([z.string(), z.looseObject({})]), (value): RangeRule =>
  typeof value === 'string' ? parseRange(value) : defineRange(value as unknown as RangeRuleInput),
);

/** Patterns of modules. */
export const patternsOption = z
  .array(
    parsedBy(z.string(), (pattern) => {
      moduleMatcher(pattern);
      return pattern;
    }),
  )
  .default([]);

/** The members of {@link RoundingOptions} as parts of a strict object. */
export const roundingShape = {
  scheme: schemeOption,
  scaleDType: z.enum(['f16', 'bf16', 'f32']).exactOptional(),
  include: patternsOption,
  ignore: patternsOption,
};

/** The members of {@link MixedRoundingOptions} as parts of a strict object. */
export const mixedRoundingShape = {
  ...roundingShape,
  schemeFor: z
    .record(
      parsedBy(z.string(), (pattern) => {
        moduleMatcher(pattern);
        return pattern;
      }),
      schemeOption,
    )
    .default({}),
};

/** Rules of `schemeFor` in order, with the dtype of plain scales that was asked for. */
export function schemeRules(
  schemeFor: Readonly<Record<string, Scheme>>,
  scaleDType: 'f16' | 'bf16' | 'f32' | undefined,
): readonly SchemeRule[] {
  return Object.freeze(
    Object.entries(schemeFor).map(([pattern, scheme]) => {
      const micro = scheme.weights.kind === 'float' && scheme.weights.scaleDType !== undefined;
      return Object.freeze({ pattern, scheme: micro ? scheme : withScaleDType(scheme, scaleDType) });
    }),
  );
}

/** The patterns that select linears: modules with a scheme of their own are among them. */
export function selectionOf({ include, ignore, schemeFor = [] }: RoundingConfig): LinearPatterns {
  const named = schemeFor.map(({ pattern }) => pattern);
  return { include: include.length === 0 ? [] : [...include, ...named], ignore };
}

/** The scheme of each linear. */
export function schemeOfLinears({
  scheme,
  schemeFor = [],
}: RoundingConfig): (linear: { readonly path: string }) => Scheme {
  const choose = schemeChooser({ scheme, schemeFor });
  return ({ path }) => choose(path);
}

/** The scheme with the dtype of its scales, where one was asked for. */
export function withScaleDType({ weights, activations, scaleDType }: Scheme, chosen?: 'f16' | 'bf16' | 'f32'): Scheme {
  const dtype = chosen ?? scaleDType;
  return defineScheme({ weights, ...(activations && { activations }), ...(dtype && { scaleDType: dtype }) });
}
