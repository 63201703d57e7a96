// Flags of `prune --method iterative` as the library has them: what each round does goes into `by`, the training between
// rounds into `fineTune`.
import { UsageError } from './failure.ts';

const ROUNDS = ['method', 'sparsity', 'rounds', 'spacing', 'degradation'];
const TRAINING = [
  'steps',
  'learningRate',
  'schedule',
  'warmupSteps',
  'batchSize',
  'microBatches',
  'clipNorm',
  'weightDecay',
  'saveEvery',
  'trainable',
];
const STRUCTURE = ['layers', 'neurons', 'kvGroups', 'experts'];

/**
 * Sorts flat options of an iterative pruning into those of the rounds, of one round, and of the training between them.
 *
 * @throws UsageError where options of a training are given without its length, or two ways to prune.
 */
export function iterativeOptions(flat: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { by, ...given } = flat;
  const pick = (wanted: (key: string) => boolean) =>
    Object.fromEntries(Object.entries(given).filter(([key]) => wanted(key)));
  const whole = STRUCTURE.some((key) => key in given);
  if (whole && by !== undefined && by !== 'structure') {
    throw new UsageError(
      'OPTION_CONTRADICTS',
      `--by ${String(by)} and --structure: a round prunes single weights or whole parts; leave out one of them`,
      {},
    );
  }
  const fineTune = pick((key) => TRAINING.includes(key));
  if (Object.keys(fineTune).length > 0 && fineTune['steps'] === undefined) {
    throw new UsageError(
      'OPTION_MISSING',
      '--steps: options of the training between rounds are given, its length is not; add --steps N for each round',
      { given: Object.keys(fineTune) },
    );
  }
  return {
    ...pick((key) => ROUNDS.includes(key)),
    by: {
      method: by ?? (whole ? 'structure' : 'magnitude'),
      ...pick((key) => !ROUNDS.includes(key) && !TRAINING.includes(key)),
    },
    ...(Object.keys(fineTune).length > 0 && { fineTune }),
  };
}
