// Iterative pruning as a transform of models: rounds of pruning and fine-tuning that end at the target, or before the model
// has lost more than it may.
import { perplexity, selectTrained } from '@pith/model';
import type {
  Intervention,
  LanguageModel,
  ModelTransform,
  PlannedModel,
  TechniquePlan,
  TransformContext,
  TransformResult,
} from '@pith/model';
import { PithError } from '@pith/tensor-core';
import { configChanges } from '../structure/restructured-model.ts';
import { fineTune, type FineTuning } from './fine-tune.ts';
import { iterativeConfig, type IterativeConfig, type IterativeOptions } from './iterative-config.ts';
import { pruneIteratively, type PrunedModel, type PruningRound } from './prune-iteratively.ts';
import { roundPruner, type RoundOutcome } from './round-pruner.ts';
import { roundShares } from './sparsity-schedule.ts';

/** What a caller may put in the place of this package's own steps. */
export interface IterativeHooks {
  /** Lets a round's model recover, in the place of next-token training: a distillation, for example. */
  readonly fineTune?: (
    model: LanguageModel,
    round: number,
    context: TransformContext,
  ) => Promise<LanguageModel | PrunedModel>;
  /** Measures a model, in the place of the perplexity on the evaluation windows. */
  readonly evaluate?: (model: LanguageModel, context: TransformContext) => Promise<number>;
}

/**
 * Prunes in rounds: prune, fine-tune, evaluate, until the target or until the stated degradation; keeps the best that passed.
 *
 * With a `directory` in the context, a run that was killed goes on in the round, and in the step of fine-tuning, where it was.
 * `apply` throws PithError `EVALUATION_MISSING` for a degradation without evaluation windows, and what its steps throw.
 *
 * @throws PithError `CONFIG_INVALID`, `TRAINABLE_INVALID`, `PATTERN_INVALID`.
 */
export function iterativeTransform(options: IterativeOptions, hooks: IterativeHooks = {}): ModelTransform {
  const config = iterativeConfig(options);
  return Object.freeze<ModelTransform>({
    name: 'iterative',
    config: { ...config },
    calibrated: true,
    plan: (model) => planIterative(model, config, hooks),
    apply: (model, context) => applyIterative(model, config, hooks, context),
  });
}

function planIterative(model: PlannedModel, config: IterativeConfig, hooks: IterativeHooks): TechniquePlan {
  const last = roundPruner(config).plan(model);
  const rounds = `${config.rounds} rounds (${config.spacing})`;
  const end =
    config.degradation === null
      ? `${rounds} up to this plan`
      : `${rounds} up to this plan at most: it ends before a round with more than ${config.degradation} times the perplexity`;
  const notices = [...last.notices, end];
  if (config.fineTune === null && hooks.fineTune === undefined) return { ...last, notices };
  const trained = hooks.fineTune ? hookPlan() : trainedNames(model, config.fineTune!);
  return {
    ...last,
    changes: withTraining(model, last, trained.names),
    problems: [...last.problems, ...trained.problems],
    notices: [
      ...notices,
      `fine-tuning after each round, ${hooks.fineTune ? 'by the caller' : `${config.fineTune!.training.steps} steps`}`,
    ],
  };
}

const hookPlan = () => ({ names: [], problems: [] });

/** What training changes, and what it cannot train. */
export function trainedNames(
  { architecture, weights }: PlannedModel,
  { trainable }: FineTuning,
): { readonly names: readonly string[]; readonly problems: TechniquePlan['problems'] } {
  const kinds = new Map([...weights].map(([name, { kind }]) => [name, kind]));
  const { names, problems } = selectTrained(architecture, kinds, trainable);
  return { names, problems: problems.map((message) => ({ code: 'NOT_TRAINABLE', name: 'fineTune', message })) };
}

/** A plan's changes and those of training on top; bytes stay. */
export function withTraining(
  { weights }: PlannedModel,
  { changes }: TechniquePlan,
  names: readonly string[],
): TechniquePlan['changes'] {
  const known = new Set(changes.map(({ name }) => name));
  const others = names.filter((name) => !known.has(name) && weights.has(name));
  return [
    ...changes,
    ...others.map((name) => ({ name, action: 'train', reason: 'fine-tuned', after: weights.get(name)! })),
  ];
}

type RoundFactsOf = Omit<RoundOutcome, 'model'>;

