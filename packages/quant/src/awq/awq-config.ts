// The configuration of AWQ: validated once, defaults in one place.
import { validate } from '@pith/tensor-core';
import { z } from 'zod';
import {
  mixedRoundingShape,
  schemeRules,
  withScaleDType,
  type MixedRoundingOptions,
  type RoundingConfig,
} from '../pass/pass-options.ts';
import type { SchemeRule } from '../scheme/scheme-rules.ts';
import type { ClipGrid } from './clip-search.ts';

/** What a caller asks for. */
export interface AwqOptions extends MixedRoundingOptions {
  /** Points of the grid of exponents from 0 to below 1; 20 when left out. */
  readonly gridPoints?: number;
  /** Divide scales by the magnitudes of the weights too: always, never, or `both`, which tries both and is the default. */
  readonly duoScaling?: boolean | 'both';
  /** Of the candidates ranked by Gram matrices, how many are judged by running the block; 8 when left out, 0 for none. */
  readonly finalists?: number;
  /** Search input scales; true when left out. */
  readonly scaling?: boolean;
  /** Search clipping of the ranges: true for 20 factors from 1 to above 0.5, which is the default, or a grid. */
  readonly clipping?: boolean | Partial<ClipGrid>;
}

/** Validated options with every default filled in; frozen. */
export interface AwqConfig extends RoundingConfig {
  /** Tells methods apart. */
  readonly method: 'awq';
  /** How weights of modules that match a pattern are coded. */
  readonly schemeFor: readonly SchemeRule[];
  /** Points of the grid of exponents. */
  readonly gridPoints: number;
  /** Whether scales are divided by the magnitudes of the weights. */
  readonly duoScaling: boolean | 'both';
  /** How many candidates are judged by running the block. */
  readonly finalists: number;
  /** Whether input scales are searched. */
  readonly scaling: boolean;
  /** Factors that ranges are shrunk by; null for no clipping. */
  readonly clipping: ClipGrid | null;
}

const DEFAULT_CLIPPING = { candidates: 20, smallest: 0.5 };

const options = z.strictObject({
  ...mixedRoundingShape,
  gridPoints: z.int().min(1).max(1000).default(20),
  duoScaling: z.union([z.boolean(), z.literal('both')]).default('both'),
  finalists: z.int().min(0).max(2000).default(8),
  scaling: z.boolean().default(true),
  clipping: z
    .union([
      z.boolean(),
      z.strictObject({
        candidates: z.int().min(1).max(1000).default(DEFAULT_CLIPPING.candidates),
        smallest: z.number().min(0).lt(1).default(DEFAULT_CLIPPING.smallest),
      }),
    ])
    .default(true),
});

/**
 * Validates options and fills in the defaults.
 *
 * @throws PithError `CONFIG_INVALID` with every offending option.
 */
export function awqConfig(given: AwqOptions): AwqConfig {
  const { scheme, schemeFor, scaleDType, clipping, ...rest } = validate(options, given, { operation: 'awq options' });
  return Object.freeze({
    method: 'awq',
    ...rest,
    scheme: withScaleDType(scheme, scaleDType),
    schemeFor: schemeRules(schemeFor, scaleDType),
    clipping: clipping === true ? Object.freeze(DEFAULT_CLIPPING) : clipping === false ? null : clipping,
  });
}
