// Gradual pruning while the model trains (Zhu & Gupta 2017): every few steps the smallest weights are cut away, as many as
// the cubic schedule says, and the model trains on with what is left. Masks hold through the optimizer: what is cut is zero,
// gets no gradient that counts, and is not moved by momentum or decay.
//
// Simplified on purpose: once cut, a weight does not come back, although the paper leaves that open where masks are drawn
// anew; here its value is gone.
import { createTrainer, linearSelector, LossCurve, trainableModel, trainerParts } from '@pith/model';
import type {
  LanguageModel,
  ModelTransform,
  PlannedModel,
  StepRecord,
  TechniquePlan,
  Trainer,
  TrainFolder,
  TransformContext,
  TransformResult,
} from '@pith/model';
import {
  denseWeight,
  isPithError,
  memoryBytes,
  PithError,
  type HostTensor,
  type ProgressEvent,
  type RunOptions,
} from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';
import type { Comparison } from '../pattern/mask.ts';
import { pruneInto } from '../streaming/prune-into.ts';
import { planPrune } from '../unstructured/plan-prune.ts';
import { pruneConfig } from '../unstructured/prune-options.ts';
import { fineTuneLoss } from './fine-tune.ts';
import { gradualConfig, type GradualConfig, type GradualOptions } from './gradual-config.ts';
import { trainedNames, withTraining } from './iterative-transform.ts';
import { cubicSparsity } from './sparsity-schedule.ts';

type Tensors = Readonly<Record<string, HostTensor<'f32'>>>;

/**
 * Trains a model while its linears get sparse by magnitude. Needs windows to train on.
 *
 * With a `directory` in the context, a run that was killed goes on at the step that it saved last.
 *
 * @throws PithError `CONFIG_INVALID`, `TRAINABLE_INVALID`, `PATTERN_INVALID`.
 */
export function gradualTransform(options: GradualOptions): ModelTransform {
  const config = gradualConfig(options);
  return Object.freeze<ModelTransform>({
    name: 'gradual',
    config: { ...config },
    calibrated: true,
    plan: (model) => planGradual(model, config),
    apply: (model, context) => applyGradual(model, config, context),
  });
}

function magnitudeConfig({ sparsity, comparison, include, ignore }: GradualConfig) {
  return pruneConfig({ method: 'magnitude', sparsity, comparison, include, ignore });
}

function planGradual(model: PlannedModel, config: GradualConfig): TechniquePlan {
  const pruned = planPrune(model, magnitudeConfig(config));
  const trained = trainedNames(model, config.tuning);
  const untrained = pruned.changes.filter(({ name }) => !trained.names.includes(name)).map(({ name }) => name);
  const factored = pruned.changes.filter(({ after }) => after?.kind === 'factored').map(({ name }) => name);
  const problem = (names: readonly string[], code: string, message: string) =>
    names.map((name) => ({ code, name, message: `${name} ${message}` }));
  const { steps } = config.tuning.training;
  return {
    changes: withTraining(model, pruned, trained.names),
    problems: [
      ...pruned.problems,
      ...trained.problems,
      ...problem(
        untrained,
        'NOT_TRAINED',
        'is to be pruned in training, but is not trained; widen trainable or ignore it',
      ),
      ...problem(factored, 'REPRESENTATION_NOT_PRUNABLE', 'must be dense to be pruned in training, got factors'),
    ],
    notices: [
      ...pruned.notices,
      `${steps} steps; sparsity rises by a cubic schedule until step ${config.rampSteps}, every ${config.pruneEvery} steps`,
    ],
  };
}

async function applyGradual(
  model: LanguageModel,
  config: GradualConfig,
  context: TransformContext,
): Promise<TransformResult> {
  const { device, windows, seed, pool, directory } = context;
  const { training, trainable } = config.tuning;
  const parts = await trainableModel(model, { trainable, seed });
  const names = prunedNames(model, config, parts.parameters);
  const ones = Object.fromEntries(names.map((name) => [name, maskOf(parts.parameters[name]!, () => 1)]));
  const options = {
    ...{ parameters: parts.parameters, frozen: parts.frozen, masks: { ...parts.masks, ...ones }, device },
    ...{ loss: fineTuneLoss(parts), ...trainerParts(training, windows, seed) },
  };
  const folder = await folderOf(directory, config, seed);
  const state = (await folder?.read()) ?? null;
  const trainer = await createTrainer(state === null ? options : { ...options, state });
  try {
    const run = new GradualRun(trainer, names, config, pool, folder);
    const curve = await run.train(context);
    const { tensors } = trainer.state();
    const trained = Object.fromEntries(Object.keys(parts.parameters).map((name) => [name, tensors[name]!]));
    const sparsities = names.map((name) => [name, { sparsity: zeroShare(tensors[name]!) }] as const);
    return {
      weights: await parts.merge(trained),
      config: {},
      records: { ...Object.fromEntries(sparsities), training: { steps: training.steps, ...curve } },
      interventions: [],
    };
  } finally {
    await trainer.dispose();
  }
}

function prunedNames({ architecture }: LanguageModel, config: GradualConfig, parameters: Tensors): string[] {
  const selected = linearSelector(magnitudeConfig(config));
  const linears = architecture.blocks.flatMap((block) => block.linears.filter(selected));
  const names = linears.map(({ name }) => name);
  const others = names.filter((name) => !(name in parameters));
  if (others.length === 0) return names;
  throw new PithError(
    'NOT_TRAINED',
    `gradual pruning: what is pruned must be dense and trained, got others in ${others.slice(0, 4).join(', ')}` +
      `${others.length > 4 ? ` and ${others.length - 4} more` : ''}; widen trainable, or ignore these`,
    { details: { tensors: others } },
  );
}

