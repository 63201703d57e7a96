// Rounding to nearest as a pass over the blocks: the naive control of every calibrated method, and what rounds the
// results of other techniques in a composition. Weights need no statistics; static activation scales do.
import { validate } from '@pith/tensor-core';
import type { WeightTensor } from '@pith/tensor-core';
import type { BlockPass } from '@pith/model';
import { z } from 'zod';
import { activationNeeds, activationQuantization } from '../pass/input-scale.ts';
import {
  mixedRoundingShape,
  rangeOption,
  schemeOfLinears,
  schemeRules,
  selectionOf,
  withScaleDType,
  type MixedRoundingOptions,
} from '../pass/pass-options.ts';
import { planRounding } from '../pass/plan-rounding.ts';
import { errorRecord, globalScales, requireRoundable, roundWeight, scaleDTypeOf } from '../pass/round-weight.ts';
import { linearSelector } from '../pass/select-linears.ts';
import type { RangeRuleInput } from '../range/parse-range.ts';
import type { RangeRule } from '../range/range.ts';
import type { RtnConfig } from './rtn-types.ts';

/** Options of {@link rtnPass}. */
export interface RtnPassOptions extends MixedRoundingOptions {
  /** A rule, or its name (`mse`, `percentile:99.9`). `minmax` when left out. */
  readonly range?: string | RangeRule | RangeRuleInput;
}

const options = z.strictObject({ ...mixedRoundingShape, range: rangeOption.default({ kind: 'minmax' }) });

/**
 * Rounding to nearest of the linears of all blocks, dense ones and the factors of factored ones.
 *
 * @throws PithError `CONFIG_INVALID` with every offending option.
 */
export function rtnPass(given: RtnPassOptions): BlockPass {
  const {
    scheme: asked,
    schemeFor: rules,
    scaleDType,
    ...rest
  } = validate(options, given, { operation: 'rtn options' });
  const scheme = withScaleDType(asked, scaleDType);
  const { range, include, ignore } = rest;
  const schemeFor = schemeRules(rules, scaleDType);
  const config: RtnConfig = Object.freeze({ method: 'rtn', scheme, schemeFor, range, include, ignore });
  const selected = linearSelector(selectionOf(config));
  const schemeOf = schemeOfLinears(config);
  return {
    name: 'rtn',
    config: { ...config },
    plan: (model) => planRounding(model, config, `round to nearest, ${scheme.name}`),
    needs: (linear) => (selected(linear) ? activationNeeds(schemeOf(linear)) : []),
    apply: async (stage, context) => {
      const weights = new Map<string, WeightTensor>();
      const records: Record<string, Readonly<Record<string, unknown>>> = {};
      const linears = stage.linears.filter(selected);
      const global = await globalScales(linears, schemeOf, stage.weights);
      for (const linear of linears) {
        const own = schemeOf(linear);
        const weight = requireRoundable(linear.name, stage.weights.get(linear.name));
        const statistics = stage.statistics.get(linear.inputGroup);
        const activations = activationQuantization(own, scaleDTypeOf(weight, own), statistics);
        const globalScale = global.get(linear.name);
        const rounded = await roundWeight(weight, { scheme: own, range, activations, globalScale }, context);
        weights.set(linear.name, rounded.weight);
        records[linear.name] = { ...errorRecord(rounded.error), ...(activations && { activations }) };
      }
      return { weights, records, interventions: [] };
    },
  };
}
