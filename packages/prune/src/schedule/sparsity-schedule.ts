// How much is pruned by when.
//
// The cubic schedule of Zhu & Gupta 2017, "To prune, or not to prune", equation 1: fast while there is much that is not
// needed, slower and slower towards the target: s(t) = s_f + (s_i - s_f) (1 - t / T)^3.
import { PithError } from '@pith/tensor-core';

/** Options of {@link cubicSparsity}. */
export interface CubicSparsityOptions {
  /** Sparsity at time 0. */
  readonly initial: number;
  /** Sparsity from time `duration` on. */
  readonly final: number;
  /** T: the time that the ramp takes, in any unit. */
  readonly duration: number;
}

/**
 * The sparsity at a time, which counts in the unit of `duration`; before 0 as at 0, after `duration` as at its end.
 *
 * @throws PithError `SPARSITY_SCHEDULE_INVALID` unless 0 <= initial <= final < 1 and duration > 0.
 */
export function cubicSparsity({ initial, final, duration }: CubicSparsityOptions): (time: number) => number {
  const faults = [
    ...(initial >= 0 && initial < 1 ? [] : [`initial must be in [0, 1), got ${initial}`]),
    ...(final >= 0 && final < 1 ? [] : [`final must be in [0, 1), got ${final}`]),
    ...(initial > final ? [`initial must be at most final (${final}), got ${initial}`] : []),
    ...(duration > 0 ? [] : [`duration must be above 0, got ${duration}`]),
  ];
  if (faults.length > 0) {
    throw new PithError('SPARSITY_SCHEDULE_INVALID', `sparsity schedule: ${faults.join('; ')}`, {
      details: { faults },
    });
  }
  return (time) => {
    const left = 1 - Math.min(Math.max(time / duration, 0), 1);
    return final + (initial - final) * left * left * left;
  };
}

/** How rounds divide the way to the target: `cubic` as above, the largest round first; `linear` in equal parts. */
export type RoundSpacing = 'cubic' | 'linear';

/** The part of the target, 0 to 1, that is reached after each of `rounds` rounds; the last is 1. */
export function roundShares(rounds: number, spacing: RoundSpacing): number[] {
  return Array.from({ length: rounds }, (_, index) => {
    const time = (index + 1) / rounds;
    return spacing === 'linear' ? time : 1 - (1 - time) ** 3;
  });
}
