// Options that a format has no use for are refused, never ignored.
import type { PlanProblem } from '../plan/types.ts';
import type { ExportRequest } from './format.ts';

const FLAGS = { calibration: '--calibration', importance: '--imatrix', shardBytes: '--shard-size' } as const;

/** A problem for each of these options that was given. */
export function unusedOptions(
  format: string,
  request: ExportRequest,
  options: readonly (keyof typeof FLAGS)[],
): PlanProblem[] {
  return options
    .filter((option) => request[option] !== undefined)
    .map((option) => ({
      code: 'OPTION_UNUSED',
      name: option,
      message: `${FLAGS[option]}: ${format} has no use for it; leave it out`,
    }));
}
