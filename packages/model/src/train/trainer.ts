// The loop around the step program. Parameters and slots live in sets of arrays: a step reads one and writes another, then
// they change places, so that no step allocates and a step that went wrong leaves the last good state whole. A third set
// holds the state before, which is where a run goes back to whose loss rose and stayed high.
import { compile, throwIfStopped } from '@pith/tensor-core';
import type { HostTensor, HostTensors, Program, TensorSpec } from '@pith/tensor-core';
import { SpikeWatch } from './spike.ts';
import { scalar, StepTensors } from './step-tensors.ts';
import { copyState, initialState, type TrainState } from './train-state.ts';
import {
  accumulateStep,
  batchName,
  maskName,
  nextName,
  termName,
  trainStep,
  updateStep,
  type TrainStepOptions,
} from './train-step.ts';
import { badOptions, checkOptions, checkState, diverged, maskFaults, rose } from './trainer-faults.ts';
import type { StepRecord, Trainer, TrainerOptions, TrainOptions } from './trainer-types.ts';

export type { StepRecord, Trainer, TrainerOptions, TrainOptions } from './trainer-types.ts';

/**
 * Compiles the step and makes a trainer of it.
 *
 * @throws what `compile` throws, PithError `TRAIN_STATE_MISMATCH`, `TRAINER_OPTIONS` with every offending option.
 */
export async function createTrainer(options: TrainerOptions): Promise<Trainer> {
  const { parameters, optimizer, device, microBatches = 1 } = options;
  checkOptions(options);
  const fresh = initialState(parameters, optimizer.slots);
  if (options.state !== undefined) checkState(options.state, fresh);
  const start = options.state === undefined ? fresh : copyState(options.state);
  const tensors = new StepTensors(options);
  const step: TrainStepOptions = {
    loss: options.loss,
    optimizer,
    clipNorm: options.clipNorm === undefined ? 1 : options.clipNorm,
    parameters: Object.keys(parameters),
    frozen: Object.keys(options.frozen ?? {}),
    masks: new Set(Object.keys(options.masks ?? {})),
    batch: [...Object.keys(options.batches.signature), ...Object.keys(tensors.numbers)],
    rateScale: options.rateScale ?? (() => 1),
    microBatches,
  };
  const { state, frozen, batch, numbers, masks, scalars, sums } = {
    state: specsOf(start.tensors),
    frozen: specsOf(options.frozen ?? {}),
    batch: renamed(options.batches.signature, batchName),
    numbers: renamed(specsOf(tensors.numbers), batchName),
    masks: specsOf(tensors.masks),
    scalars: specsOf(tensors.scalars),
    sums: specsOf(tensors.sums),
  };
  const named = (name: string) => ({ name });
  if (microBatches === 1) {
    const signature = { ...state, ...frozen, ...batch, ...numbers, ...masks, ...scalars };
    const program = await compile(trainStep(step), signature, device, named('training step'));
    return new CompiledTrainer([program], start, tensors, options);
  }
  const weights = Object.fromEntries(step.parameters.map((name) => [name, state[name]!]));
  const accumulate = { ...weights, ...frozen, ...batch, ...numbers, ...sums };
  const first = await compile(accumulateStep(step), accumulate, device, named('gradients of a batch'));
  const update = { ...state, ...masks, ...scalars, ...sums };
  const second = await compile(updateStep(step), update, device, named('optimizer step'));
  return new CompiledTrainer([first, second], start, tensors, options);
}

const specsOf = (tensors: HostTensors): Record<string, TensorSpec> =>
  Object.fromEntries(Object.entries(tensors).map(([name, { shape }]) => [name, { shape }]));

/** A state whose arrays are written again and again. */
interface StateSlot {
  step: number;
  readonly tensors: TrainState['tensors'];
}

class CompiledTrainer implements Trainer {
  readonly #programs: readonly Program[];
  readonly #options: TrainerOptions;
  readonly #tensors: StepTensors;
  readonly #terms: readonly string[];
  readonly #watch: SpikeWatch | null;
  /** The state that the next step reads. */
  #front: StateSlot;
  /** The state that it writes. */
  #back: StateSlot;
  /** The state before the front one; during a spike the one before the spike. Null where no spike is watched for. */
  #good: StateSlot | null;
  /** Losses as they were when the good state was the front one. */
  #goodLosses: readonly number[];

  constructor(programs: readonly Program[], start: TrainState, tensors: StepTensors, options: TrainerOptions) {
    this.#programs = programs;
    this.#options = options;
    this.#tensors = tensors;
    this.#terms = Object.keys(programs[0]!.outputs).filter((name) => name.startsWith(TERM));
    const rule = options.divergence === undefined ? {} : options.divergence;
    this.#watch = rule === null ? null : new SpikeWatch(rule, start.recentLosses);
    this.#front = { step: start.step, tensors: start.tensors };
    this.#back = { step: start.step, tensors: copyState(start).tensors };
    this.#good = this.#watch && { step: start.step, tensors: copyState(start).tensors };
    this.#goodLosses = this.#watch?.losses ?? [];
    this.#applyMasks();
  }

  get step(): number {
    return this.#front.step;
  }

  state(): TrainState {
    const spike = this.#watch !== null && this.#watch.steps > 0;
    const { step, tensors } = spike ? this.#good! : this.#front;
    const recentLosses = spike ? this.#goodLosses : (this.#watch?.losses ?? []);
    return copyState({ step, tensors, recentLosses });
  }

