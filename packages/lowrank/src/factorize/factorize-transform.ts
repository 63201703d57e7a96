// Factorization under a budget for all linears together: all singular values first, then ranks, then the factors.
import { linearSelector, runBlocks } from '@pith/model';
import type {
  BlockPass,
  BlockSpec,
  InputStatistics,
  Intervention,
  LanguageModel,
  LinearSpec,
  ModelTransform,
  TransformContext,
  TransformResult,
  WeightGradient,
} from '@pith/model';
import { PithError } from '@pith/tensor-core';
import type { WeightTensor } from '@pith/tensor-core';
import { allocateRanks, tailEnergy, type Spectrum } from '../factors/rank.ts';
import { factorizeConfig, type FactorizeConfig, type FactorizeOptions } from './factorize-config.ts';
import { decomposeStage, factorizePass, NEEDS, type StageStep } from './factorize-pass.ts';
import { planFactorize } from './plan-factorize.ts';

/**
 * Factorization of all selected linears with `budget`, the share of their parameters that goes: ranks are dealt out by what
 * each singular triplet saves per parameter (`weigh` says how errors of different linears compare), so that a linear which
 * bears it gives more. Runs over the model twice; the second time each block sees what the factorized ones before it give.
 *
 * @throws PithError `FACTORIZE_OPTIONS`; its `apply` throws as that of `factorizePass` does.
 */
export function factorizeTransform(options: FactorizeOptions): ModelTransform {
  const config = factorizeConfig(options);
  if (config.budget === undefined) {
    throw new PithError(
      'FACTORIZE_OPTIONS',
      'factorize options: budget: must be given, it is missing; without it use factorizePass',
      {
        details: { problems: [{ path: 'budget', message: 'must be given' }] },
      },
    );
  }
  return {
    name: config.method,
    config,
    calibrated: config.method !== 'svd' || config.weigh === 'loss',
    plan: (model) => planFactorize(model, config),
    apply: (model, context) => applyTo(model, context, config, config.budget!),
  };
}

async function applyTo(
  model: LanguageModel,
  context: TransformContext,
  config: FactorizeConfig,
  budget: number,
): Promise<TransformResult> {
  const spectra: Spectrum[] = [];
  await eachBlock(model, context, collector(config, spectra), () => undefined);
  const all = spectra.reduce((sum, { rows, columns }) => sum + rows * columns, 0);
  const parameters = Math.floor((1 - budget) * all);
  const ranks = Object.fromEntries(allocateRanks(spectra, parameters));
  const { budget: _, weigh: __, ...rest } = config;
  const weights = new Map(model.weights);
  const records: Record<string, Readonly<Record<string, unknown>>> = {};
  const interventions: Intervention[] = [];
  await eachBlock(model, context, factorizePass({ ...rest, ranks } as FactorizeOptions), (outcome) => {
    for (const name of outcome.rewritten) weights.set(name, outcome.weights.get(name)!);
    for (const made of outcome.records) Object.assign(records, made);
    interventions.push(...outcome.interventions);
  });
  return { weights, config: {}, records, interventions };
}

/** A pass that looks at singular values and changes nothing. */
function collector(config: FactorizeConfig, spectra: Spectrum[]): BlockPass {
  const selects = linearSelector(config);
  return {
    name: `${config.method} spectra`,
    config: {},
    plan: () => ({ changes: [], problems: [], notices: [] }),
    needs: (linear) => (selects(linear) ? NEEDS[config.method] : []),
    ...(config.weigh === 'loss' && { needsGradients: (linear: LinearSpec) => (selects(linear) ? ['squares'] : []) }),
    apply: async (stage, context) => {
      for await (const step of decomposeStage(stage, context, config, selects)) {
        spectra.push(spectrumOf(step, stage.gradients?.get(step.linear.name), config.weigh === 'loss'));
      }
      return { weights: new Map(), records: {}, interventions: [] };
    },
  };
}

/**
 * Singular values and the price of error. By output: the error as a share of the whole. By loss: squared gradients g of W
 * are about the product of squared gradients of outputs and squared inputs, summed over tokens; so their sum over that of the
 * squared scaling, per row, is what squared error of W S costs, to second order and up to a factor common to all linears
 * (for methods that scale less than inputs do, as far as their scaling goes).
 */
function spectrumOf(
  { linear, decomposed }: StageStep,
  gradient: WeightGradient | undefined,
  wanted: boolean,
): Spectrum {
  const { basis, scale, scaling } = decomposed;
  const values = Float64Array.from(basis.values, (value) => value / scale);
  const whole = tailEnergy(values, 0);
  const squares = gradient?.squares;
  if (wanted && squares === undefined) {
    throw new PithError(
      'GRADIENTS_MISSING',
      `factorize: no gradients of ${linear.name} were collected; use weigh "output"`,
      {
        kind: 'internal',
      },
    );
  }
  const [rows, columns] = [linear.outFeatures, linear.inFeatures];
  const output = whole === 0 ? 0 : 1 / whole;
  const weight = squares ? squares.reduce((sum, value) => sum + value, 0) / (rows * scaling) : output;
  return { path: linear.path, rows, columns, values, weight };
}

interface Outcome {
  readonly rewritten: Iterable<string>;
  readonly weights: ReadonlyMap<string, WeightTensor>;
  readonly records: Iterable<Readonly<Record<string, Readonly<Record<string, unknown>>>>>;
  readonly interventions: readonly Intervention[];
}

/** Runs a pass over all blocks: with windows by the block runner, without them block after block. */
async function eachBlock(
  model: LanguageModel,
  context: TransformContext,
  pass: BlockPass,
  onBlock: (outcome: Outcome) => void,
): Promise<void> {
  const { device, pool, seed, signal, progress, windows } = context;
  const wanted = model.architecture.blocks.some(({ linears }) =>
    linears.some((linear) => pass.needs(linear).length > 0),
  );
  if (wanted || pass.needsGradients) {
    await runBlocks(model, {
      ...{ device, pool, seed, windows, passes: [pass] },
      ...(signal && { signal }),
      ...(progress && { progress }),
      onBlock: (outcome) => {
        onBlock({ ...outcome, records: outcome.records.map(({ records }) => records) });
        return Promise.resolve();
      },
    });
    return;
  }
  const statistics = new Map<string, InputStatistics>();
  for (const block of model.architecture.blocks) {
    const weights = blockWeights(model, block);
    const result = await pass.apply({ block, linears: block.linears, weights, statistics }, context);
    const rewritten = [...result.weights.keys()];
    onBlock({ rewritten, weights: result.weights, records: [result.records], interventions: result.interventions });
  }
}

function blockWeights(model: LanguageModel, block: BlockSpec): Map<string, WeightTensor> {
  return new Map(block.linears.map(({ name }) => [name, model.weights.get(name)!]));
}
