// The configuration of rounding to nearest: validated once, defaults in one place.
import { z } from 'zod';
import { moduleMatcher } from '@pith/model';
import { PithError } from '@pith/tensor-core';
import { defineRange, parseRange } from '../range/parse-range.ts';
import type { RangeRule } from '../range/range.ts';
import { defineScheme, type SchemeDefinition } from '../scheme/define-scheme.ts';
import { parseScheme } from '../scheme/parse-scheme.ts';
import type { Scheme } from '../scheme/scheme.ts';
import type { RtnConfig, RtnOptions } from './rtn-types.ts';

const options = z.strictObject({
  scheme: z.union([z.string(), z.looseObject({})]),
  schemeFor: z.record(z.string(), z.union([z.string(), z.looseObject({})])).exactOptional(),
  range: z.union([z.string(), z.looseObject({})]).exactOptional(),
  scaleDType: z.enum(['f16', 'bf16', 'f32']).exactOptional(),
  include: z.array(z.string()).exactOptional(),
  ignore: z.array(z.string()).exactOptional(),
});

/**
 * Validates options, fills in the defaults (range `minmax`, scales in the dtype of each weight, every linear layer of
 * the blocks) and freezes the result.
 *
 * @throws PithError `RTN_OPTION_INVALID`, `SCHEME_UNKNOWN`, `SCHEME_INVALID`, `RANGE_UNKNOWN`, `RANGE_INVALID`,
 * `PATTERN_INVALID`.
 */
export function rtnConfig(given: RtnOptions): RtnConfig {
  const parsed = options.safeParse(given);
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'options'}: ${message}`);
    throw new PithError('RTN_OPTION_INVALID', `round to nearest: ${problems.join('; ')}; correct these options`, {
      details: { problems },
    });
  }
  const include = Object.freeze([...(given.include ?? [])]);
  const ignore = Object.freeze([...(given.ignore ?? [])]);
  const schemeFor = Object.freeze(
    Object.entries(given.schemeFor ?? {}).map(([pattern, scheme]) =>
      Object.freeze({ pattern, scheme: other(scheme, given) }),
    ),
  );
  for (const pattern of [...include, ...ignore, ...schemeFor.map((rule) => rule.pattern)]) moduleMatcher(pattern);
  return Object.freeze({
    method: 'rtn',
    scheme: schemeOf(given.scheme, given.scaleDType),
    schemeFor,
    range: rangeOf(given.range ?? { kind: 'minmax' }),
    include,
    ignore,
  });
}

/** A scheme beside the first: the dtype of scales that was asked for is that of plain scales. */
function other(scheme: string | Scheme, { scaleDType }: RtnOptions): Scheme {
  const named = schemeOf(scheme, undefined);
  const micro = named.weights.kind === 'float' && named.weights.scaleDType !== undefined;
  return micro ? named : schemeOf(scheme, scaleDType);
}

function schemeOf(scheme: string | Scheme, scaleDType: RtnOptions['scaleDType']): Scheme {
  const named = typeof scheme === 'string' ? parseScheme(scheme) : scheme;
  const { weights, activations } = named;
  const chosen = scaleDType ?? named.scaleDType;
  const definition: SchemeDefinition = {
    weights,
    ...(activations === undefined ? {} : { activations }),
    ...(chosen === undefined ? {} : { scaleDType: chosen }),
  };
  return defineScheme(definition);
}

function rangeOf(range: string | RangeRule): RangeRule {
  return typeof range === 'string' ? parseRange(range) : defineRange(range);
}
