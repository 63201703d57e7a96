// Options that every pass of this package shares: what is rounded, how it is coded, which linears.
import { defineScheme } from '../scheme/define-scheme.ts';
import { parseScheme } from '../scheme/parse-scheme.ts';
import type { Scheme } from '../scheme/scheme.ts';
import { defineRange, parseRange } from '../range/parse-range.ts';
import type { RangeRuleInput } from '../range/parse-range.ts';
import type { RangeRule } from '../range/range.ts';
import { moduleMatcher } from '@pith/model';
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

/** Validated {@link RoundingOptions}. */
export interface RoundingConfig {
  /** How weights are coded. */
  readonly scheme: Scheme;
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

/** The scheme with the dtype of its scales, where one was asked for. */
export function withScaleDType({ weights, activations, scaleDType }: Scheme, chosen?: 'f16' | 'bf16' | 'f32'): Scheme {
  const dtype = chosen ?? scaleDType;
  return defineScheme({ weights, ...(activations && { activations }), ...(dtype && { scaleDType: dtype }) });
}
