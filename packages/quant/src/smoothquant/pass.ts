// SmoothQuant (Xiao et al. 2023) as a pass over the blocks: outliers of the activations are moved into the weights by scales
// that are folded into what makes the input; then weights are rounded to nearest, and inputs are rounded by the runtime.
import { throwIfStopped, validate, type WeightTensor } from '@pith/tensor-core';
import type { BlockPass, Intervention, PassContext, Stage, StageResult } from '@pith/model';
import { z } from 'zod';
import { activationNeeds, activationQuantization } from '../pass/input-scale.ts';
import {
  mixedRoundingShape,
  rangeOption,
  roundingShape,
  schemeOfLinears,
  schemeRules,
  selectionOf,
  withScaleDType,
  type MixedRoundingOptions,
  type RoundingConfig,
  type RoundingOptions,
} from '../pass/pass-options.ts';
import { planRounding } from '../pass/plan-rounding.ts';
import {
  errorRecord,
  globalScales,
  requireRoundable,
  roundWeight,
  scaleDTypeOf,
  settledScheme,
} from '../pass/round-weight.ts';
import { linearSelector } from '../pass/select-linears.ts';
import type { RangeRule } from '../range/range.ts';
import { foldObstacle, foldScales } from '../smoothing/fold.ts';
import { planSmoothing } from '../smoothing/plan-smoothing.ts';
import { shareColumns, smoothingSets, type SmoothingSet } from '../smoothing/smoothing-sets.ts';
import { columnMagnitudes, smoothingScales } from './scales.ts';

/** What a caller asks for. */
export interface SmoothQuantOptions extends Omit<MixedRoundingOptions, 'scheme'> {
  /** A name or a scheme; `w8a8` when left out. */
  readonly scheme?: RoundingOptions['scheme'];
  /** How much of the difficulty goes from the activations to the weights, 0 to 1; 0.5 when left out. */
  readonly alpha?: number;
  /** `all`: inputs that a norm or a linear makes are scaled, the default; `norms`: only those of norms, as in the paper. */
  readonly folds?: 'norms' | 'all';
  /** How the ranges of the weights are chosen; `minmax` when left out. */
  readonly range?: string | RangeRule;
}

/** Validated options with every default filled in; frozen. */
export interface SmoothQuantConfig extends RoundingConfig {
  /** Tells methods apart. */
  readonly method: 'smoothquant';
  /** How much of the difficulty goes to the weights. */
  readonly alpha: number;
  /** Which inputs are scaled. */
  readonly folds: 'norms' | 'all';
  /** How the ranges of the weights are chosen. */
  readonly range: RangeRule;
}

const options = z.strictObject({
  ...mixedRoundingShape,
  scheme: roundingShape.scheme.default(() => roundingShape.scheme.parse('w8a8')),
  alpha: z.number().min(0).max(1).default(0.5),
  folds: z.enum(['norms', 'all']).default('all'),
  range: rangeOption.default({ kind: 'minmax' }),
});

/**
 * SmoothQuant of the linears of all blocks.
 *
 * @throws PithError `CONFIG_INVALID` with every offending option.
 */
export function smoothquantPass(given: SmoothQuantOptions = {}): BlockPass {
  const checked = validate(options, given, { operation: 'smoothquant options' });
  const { scheme: asked, schemeFor: rules, scaleDType, ...rest } = checked;
  const scheme = withScaleDType(asked, scaleDType);
  const schemeFor = schemeRules(rules, scaleDType);
  const config: SmoothQuantConfig = Object.freeze({ method: 'smoothquant', ...rest, scheme, schemeFor });
  const selected = linearSelector(selectionOf(config));
  const schemeOf = schemeOfLinears(config);
  return {
    name: 'smoothquant',
    config: { ...config },
    changesInputs: true,
    plan: (model) => {
      const rounding = planRounding(model, config, `SmoothQuant, ${scheme.name}`);
      const folding = planSmoothing(model, rounding.linears, config.folds === 'norms');
      const notices = [...rounding.notices, ...folding.notices];
      if (scheme.activations === undefined) {
        notices.push(`${scheme.name} leaves activations alone: smoothing helps only where a runtime quantizes them`);
      }
      return { changes: [...folding.changes, ...rounding.changes], problems: rounding.problems, notices };
    },
    // What a router reads stands for what all experts read: their scales are divided out of the same norm.
    needs: (linear) =>
      selected(linear) || linear.role === 'router' ? ['absmax', ...activationNeeds(schemeOf(linear))] : [],
    apply: (stage, context) => smooth(config, stage, context),
  };
}

async function smooth(config: SmoothQuantConfig, stage: Stage, context: PassContext): Promise<StageResult> {
  const { range, alpha } = config;
  const selected = linearSelector(selectionOf(config));
  const schemeOf = schemeOfLinears(config);
  const weights = new Map(stage.weights);
  const rounded = new Set(stage.block.linears.filter(selected).map(({ name }) => name));
  const inStage = new Set(stage.linears.map(({ path }) => path));
  const divisors = new Map<string, Float64Array>();
  const records: Record<string, Record<string, unknown>> = {};
  const interventions: Intervention[] = [];
  for (const set of smoothingSets(stage.block)) {
    throwIfStopped(context.signal, 'SmoothQuant');
    if (!set.linears.some((linear) => inStage.has(linear.path) && selected(linear))) continue;
    if (set.fold.kind === 'none' || (config.folds === 'norms' && set.fold.kind !== 'norm')) continue;
    const obstacle = foldObstacle(weights, set);
    if (obstacle !== undefined) {
      interventions.push(notFolded(set, obstacle));
      continue;
    }
    const magnitudes = new Float64Array(set.inFeatures);
    for (const { name } of set.linears) columnMagnitudes(await weights.get(name)!.toF32(), magnitudes);
    const activations = stage.statistics.get(set.groups[0]!)?.absmax;
    // In the order of groups the set was smoothed with its first group.
    if (activations === undefined) continue;
    const scales = smoothingScales(
      shareColumns(set, activations, Math.max),
      shareColumns(set, magnitudes, Math.max),
      alpha,
    );
    const columns = await foldScales({ weights, set, scales, rounded });
    for (const { path } of set.linears) divisors.set(path, columns);
  }
  const linears = stage.linears.filter(selected);
  const global = await globalScales(linears, schemeOf, weights);
  for (const linear of linears) {
    throwIfStopped(context.signal, 'SmoothQuant');
    const { name, path, inputGroup } = linear;
    const before = requireRoundable(name, stage.weights.get(name));
    const scheme = schemeOf(linear);
    const statistics = stage.statistics.get(inputGroup);
    const scaleDType = scaleDTypeOf(before, scheme);
    const activations = activationQuantization(scheme, scaleDType, statistics, divisors.get(path));
    const coded = { scheme: settledScheme(before, scheme), range, activations, globalScale: global.get(name) };
    const result = await roundWeight(requireRoundable(name, weights.get(name)), coded, context);
    weights.set(name, result.weight);
    records[name] = { smoothed: divisors.has(path), ...errorRecord(result.error), ...(activations && { activations }) };
  }
  const changed = new Map<string, WeightTensor>(
    [...weights].filter(([name, weight]) => stage.weights.get(name) !== weight),
  );
  return { weights: changed, records, interventions };
}

function notFolded({ linears }: SmoothingSet, obstacle: string): Intervention {
  const paths = linears.map(({ path }) => path);
  return {
    code: 'SCALES_NOT_FOLDED',
    where: paths[0]!,
    message: `inputs of ${paths.join(', ')} were not smoothed: ${obstacle}`,
    details: { linears: paths, obstacle },
  };
}
