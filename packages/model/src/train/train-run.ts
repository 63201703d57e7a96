// A run of training from its first to its last step, wherever it was stopped before.
import { LossCurve } from './loss-curve.ts';
import { isPithError } from '@pith/tensor-core';
import type { HostTensor, RunOptions } from '@pith/tensor-core';
import type { TrainState } from './train-state.ts';
import { createTrainer } from './trainer.ts';
import type { StepRecord, TrainerOptions } from './trainer-types.ts';

/** The loss curve of a run. */
export interface TrainLog {
  /** The records of the steps before, in order. */
  readonly earlier: readonly StepRecord[];
  /** Adds one. */
  append(record: StepRecord): Promise<void>;
}

/** Where a run keeps what it needs to go on after a kill. */
export interface TrainFolder {
  /** The newest state; null where there is none. @throws when it belongs to another run. */
  read(): Promise<TrainState | null>;
  /** Keeps a state in the place of the one before it. */
  save(state: TrainState): Promise<void>;
  /** Opens the loss curve and drops what lies after `step`. */
  openLog(step: number): Promise<TrainLog>;
}

/** Options of {@link trainRun}. */
export interface TrainRunOptions extends RunOptions {
  /** Steps of the whole run. */
  readonly steps: number;
  /** Steps after which the state is saved; a tenth of all when left out. */
  readonly saveEvery?: number;
  /** Where states and the loss curve are kept; nowhere when left out. */
  readonly folder?: TrainFolder;
  /** Receives each step's record. */
  readonly onStep?: (record: StepRecord) => void | Promise<void>;
}

/** What a run gave. */
export interface TrainRunResult {
  /** The trained parameters by name. */
  readonly parameters: Readonly<Record<string, HostTensor<'f32'>>>;
  /** Steps done before this process went on. */
  readonly resumedFrom: number;
  /** The loss curve from the first step on, thinned to a few hundred steps, the last one always among them. */
  readonly curve: readonly StepRecord[];
  /** Mean loss of the last tenth of the steps. */
  readonly finalLoss: number;
}

/**
 * Trains, going on from the newest state of the folder. A run that is stopped or diverges saves its last good state first;
 * a run that ended before gives its parameters without another step.
 *
 * @throws PithError what `createTrainer` and `train` throw, `TRAIN_STATE_SETTINGS` from the folder.
 */
export async function trainRun(options: TrainerOptions, run: TrainRunOptions): Promise<TrainRunResult> {
  const { steps, folder, signal, progress, onStep } = run;
  const saveEvery = run.saveEvery ?? Math.max(1, Math.ceil(steps / 10));
  const state = (await folder?.read()) ?? null;
  const trainer = await createTrainer(state === null ? options : { ...options, state });
  const resumedFrom = trainer.step;
  const curve = new LossCurve(steps);
  try {
    const log = await folder?.openLog(trainer.step);
    log?.earlier.forEach((record) => curve.add(record));
    try {
      await trainer.train({
        steps,
        ...(signal && { signal }),
        ...(progress && { progress }),
        onStep: async (record) => {
          curve.add(record);
          await log?.append(record);
          await onStep?.(record);
          if (trainer.step % saveEvery === 0 || trainer.step === steps) await folder?.save(trainer.state());
        },
      });
    } catch (error) {
      const known = isPithError(error) && (error.code === 'STOPPED' || error.code === 'TRAINING_DIVERGED');
      if (known && trainer.step > 0) await folder?.save(trainer.state());
      throw error;
    }
    const { tensors } = trainer.state();
    const names = Object.keys(options.parameters);
    return {
      parameters: Object.fromEntries(names.map((name) => [name, tensors[name]!])),
      resumedFrom,
      curve: curve.records,
      finalLoss: curve.finalLoss,
    };
  } finally {
    await trainer.dispose();
  }
}
