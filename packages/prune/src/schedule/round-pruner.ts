// One round's pruning, for single weights and for whole parts: from a part of the way to the target to a model.
import type { Intervention, LanguageModel, PlannedModel, TechniquePlan, TechniqueProblem } from '@pith/model';
import type { TransformContext } from '@pith/model';
import { planStructure } from '../structure/plan-structure.ts';
import { reductionOf, type Reduction } from '../structure/reduction.ts';
import { structureConfig, type StructureConfig } from '../structure/structure-config.ts';
import { restructure } from '../structure/structure-transform.ts';
import { prunePass } from '../unstructured/prune-pass.ts';
import { structureOptions, type IterativeConfig } from './iterative-config.ts';
import { runPass } from './run-pass.ts';

/** What a round's pruning made. */
export interface RoundOutcome {
  /** The pruned model. */
  readonly model: LanguageModel;
  /** Facts per tensor or layer. */
  readonly records: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Rescues and exceptions. */
  readonly interventions: readonly Intervention[];
}

/** How rounds prune. */
export interface RoundPruner {
  /** The plan of the last round, on the model as it is. */
  plan(model: PlannedModel): TechniquePlan;
  /** Takes a model that comes from `original` to a part of the way. */
  prune(model: LanguageModel, share: number, original: LanguageModel, context: TransformContext): Promise<RoundOutcome>;
}

/** The pruner of a configuration. */
export function roundPruner({ by, sparsity }: Pick<IterativeConfig, 'by' | 'sparsity'>): RoundPruner {
  if (by.method === 'structure') return structurePruner(structureConfig(structureOptions(by)));
  const passAt = (share: number) => prunePass({ ...by, sparsity: share * sparsity! });
  return {
    plan: (model) => passAt(1).plan(model),
    prune: (model, share, _original, context) => runPass(model, passAt(share), context),
  };
}

const UNITS = ['layers', 'experts', 'neurons', 'expertNeurons', 'kvGroups'] as const;
const NO_UNITS = { layers: null, experts: null, neurons: null, expertNeurons: null, kvGroups: null };

function structurePruner(config: StructureConfig): RoundPruner {
  return {
    plan: (model) => planStructure(model, config),
    prune: async (model, share, original, context) => {
      const target = reductionOf(original.architecture, config, []);
      const none: StructureConfig = { ...config, ...NO_UNITS };
      const now = reductionOf(model.architecture, none, []);
      const step = UNITS.reduce((partial, unit) => withUnit(partial, unit, share, { target, now, model }), none);
      if (UNITS.every((unit) => step[unit] === null)) return { model, records: {}, interventions: [] };
      return restructure(model, step, context);
    },
  };
}

/** Adds to a step what it takes of one kind of units to come so far; less where so many cannot go yet. */
function withUnit(
  step: StructureConfig,
  unit: (typeof UNITS)[number],
  share: number,
  { target, now, model }: { target: Reduction; now: Reduction; model: LanguageModel },
): StructureConfig {
  const { total, kept } = target[unit];
  const gone = total - now[unit].total;
  for (let removed = Math.floor(share * (total - kept) + 1e-9) - gone; removed > 0; removed--) {
    const problems: TechniqueProblem[] = [];
    const alone = { ...step, ...NO_UNITS, [unit]: removed };
    reductionOf(model.architecture, alone, problems);
    if (problems.length === 0) return { ...step, [unit]: removed };
  }
  return step;
}
