// What a trainer refuses, and how it ends when training goes wrong.
import { PithError } from '@pith/tensor-core';
import type { SpikeRule } from './spike.ts';
import type { TrainState } from './train-state.ts';
import type { StepRecord, TrainerOptions } from './trainer-types.ts';

/** The loss or the gradient is not finite. */
export function diverged(record: StepRecord): PithError {
  // Before the first step nothing has moved yet.
  const remedy =
    record.step === 0
      ? 'nothing was trained yet: weights of the student or of a teacher are not finite or overflow, evaluate them first'
      : 'the state before that step is kept: go on from it with a lower learning rate, a longer warm-up or stronger clipping';
  return new PithError(
    'TRAINING_DIVERGED',
    `training: the loss and the gradient must be finite, got loss ${record.loss} and gradient norm ` +
      `${record.gradientNorm} in step ${record.step}; ${remedy}`,
    // JSON knows no NaN: the numbers go as text.
    { details: { ...record, loss: String(record.loss), gradientNorm: String(record.gradientNorm) } },
  );
}

/** Refuses a state that does not fit. @throws PithError `TRAIN_STATE_MISMATCH`. */
export function checkState(state: TrainState, fresh: TrainState): void {
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

/** The loss rose and stayed high. */
export function rose(record: StepRecord, rule: Required<SpikeRule>, median: number, good: number): PithError {
  return new PithError(
    'TRAINING_DIVERGED',
    `training: the loss must stay below ${rule.factor} times its median (${median.toPrecision(4)}), got more in the last ` +
      `${rule.steps} steps up to step ${record.step} (${record.loss.toPrecision(4)}); the state of step ${good} is kept: go ` +
      'on from it with a lower learning rate, a longer warm-up or stronger clipping',
    { details: { ...record, median, factor: rule.factor, steps: rule.steps, keptStep: good } },
  );
}

/** Refuses options that contradict one another. @throws PithError `TRAINER_OPTIONS`. */
export function checkOptions({
  parameters,
  frozen = {},
  masks = {},
  microBatches = 1,
  rateScale,
}: TrainerOptions): void {
  const faults = maskFaults(masks, parameters);
  if (Object.keys(parameters).length === 0) faults.push('parameters must hold one tensor at least, got none');
  if (!Number.isSafeInteger(microBatches) || microBatches < 1) {
    faults.push(`microBatches must be a whole number from 1, got ${microBatches}`);
  }
  for (const name of Object.keys(frozen)) if (name in parameters) faults.push(`${name} is both trained and frozen`);
  for (const name of Object.keys(parameters)) {
    const scale = rateScale?.(name) ?? 1;
    if (!(scale > 0 && Number.isFinite(scale))) faults.push(`rateScale of ${name} must be above 0, got ${scale}`);
  }
  if (faults.length > 0) throw badOptions(faults);
}

/** What is wrong with masks of these parameters. */
export function maskFaults(masks: TrainState['tensors'], parameters: TrainState['tensors']): string[] {
  return Object.entries(masks).flatMap(([name, { shape }]) => {
    const parameter = parameters[name];
    if (parameter === undefined) return [`there is a mask of ${name}, which is not trained`];
    if (parameter.shape.join() === shape.join()) return [];
    return [`${name} is [${parameter.shape}], its mask is [${shape}]`];
  });
}

/** The error of options that cannot be. */
export const badOptions = (faults: readonly string[]): PithError =>
  new PithError('TRAINER_OPTIONS', `trainer: ${faults.join('; ')}`, { details: { faults } });
