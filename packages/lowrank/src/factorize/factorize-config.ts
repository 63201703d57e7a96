// The configuration of factorization: a union by method, validated once.
import { isPithError, validate } from '@pith/tensor-core';
import { moduleMatcher } from '@pith/model';
import { z } from 'zod';

const pattern = z.string().superRefine((text, context) => {
  try {
    moduleMatcher(text);
  } catch (error) {
    if (!isPithError(error)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
  }
});
/** Patterns of modules, none when left out. */
export const patterns = z.array(pattern).default([]);
/** A share of something, neither nothing nor all of it. */
export const share = z.number().gt(0).lt(1);
const rank = z.int().min(1);

const common = {
  ratio: share.exactOptional(),
  energy: z.number().gt(0).lte(1).exactOptional(),
  rank: rank.exactOptional(),
  ranks: z.record(z.string(), rank.nullable()).exactOptional(),
  budget: share.exactOptional(),
  weigh: z.enum(['output', 'loss']).exactOptional(),
  include: patterns,
  ignore: patterns,
  dtype: z.enum(['f32', 'f16', 'bf16']).exactOptional(),
  solver: z.enum(['exact', 'randomized']).default('exact'),
};
const schema = z.discriminatedUnion('method', [
  z.strictObject({ method: z.literal('svd'), ...common }),
  z.strictObject({ method: z.literal('asvd'), alpha: z.number().min(0).max(4).default(0.5), ...common }),
  z.strictObject({ method: z.literal('whitened-svd'), ...common }),
]);

/** Ways to say how large ranks are; one of them is given. */
export const RANK_RULES = ['ratio', 'energy', 'rank', 'ranks', 'budget'] as const;

/** What all methods share. Exactly one of `rank`, `ratio`, `energy`, `ranks` and `budget` is given. */
export interface FactorizeCommonOptions {
  /** Share of the parameters that goes, of each linear: the rank is floor((1 - ratio) m n / (m + n)). */
  readonly ratio?: number;
  /** Share of the squared singular values that stays, of each linear. */
  readonly energy?: number;
  /** The same rank for each linear. */
  readonly rank?: number;
  /** Rank by module path, null for a linear that stays dense; linears that are not named are left alone. */
  readonly ranks?: Readonly<Record<string, number | null>>;
  /** Share of the parameters that goes, of all selected linears together: for `factorizeTransform`, which finds the ranks. */
  readonly budget?: number;
  /**
   * With `budget`: what a linear's error counts. `output`: as a share of its output; `loss`: by the gradients of the loss with
   * respect to its weight, which takes a backward pass. `output` when left out.
   */
  readonly weigh?: 'output' | 'loss';
  /** Patterns of the linears that are factorized (see `moduleMatcher`); all linears of the blocks when left out. */
  readonly include?: readonly string[];
  /** Patterns of linears that are left alone; stronger than `include`. */
  readonly ignore?: readonly string[];
  /** Dtype of the factors; the weight's own when left out. */
  readonly dtype?: 'f32' | 'f16' | 'bf16';
  /** `exact`: full decompositions; `randomized`: as many triplets as the rank asks for. `exact` when left out. */
  readonly solver?: 'exact' | 'randomized';
}

/** Truncated SVD of the weight. */
export interface SvdFactorizeOptions extends FactorizeCommonOptions {
  /** Tells the union apart. */
  readonly method: 'svd';
}

/** SVD with columns scaled by the magnitude of their inputs. */
export interface AsvdFactorizeOptions extends FactorizeCommonOptions {
  /** Tells the union apart. */
  readonly method: 'asvd';
  /** Power of the mean magnitude; 0.5 when left out. */
  readonly alpha?: number;
}

/** SVD with the inputs whitened by their Gram matrix. */
export interface WhitenedSvdFactorizeOptions extends FactorizeCommonOptions {
  /** Tells the union apart. */
  readonly method: 'whitened-svd';
}

/** What {@link factorizeConfig} takes. */
export type FactorizeOptions = SvdFactorizeOptions | AsvdFactorizeOptions | WhitenedSvdFactorizeOptions;

/** Validated options, frozen, defaults filled in. */
export type FactorizeConfig = Readonly<z.output<typeof schema>>;

/**
 * Validates options, fills in defaults and freezes the result.
 *
 * @throws PithError `FACTORIZE_OPTIONS` naming every bad option
 */
export function factorizeConfig(given: FactorizeOptions): FactorizeConfig {
  const options = { operation: 'factorize options', code: 'FACTORIZE_OPTIONS' };
  const checked = schema.superRefine((value, context) => {
    const rules = RANK_RULES.filter((rule) => value[rule] !== undefined);
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message });
    if (rules.length === 0) refuse(['ratio'], `or one of ${RANK_RULES.slice(1).join(', ')} must be given, none is`);
    for (const rule of rules.slice(1)) refuse([rule], `contradicts ${rules[0]}; give one of them`);
    if (value.weigh !== undefined && value.budget === undefined) refuse(['weigh'], 'goes with budget; leave it out');
    if (value.solver === 'randomized' && (value.energy ?? value.budget) !== undefined) {
      refuse(['solver'], 'must be exact for energy and budget, which need all singular values');
    }
  });
  return validate(checked, given, options);
}
