// Learning rates over the steps of a run.
import { PithError } from '@pith/tensor-core';

/** The learning rate of each step, counted from 0. A pure function, so that a resumed run sees the same rates. */
export type Schedule = (step: number) => number;

/** Options of {@link cosineSchedule}. */
export interface CosineScheduleOptions {
  /** Steps of the whole run. */
  readonly steps: number;
  /** Steps in which the rate rises linearly to its peak; the first of them has the rate `peak / warmupSteps`. */
  readonly warmupSteps: number;
  /** The highest rate. */
  readonly peak: number;
  /** The rate at the end; 0 when left out. */
  readonly floor?: number;
}

/**
 * A linear warm-up, then half a cosine from the peak to the floor, which stays from step `steps` on.
 *
 * Source: Loshchilov & Hutter 2017 (SGDR), section 3, equation 5, one period.
 *
 * @throws PithError `SCHEDULE_INVALID` naming every option that is out of range.
 */
export function cosineSchedule({ steps, warmupSteps, peak, floor = 0 }: CosineScheduleOptions): Schedule {
  refuse('cosine schedule', commonFaults({ steps, warmupSteps, peak, floor }));
  const falling = Math.max(1, steps - warmupSteps);
  return (step) => {
    if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps;
    const done = Math.min(1, (step - warmupSteps) / falling);
    return floor + 0.5 * (peak - floor) * (1 + Math.cos(Math.PI * done));
  };
}

/** Options of {@link wsdSchedule}. */
export interface WsdScheduleOptions extends CosineScheduleOptions {
  /** Steps at the end in which the rate falls linearly from its peak to the floor; a tenth of all steps when left out. */
  readonly decaySteps?: number;
}

/**
 * Warm-up, stable, decay: a linear warm-up, the peak for as long as it takes, then a straight line to the floor. The stable
 * part can be lengthened without another peak, and decayed from at any moment.
 *
 * Source: Hu et al. 2024 (MiniCPM), section 4; the linear decay to zero is that of Hägele et al. 2024, section 3.
 *
 * @throws PithError `SCHEDULE_INVALID` naming every option that is out of range.
 */
export function wsdSchedule({ steps, warmupSteps, peak, floor = 0, decaySteps }: WsdScheduleOptions): Schedule {
  const decay = decaySteps ?? Math.floor(steps / 10);
  const faults = commonFaults({ steps, warmupSteps, peak, floor });
  if (!Number.isSafeInteger(decay) || decay < 0 || decay > steps - warmupSteps) {
    faults.push(`decaySteps must be a whole number from 0 to steps - warmupSteps, got ${decay}`);
  }
  refuse('WSD schedule', faults);
  return (step) => {
    if (step < warmupSteps) return (peak * (step + 1)) / warmupSteps;
    if (step < steps - decay) return peak;
    return step >= steps ? floor : floor + ((peak - floor) * (steps - step)) / (decay + 1);
  };
}

function commonFaults({ steps, warmupSteps, peak, floor }: Required<CosineScheduleOptions>): string[] {
  const faults: string[] = [];
  if (!Number.isSafeInteger(steps) || steps < 1) faults.push(`steps must be a whole number from 1, got ${steps}`);
  if (!Number.isSafeInteger(warmupSteps) || warmupSteps < 0 || warmupSteps > steps) {
    faults.push(`warmupSteps must be a whole number from 0 to steps, got ${warmupSteps}`);
  }
  if (!(peak > 0 && Number.isFinite(peak))) faults.push(`peak must be above 0 and finite, got ${peak}`);
  if (!(floor >= 0 && floor <= peak)) faults.push(`floor must lie between 0 and peak, got ${floor}`);
  return faults;
}

function refuse(schedule: string, faults: readonly string[]): void {
  if (faults.length === 0) return;
  throw new PithError('SCHEDULE_INVALID', `${schedule}: ${faults.join('; ')}`, { details: { faults } });
}
