// What goes into a trainer and what it can do.
import type { Device, HostTensor, RunOptions } from '@pith/tensor-core';
import type { BatchSource } from './batch-source.ts';
import type { DetailedLoss, Loss } from './loss.ts';
import type { Optimizer } from './optimizer.ts';
import type { Schedule } from './schedule.ts';
import type { SpikeRule } from './spike.ts';
import type { TrainState } from './train-state.ts';

/** What `createTrainer` needs. */
export interface TrainerOptions {
  /** Parameters to start from, by checkpoint name, f32. They are copied. */
  readonly parameters: Readonly<Record<string, HostTensor<'f32'>>>;
  /** Tensors that the loss reads beside the parameters and that no step changes, by names of their own. Not copied. */
  readonly frozen?: Readonly<Record<string, HostTensor<'f32'>>>;
  /**
   * Masks of parameters by name, 1 or 0 for each value: what is 0 is zero from the start and stays so, and its gradient
   * counts for nothing. `setMasks` exchanges them during the run.
   */
  readonly masks?: Readonly<Record<string, HostTensor<'f32'>>>;
  /** What is made small. */
  readonly loss: Loss | DetailedLoss;
  /** What it is computed on. */
  readonly batches: BatchSource;
  /**
   * Batches that make up one step: their gradients are averaged, in f32. Step s takes batches `s * microBatches` onwards.
   * 1 when left out.
   */
  readonly microBatches?: number;
  /** Numbers of each step that the loss finds in its batch under these names, as f32 scalars: weights that change. */
  readonly numbers?: (step: number) => Readonly<Record<string, number>>;
  /** How gradients become steps. */
  readonly optimizer: Optimizer;
  /** The learning rate of each step. */
  readonly schedule: Schedule;
  /** Multiplies the learning rate of a parameter; 1 for all when left out. */
  readonly rateScale?: (name: string) => number;
  /** Gradients are scaled down to this global norm; null for no clipping; 1 when left out. */
  readonly clipNorm?: number | null;
  /** When a loss that is finite counts as diverged; its defaults when left out, null for never. */
  readonly divergence?: SpikeRule | null;
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
  /** The parts of the loss, where it tells them. */
  readonly terms?: Readonly<Record<string, number>>;
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
  /**
   * A copy of the state: the last good one, whatever happened after. While the loss lies far above what it was, that is
   * the state before it rose, so that what is saved is sound.
   */
  state(): TrainState;
  /**
   * Exchanges masks, for the names that the trainer was made with, and applies them at once. The rule for divergence
   * starts anew, since the loss may jump.
   *
   * @throws PithError `TRAINER_OPTIONS`.
   */
  setMasks(masks: Readonly<Record<string, HostTensor<'f32'>>>): void;
  /**
   * Trains.
   *
   * @throws PithError `TRAINING_DIVERGED` when the loss or the gradient is not finite (the state is that before the step),
   * or stays far above what it was (the state is that before it rose). `STOPPED` when the signal is aborted: between two
   * steps, so that `state()` resumes exactly.
   */
  train(options: TrainOptions): Promise<void>;
  /** Frees the compiled programs. */
  dispose(): Promise<void>;
}