/** The loop: train to the next pruning, prune, go on. */
class GradualRun {
  readonly #trainer: Trainer;
  readonly #names: readonly string[];
  readonly #config: GradualConfig;
  readonly #pool: KernelPool;
  readonly #folder: TrainFolder | undefined;
  readonly #sparsity: (step: number) => number;
  /** The step whose masks hold; none before the first. */
  #pruned = -1;

  constructor(
    trainer: Trainer,
    names: readonly string[],
    config: GradualConfig,
    pool: KernelPool,
    folder: TrainFolder | undefined,
  ) {
    this.#trainer = trainer;
    this.#names = names;
    this.#config = config;
    this.#pool = pool;
    this.#folder = folder;
    const { initialSparsity: initial, sparsity: final, rampSteps: duration } = config;
    this.#sparsity = cubicSparsity({ initial, final, duration });
  }

  /** Trains to the last step; gives the curve and the mean loss of the last tenth of the steps. */
  async train({ signal, progress }: RunOptions): Promise<Readonly<Record<string, unknown>>> {
    const { steps } = this.#config.tuning.training;
    const log = await this.#folder?.openLog(this.#trainer.step);
    const curve = new LossCurve(steps);
    log?.earlier.forEach((record) => curve.add(record));
    const onStep = async (record: StepRecord) => {
      curve.add(record);
      await log?.append(record);
    };
    try {
      while (this.#trainer.step < steps) {
        // A state that was saved between two prunings has the zeros of the one before: masks come out the same again.
        await this.#prune(this.#lastPruning(this.#trainer.step));
        const until = Math.min(steps, this.#nextPruning(this.#trainer.step), this.#nextSave(this.#trainer.step));
        const whole = progress && ((event: ProgressEvent) => progress({ ...event, total: steps }));
        await this.#trainer.train({
          steps: until,
          onStep,
          ...(signal && { signal }),
          ...(whole && { progress: whole }),
        });
        await this.#folder?.save(this.#trainer.state());
      }
      await this.#prune(this.#lastPruning(steps));
    } catch (error) {
      const known = isPithError(error) && (error.code === 'STOPPED' || error.code === 'TRAINING_DIVERGED');
      if (known && this.#trainer.step > 0) await this.#folder?.save(this.#trainer.state());
      throw error;
    }
    return { finalLoss: curve.finalLoss, curve: curve.records.map((record) => ({ ...record })) };
  }

  /** The pruning at or before a step. */
  #lastPruning(step: number): number {
    const { pruneEvery, rampSteps } = this.#config;
    return step >= rampSteps ? rampSteps : Math.floor(step / pruneEvery) * pruneEvery;
  }

  /** The pruning after a step; the end of the ramp is one; Infinity behind it. */
  #nextPruning(step: number): number {
    const { pruneEvery, rampSteps } = this.#config;
    if (step >= rampSteps) return Infinity;
    return Math.min(rampSteps, (Math.floor(step / pruneEvery) + 1) * pruneEvery);
  }

  #nextSave(step: number): number {
    const { steps, saveEvery = Math.ceil(steps / 10) } = this.#config.tuning.training;
    return (Math.floor(step / saveEvery) + 1) * saveEvery;
  }

  /** Draws the masks of a step from the weights as they are, once. */
  async #prune(step: number): Promise<void> {
    if (step === this.#pruned) return;
    this.#pruned = step;
    const sparsity = this.#sparsity(step);
    const { tensors } = this.#trainer.state();
    const masks: Record<string, HostTensor<'f32'>> = {};
    for (const name of this.#names) {
      masks[name] = await magnitudeMask(name, tensors, sparsity, this.#config.comparison, this.#pool);
    }
    this.#trainer.setMasks(masks);
  }
}

async function magnitudeMask(
  name: string,
  tensors: Tensors,
  sparsity: number,
  comparison: Comparison,
  pool: KernelPool,
): Promise<HostTensor<'f32'>> {
  const { shape, data } = tensors[name]!;
  const source = memoryBytes(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  const bytes = new Uint8Array(data.byteLength);
  await pruneInto(
    denseWeight({ name, dtype: 'f32', shape, source }),
    { kind: 'memory', bytes },
    { host: pool, pattern: { kind: 'unstructured', sparsity }, comparison },
  );
  return maskOf({ dtype: 'f32', shape, data: new Float32Array(bytes.buffer) }, (value) => (value === 0 ? 0 : 1));
}

function maskOf({ shape, data }: HostTensor<'f32'>, keeps: (value: number) => number): HostTensor<'f32'> {
  return { dtype: 'f32', shape, data: data.map(keeps) };
}

function zeroShare({ data }: HostTensor<'f32'>): number {
  return data.reduce((zeros, value) => zeros + Number(value === 0), 0) / data.length;
}

async function folderOf(
  directory: string | undefined,
  config: GradualConfig,
  seed: number,
): Promise<TrainFolder | undefined> {
  if (directory === undefined) return undefined;
  const { trainFolder } = await import('@pith/model/node');
  return trainFolder(directory, JSON.stringify({ config, seed }));
}
