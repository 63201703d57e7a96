// A run's states and loss curve in one directory.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TrainFolder } from '../train/train-run.ts';
import { openLossLog } from './loss-log.ts';
import { readTrainState, saveTrainState } from './train-state-folder.ts';

/** Name of the loss curve in the directory. */
const LOSS_FILE = 'loss.jsonl';

/**
 * A directory as the place that a run resumes from; it is made when needed. The loss curve is `loss.jsonl`.
 *
 * @param settings Whatever the run follows from, as text: a state of other settings is refused.
 */
export function trainFolder(directory: string, settings: string): TrainFolder {
  return {
    read: () => readTrainState(directory, settings),
    save: (state) => saveTrainState(directory, state, settings),
    openLog: async (step) => {
      await mkdir(directory, { recursive: true });
      return openLossLog(join(directory, LOSS_FILE), step);
    },
  };
}
