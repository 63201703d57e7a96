// The loop around the step program. Parameters and slots live in two sets of arrays: a step reads one and writes the
// other, then they change places, so that no step allocates and a step that went wrong leaves the last good state whole.
import { PithError, compile, throwIfStopped } from '@pith/tensor-core';
import type { Device, HostTensor, HostTensors, Program, RunOptions, TensorSpec } from '@pith/tensor-core';
import type { BatchSource } from './batch-source.ts';
import type { Loss } from './loss.ts';
import type { Optimizer } from './optimizer.ts';
import type { Schedule } from './schedule.ts';
import { copyState, initialState, type TrainState } from './train-state.ts';
import { batchName, nextName, scalarName, trainStep } from './train-step.ts';

/** What {@link createTrainer} needs. */
export interface TrainerOptions {
  /** Parameters to start from, by checkpoint name, f32. They are copied. */
  readonly parameters: Readonly<Record<string, HostTensor<'f32'>>>;
  /** What is made small. */
  readonly loss: Loss;
  /** What it is computed on. */
  readonly batches: BatchSource;
  /** How gradients become steps. */
  readonly optimizer: Optimizer;
  /** The learning rate of each step. */
  readonly schedule: Schedule;
  /** Gradients are scaled down to this global norm; null for no clipping; 1 when left out. */
  readonly clipNorm?: number | null;
  /** Where the step program runs. */
  readonly device: Device;
  /** A state to go on from, as `state()` or `readTrainState` gave it. It is copied. */
  readonly state?: TrainState;
}

/** What one step tells; a line of the loss curve. */
export interface StepRecord {
  /** Steps done before this one. */
  readonly step: number;
  /** The batch's loss before the step's change, in nats for a cross-entropy. */
  readonly loss: number;
  /** The rate of this step. */
  readonly learningRate: number;
  /** Global norm of the gradients before clipping. */
  readonly gradientNorm: number;
}

/** Options of {@link Trainer.train}. */
export interface TrainOptions extends RunOptions {
  /** Goes on until this many steps are done, those before a resume included. */
  readonly steps: number;
  /** Receives each step's record; awaited, so that it can save the state. */
  readonly onStep?: (record: StepRecord) => void | Promise<void>;
}

/** A run of training. */
export interface Trainer {
  /** Steps done. */
  readonly step: number;
  /** A copy of the state: the last good one, whatever happened after. */
  state(): TrainState;
  /**
   * Trains.
   *
   * @throws PithError `TRAINING_DIVERGED` when the loss or the gradient is not finite: the state is that before the step.
   * `STOPPED` when the signal is aborted: between two steps, so that `state()` resumes exactly.
   */
  train(options: TrainOptions): Promise<void>;
  /** Frees the compiled program. */
  dispose(): Promise<void>;
}

/** Compiles the step program and makes a trainer of it. @throws what `compile` throws, `TRAIN_STATE_MISMATCH`. */
export async function createTrainer(options: TrainerOptions): Promise<Trainer> {
  const { parameters, loss, batches, optimizer, schedule, clipNorm = 1, device } = options;
  const fresh = initialState(parameters, optimizer.slots);
  if (options.state !== undefined) checkState(options.state, fresh);
  const start = options.state === undefined ? fresh : copyState(options.state);
  const scalars: Record<string, HostTensor<'f32'>> = {};
  for (const name of Object.keys(optimizer.scalars(0, 1))) {
    scalars[scalarName(name)] = { dtype: 'f32', shape: [], data: new Float32Array(1) };
  }
  const step = trainStep({
    loss,
    optimizer,
    clipNorm,
    parameters: Object.keys(parameters),
    batch: Object.keys(batches.signature),
  });
  const program = await compile(step, signatureOf(fresh, scalars, batches), device, { name: 'training step' });
  return new CompiledTrainer(program, start, scalars, { batches, optimizer, schedule });
}

function signatureOf(
  state: TrainState,
  scalars: Readonly<Record<string, HostTensor>>,
  batches: BatchSource,
): Record<string, TensorSpec> {
  const signature: Record<string, TensorSpec> = {};
  for (const [name, { shape }] of Object.entries({ ...state.tensors, ...scalars })) signature[name] = { shape };
  for (const [name, spec] of Object.entries(batches.signature)) signature[batchName(name)] = spec;
  return signature;
}