async function applyIterative(
  original: LanguageModel,
  config: IterativeConfig,
  hooks: IterativeHooks,
  context: TransformContext,
): Promise<TransformResult> {
  const evaluate = evaluation(hooks, context);
  if (config.degradation !== null && evaluate === undefined) {
    throw new PithError(
      'EVALUATION_MISSING',
      'iterative pruning: degradation needs windows to evaluate on, got none; give an evaluation text, or leave it out',
    );
  }
  const pruner = roundPruner(config);
  const tune = hooks.fineTune ?? ownFineTune(config);
  const store = await storeOf(original, config, context);
  const { progress, signal } = context;
  const result = await pruneIteratively(original, {
    shares: roundShares(config.rounds, config.spacing),
    prune: async (model, share) => {
      const { model: pruned, ...facts } = await pruner.prune(model, share, original, context);
      return { model: pruned, facts };
    },
    ...(tune && { fineTune: (model, _share, round) => tune(model, round, context) }),
    ...(evaluate && { evaluate }),
    degradation: config.degradation,
    ...(store && { store }),
    ...(signal && { signal }),
    onRound: ({ round }) => progress?.({ phase: 'rounds', done: round, total: config.rounds, unit: 'round' }),
  });
  const passed = result.rounds.filter((round) => round.passed).at(-1);
  const { records = {}, interventions = [] } = (passed?.facts ?? {}) as Partial<RoundFactsOf>;
  return {
    weights: result.model.weights,
    config: configChanges(original.config, result.model.config),
    // Single weights: the last round's facts say what is. Parts went in every round, each by the names of its time.
    records: {
      ...(config.by.method === 'structure' ? {} : records),
      ...roundRecords(result.rounds, result.perplexityBefore, config),
    },
    interventions: [...interventions, ...endedEarly(result.rounds, config)],
  };
}

/** The perplexity on the evaluation windows: BOS and the tokens that each holds, as they were cut. */
function evaluation(
  hooks: IterativeHooks,
  context: TransformContext,
): ((model: LanguageModel) => Promise<number>) | undefined {
  if (hooks.evaluate) return (model) => hooks.evaluate!(model, context);
  const windows = context.evaluationWindows ?? [];
  const [first] = windows;
  if (first === undefined) return undefined;
  const stride = first.length - 1;
  const ids = new Int32Array(windows.length * stride);
  windows.forEach((window, index) => ids.set(window.subarray(1), index * stride));
  const { device, signal, memoryBytes } = context;
  return async (model) => {
    const options = { ids, context: first.length, device, ...(signal && { signal }) };
    const result = await perplexity(model, {
      ...options,
      ...(memoryBytes !== undefined && { memoryLimitBytes: memoryBytes }),
    });
    return result.perplexity;
  };
}

function ownFineTune({ fineTune: tuning }: IterativeConfig): IterativeHooks['fineTune'] {
  if (tuning === null) return undefined;
  return async (model, round, context) => {
    const { directory } = context;
    if (directory === undefined) return fineTune(model, tuning, context);
    const { trainFolder } = await import('@pith/model/node');
    // Numbered: a killed round's steps must not be taken for those of the next.
    const folder = trainFolder(
      `${directory}/fine-tune-${round}`,
      JSON.stringify({ tuning, round, seed: context.seed }),
    );
    return fineTune(model, tuning, context, folder);
  };
}

async function storeOf(original: LanguageModel, config: IterativeConfig, { directory, seed }: TransformContext) {
  if (directory === undefined) return undefined;
  const { roundFolder } = await import('../node/round-folder.ts');
  return roundFolder(directory, original, JSON.stringify({ config, seed }));
}

function roundRecords(
  rounds: readonly PruningRound[],
  perplexityBefore: number | null,
  { by, sparsity }: IterativeConfig,
): TransformResult['records'] {
  const entries = rounds.map(({ round, share, facts, ...outcome }) => {
    const amount = sparsity === null ? { share, parts: facts['records'] } : { sparsity: share * sparsity };
    const curve = facts['curve'] === undefined ? {} : { curve: facts['curve'] };
    return [`round ${round}`, { method: by.method, ...amount, ...outcome, ...curve }] as const;
  });
  return { 'round 0': { perplexity: perplexityBefore }, ...Object.fromEntries(entries) };
}

function endedEarly(rounds: readonly PruningRound[], { rounds: planned }: IterativeConfig): Intervention[] {
  const last = rounds.at(-1);
  if (last === undefined || last.passed) return [];
  const kept = last.round - 1;
  return [
    {
      code: 'TARGET_NOT_REACHED',
      where: 'model',
      message:
        `Round ${last.round} of ${planned} did not pass: ${last.reason}. ` +
        (kept === 0 ? 'The model is as it was.' : `The model is that of round ${kept}.`),
      details: { round: last.round, kept, rounds: planned, perplexity: last.perplexity },
    },
  ];
}
