// How a run of training goes, apart from what it makes small: shared by everything that trains (distillation,
// quantization-aware training, fine-tuning after pruning), so that the options have the same names everywhere.
import { PithError } from '@pith/tensor-core';
import { z } from 'zod';
import { adamw } from './adamw.ts';
import { cosineSchedule, wsdSchedule, type Schedule } from './schedule.ts';
import type { TrainerOptions } from './trainer-types.ts';
import { windowBatches, type WindowBatches } from './window-batches.ts';

const steps = z.int().min(1).max(1e9);

/** The fields of a training run, for configurations that contain them; all but `steps` have defaults. */
export const trainingFields = {
  /** Steps of the optimizer. */
  steps,
  /** The highest learning rate; 1e-3. */
  learningRate: z.number().positive().max(10).default(1e-3),
  /** What the rate does after its warm-up: `cosine` to zero, `wsd` (stays, then falls in the last tenth), `constant`. */
  schedule: z.enum(['cosine', 'wsd', 'constant']).default('cosine'),
  /** Steps in which the rate rises; a twentieth of all when left out. */
  warmupSteps: z.int().min(0).exactOptional(),
  /** Windows in a batch; 4. */
  batchSize: z.int().min(1).max(65536).default(4),
  /** Batches whose gradients make up one step; 1. */
  microBatches: z.int().min(1).max(65536).default(1),
  /** Largest global norm of the gradients; null for no clipping; 1. */
  clipNorm: z.number().positive().nullable().default(1),
  /** AdamW's decay of matrices; 0.01. */
  weightDecay: z.number().min(0).max(1).default(0.01),
  /** Steps after which the state is saved; a tenth of all when left out. */
  saveEvery: z.int().min(1).exactOptional(),
};

/** A training run alone. */
export const trainingSchema = z.strictObject(trainingFields);

/** A training run, validated, with every default but those that follow from `steps` filled in. */
export type TrainingConfig = z.output<typeof trainingSchema>;

/** The learning rate of each step of a run. @throws PithError `SCHEDULE_INVALID`. */
export function scheduleOf({ steps: all, learningRate: peak, schedule, warmupSteps }: TrainingConfig): Schedule {
  const warmup = warmupSteps ?? Math.floor(all / 20);
  if (schedule === 'cosine') return cosineSchedule({ steps: all, warmupSteps: warmup, peak });
  if (schedule === 'wsd') {
    return wsdSchedule({ steps: all, warmupSteps: warmup, peak, decaySteps: Math.floor((all - warmup) / 10) });
  }
  if (warmup > all) {
    throw new PithError('SCHEDULE_INVALID', `schedule: warmupSteps must be at most steps (${all}), got ${warmup}`, {
      details: { steps: all, warmupSteps: warmup },
    });
  }
  return (step) => (step < warmup ? (peak * (step + 1)) / warmup : peak);
}

/** The parts of a trainer that follow from a training run and its windows; AdamW with a second decay of 0.95, for short runs. */
export function trainerParts(
  config: TrainingConfig,
  windows: readonly Int32Array[],
  seed: number,
): Pick<TrainerOptions, 'optimizer' | 'schedule' | 'clipNorm' | 'microBatches'> & {
  /** The windows in batches, in an order of the seed. */
  readonly batches: WindowBatches;
} {
  return {
    batches: windowBatches({ windows, batchSize: config.batchSize, seed }),
    optimizer: adamw({ beta2: 0.95, weightDecay: config.weightDecay }),
    schedule: scheduleOf(config),
    clipNorm: config.clipNorm,
    microBatches: config.microBatches,
  };
}