class CompiledTrainer implements Trainer {
  readonly #program: Program;
  readonly #parts: Pick<TrainerOptions, 'batches' | 'optimizer' | 'schedule'>;
  readonly #scalars: Readonly<Record<string, HostTensor<'f32'>>>;
  readonly #report = { loss: scalar(), gradientNorm: scalar() };
  #step: number;
  #front: TrainState['tensors'];
  #back: TrainState['tensors'];

  constructor(
    program: Program,
    start: TrainState,
    scalars: Readonly<Record<string, HostTensor<'f32'>>>,
    parts: Pick<TrainerOptions, 'batches' | 'optimizer' | 'schedule'>,
  ) {
    this.#program = program;
    this.#parts = parts;
    this.#scalars = scalars;
    this.#step = start.step;
    this.#front = start.tensors;
    this.#back = copyState(start).tensors;
  }

  get step(): number {
    return this.#step;
  }

  state(): TrainState {
    return copyState({ step: this.#step, tensors: this.#front });
  }

  async train({ steps, onStep, signal, progress }: TrainOptions): Promise<void> {
    while (this.#step < steps) {
      // A step may hold the thread from its first to its last moment: signals and timers get their turn here.
      await new Promise((resolve) => setTimeout(resolve, 0));
      throwIfStopped(signal, 'training');
      const record = await this.#trainStep();
      await onStep?.(record);
      progress?.({ phase: 'train', done: this.#step, total: steps, unit: 'step' });
    }
  }

  dispose(): Promise<void> {
    return this.#program.dispose();
  }

  async #trainStep(): Promise<StepRecord> {
    const { batches, optimizer, schedule } = this.#parts;
    const step = this.#step;
    const learningRate = schedule(step);
    const numbers = optimizer.scalars(step, learningRate);
    for (const [name, value] of Object.entries(numbers)) this.#scalars[scalarName(name)]!.data[0] = value;
    const inputs: Record<string, HostTensor> = { ...this.#front, ...this.#scalars };
    Object.assign(inputs, renamed(batches.batch(step), batchName));
    await this.#program.run(inputs, { ...renamed(this.#back, nextName), ...this.#report });
    const record = {
      step,
      loss: this.#report.loss.data[0]!,
      learningRate,
      gradientNorm: this.#report.gradientNorm.data[0]!,
    };
    if (!Number.isFinite(record.loss) || !Number.isFinite(record.gradientNorm)) throw diverged(record);
    [this.#front, this.#back] = [this.#back, this.#front];
    this.#step = step + 1;
    return record;
  }
}

const renamed = (tensors: HostTensors, rename: (name: string) => string): HostTensors =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [rename(name), tensor]));

const scalar = (): HostTensor<'f32'> => ({ dtype: 'f32', shape: [], data: new Float32Array(1) });

function diverged(record: StepRecord): PithError {
  return new PithError(
    'TRAINING_DIVERGED',
    `training: the loss and the gradient must be finite, got loss ${record.loss} and gradient norm ` +
      `${record.gradientNorm} in step ${record.step}; the state before that step is kept: go on from it with a lower ` +
      'learning rate, a longer warm-up or stronger clipping',
    // JSON knows no NaN: the numbers go as text.
    { details: { ...record, loss: String(record.loss), gradientNorm: String(record.gradientNorm) } },
  );
}

function checkState(state: TrainState, fresh: TrainState): void {
  const faults: string[] = [];
  for (const [name, { shape }] of Object.entries(fresh.tensors)) {
    const found = state.tensors[name];
    if (found === undefined) faults.push(`${name} is missing`);
    else if (found.shape.join() !== shape.join()) faults.push(`${name} is [${shape}], the state's is [${found.shape}]`);
  }
  for (const name of Object.keys(state.tensors)) if (!(name in fresh.tensors)) faults.push(`${name} is not known`);
  if (faults.length === 0) return;
  throw new PithError(
    'TRAIN_STATE_MISMATCH',
    `resume training: the saved state must fit the model and the optimizer, got: ${faults.join('; ')}; resume with the ` +
      'settings of the run that saved it',
    { details: { faults } },
  );
}