  setMasks(masks: Readonly<Record<string, HostTensor<'f32'>>>): void {
    const faults = maskFaults(masks, this.#front.tensors);
    for (const name of Object.keys(masks)) {
      if (!(maskName(name) in this.#tensors.masks)) faults.push(`${name} was made without a mask`);
    }
    if (faults.length > 0) throw badOptions(faults);
    for (const [name, { data }] of Object.entries(masks)) this.#tensors.masks[maskName(name)]!.data.set(data);
    this.#applyMasks();
    this.#watch?.reset();
  }

  async train({ steps, onStep, signal, progress }: TrainOptions): Promise<void> {
    while (this.step < steps) {
      // A step may hold the thread from its first to its last moment: signals and timers get their turn here.
      await new Promise((resolve) => setTimeout(resolve, 0));
      throwIfStopped(signal, 'training');
      const record = await this.#trainStep();
      await onStep?.(record);
      const item = `loss ${record.loss.toPrecision(4)}`;
      progress?.({ phase: 'train', item, done: this.step, total: steps, unit: 'step' });
    }
    // A rise that was too short to count is no reason to give away what was asked for.
    this.#watch?.reset(this.#watch.losses);
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.dispose()));
  }

  async #trainStep(): Promise<StepRecord> {
    const { step } = this.#front;
    const learningRate = this.#options.schedule(step);
    this.#tensors.fill(step, learningRate, this.#options);
    const report = { loss: scalar(), gradientNorm: scalar() };
    const terms = await (this.#programs.length === 1 ? this.#whole(report) : this.#accumulated(report));
    const record: StepRecord = {
      step,
      loss: report.loss.data[0]!,
      learningRate,
      gradientNorm: report.gradientNorm.data[0]!,
      ...(this.#terms.length > 0 && { terms }),
    };
    if (!Number.isFinite(record.loss) || !Number.isFinite(record.gradientNorm)) throw diverged(record);
    this.#back.step = step + 1;
    this.#follow(record);
    return record;
  }

  /** Forward, backward and optimizer in one program. */
  async #whole(report: { loss: HostTensor<'f32'>; gradientNorm: HostTensor<'f32'> }): Promise<Record<string, number>> {
    const { scalars, masks } = this.#tensors;
    const inputs = { ...this.#front.tensors, ...this.#options.frozen, ...scalars, ...masks };
    const into = { ...renamed(this.#back.tensors, nextName), ...report };
    return this.#termsOf(await this.#programs[0]!.run({ ...inputs, ...this.#batch(this.#front.step) }, into));
  }

  /** Gradients of several batches, then the optimizer. */
  async #accumulated(report: {
    loss: HostTensor<'f32'>;
    gradientNorm: HostTensor<'f32'>;
  }): Promise<Record<string, number>> {
    const [gradients, update] = this.#programs as [Program, Program];
    const { scalars, masks, sums } = this.#tensors;
    const { microBatches = 1, parameters, frozen } = this.#options;
    const weights = Object.fromEntries(Object.keys(parameters).map((name) => [name, this.#front.tensors[name]!]));
    for (const { data } of Object.values(sums)) data.fill(0);
    let from: HostTensors = sums;
    let loss = 0;
    const terms: Record<string, number> = {};
    for (let i = 0; i < microBatches; i++) {
      const inputs = { ...weights, ...frozen, ...from, ...this.#batch(this.#front.step * microBatches + i) };
      const outputs = await gradients.run(inputs);
      loss += (outputs['loss']!.data as Float32Array)[0]! / microBatches;
      for (const [name, value] of Object.entries(this.#termsOf(outputs))) {
        terms[name] = (terms[name] ?? 0) + value / microBatches;
      }
      from = Object.fromEntries(Object.keys(sums).map((name) => [name, outputs[nextName(name)]!]));
    }
    report.loss.data[0] = loss;
    const into = { ...renamed(this.#back.tensors, nextName), gradientNorm: report.gradientNorm };
    await update.run({ ...this.#front.tensors, ...from, ...scalars, ...masks }, into);
    return terms;
  }

  #termsOf(outputs: HostTensors): Record<string, number> {
    return Object.fromEntries(
      this.#terms.map((name) => [name.slice(TERM.length), (outputs[name]!.data as Float32Array)[0]!]),
    );
  }

  #batch(index: number): HostTensors {
    return renamed({ ...this.#options.batches.batch(index), ...this.#tensors.numbers }, batchName);
  }

  /** The states change places; a spike of the loss keeps the one before it. */
  #follow(record: StepRecord): void {
    const watch = this.#watch;
    const losses = watch?.losses ?? [];
    const spike = watch?.add(record.loss) ?? false;
    if (watch !== null && spike && watch.steps >= watch.rule.steps) {
      const { median } = watch;
      this.#front = this.#good!;
      watch.reset(this.#goodLosses);
      throw rose(record, watch.rule, median!, this.#front.step);
    }
    if (spike) {
      [this.#front, this.#back] = [this.#back, this.#front];
      return;
    }
    if (this.#good === null) {
      [this.#front, this.#back] = [this.#back, this.#front];
      return;
    }
    // The loss of this step was good, so the state that it was computed with is.
    [this.#front, this.#back, this.#good] = [this.#back, this.#good, this.#front];
    this.#goodLosses = losses;
  }

  #applyMasks(): void {
    for (const [name, { data: mask }] of Object.entries(this.#tensors.masks)) {
      const { data } = this.#front.tensors[name.slice(maskName('').length)]!;
      for (let i = 0; i < data.length; i++) if (!(mask[i]! > 0)) data[i] = 0;
    }
  }
}

const TERM = termName('');

function renamed<T>(tensors: Readonly<Record<string, T>>, rename: (name: string) => string): Record<string, T> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [rename(name), tensor]));
}
