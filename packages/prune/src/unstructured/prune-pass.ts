// Pruning of single weights as a block pass: by magnitude, Wanda, Taylor, or SparseGPT.
import {
  denseWeight,
  fromF32,
  memoryBytes,
  PithError,
  type ColumnRounding,
  type DenseWeight,
  type FactoredWeight,
  type WeightTensor,
} from '@pith/tensor-core';
import { linearSelector, type BlockPass, type InputStatistic, type Intervention, type LinearSpec } from '@pith/model';
import type { PassContext, Stage } from '@pith/model';
import { pruneByMagnitude } from '../magnitude/pass.ts';
import { pruneBySparseGpt } from '../sparsegpt/pass.ts';
import { pruneByTaylor } from '../taylor/pass.ts';
import { pruneByWanda } from '../wanda/pass.ts';
import type { PRUNABLE_DTYPES } from '../streaming/prune-into.ts';
import { planPrune } from './plan-prune.ts';
import { pruneConfig, type PruneConfig, type PruneMethod, type PruneOptions } from './prune-options.ts';

/** One linear's turn. */
export interface PruneTask {
  readonly linear: LinearSpec;
  readonly weight: DenseWeight | FactoredWeight;
  readonly stage: Stage;
  readonly config: PruneConfig;
  readonly rounding: ColumnRounding | undefined;
  readonly context: PassContext;
}

/** What became of it. */
export interface PrunedLinear {
  readonly weight: WeightTensor;
  /** Facts for the receipt. */
  readonly record: Readonly<Record<string, unknown>>;
  readonly interventions: readonly Intervention[];
}

const METHODS: Readonly<Record<PruneMethod, (task: PruneTask) => Promise<PrunedLinear>>> = {
  magnitude: pruneByMagnitude,
  wanda: pruneByWanda,
  taylor: pruneByTaylor,
  sparsegpt: pruneBySparseGpt,
};

const NEEDS: Readonly<Record<PruneMethod, readonly InputStatistic[]>> = {
  magnitude: [],
  wanda: ['norms'],
  taylor: [],
  sparsegpt: ['gram'],
};

/**
 * A block pass that makes linears of the blocks sparse. Weights stay dense, with zeros, in their dtype; with the `rounding` of
 * sparsegpt they become quantized.
 *
 * Magnitude, Wanda and Taylor leave every weight that stays as it is, to the bit.
 *
 * @example
 * const pass = prunePass({ method: 'wanda', sparsity: 0.5 });
 * const twoOfFour = prunePass({ method: 'sparsegpt', pattern: '2:4', ignore: ['layers.0'] });
 * @throws PithError `CONFIG_INVALID` with every offending option; `apply`: `WEIGHT_NOT_FINITE`, `SCORE_NOT_FINITE`,
 * `REPRESENTATION_NOT_PRUNABLE`, `GRAM_NOT_FINITE`, `GRAM_NOT_POSITIVE`, `STOPPED`.
 */
export function prunePass(options: PruneOptions): BlockPass {
  const { rounding } = options;
  const config = pruneConfig(options);
  const selected = linearSelector(config);
  return Object.freeze<BlockPass>({
    name: config.method,
    config: config as unknown as Readonly<Record<string, unknown>>,
    plan: (model) => planPrune(model, config, rounding),
    needs: (linear) => (selected(linear) ? NEEDS[config.method] : []),
    ...(config.method === 'taylor' && {
      needsGradients: (linear: LinearSpec) => (selected(linear) ? ['squares'] : []),
    }),
    async apply(stage, context) {
      const weights = new Map<string, WeightTensor>();
      const records: Record<string, Readonly<Record<string, unknown>>> = {};
      const interventions: Intervention[] = [];
      for (const linear of stage.linears.filter(selected)) {
        const weight = await prunable(linear.name, stage.weights.get(linear.name));
        const pruned = await METHODS[config.method]({ linear, weight, stage, config, rounding, context });
        weights.set(linear.name, pruned.weight);
        records[linear.name] = pruned.record;
        interventions.push(...pruned.interventions);
      }
      return { weights, records, interventions };
    },
  });
}

/** A weight as methods take it; one that is stored sparse is restored, in its dtype. */
async function prunable(name: string, weight: WeightTensor | undefined): Promise<DenseWeight | FactoredWeight> {
  if (weight?.kind === 'dense' || weight?.kind === 'factored') return weight;
  if (weight?.kind === 'sparse') {
    const dtype = weight.dtype as (typeof PRUNABLE_DTYPES)[number];
    const source = memoryBytes(fromF32(dtype, await weight.toF32()));
    return denseWeight({ name, dtype, shape: weight.shape, source });
  }
  throw new PithError(
    'REPRESENTATION_NOT_PRUNABLE',
    `prune ${name}: it must be dense, or factors that are, got ${weight?.kind ?? 'none'}; plan the stages first`,
    { details: { tensor: name, representation: weight?.kind ?? null } },
  );
}
