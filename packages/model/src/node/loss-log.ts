// The loss curve as JSON lines, one a step. A resumed run goes on where its state is: lines of steps that will be done
// again are dropped, so that the file ends up as that of an undisturbed run.
import { readFile, rename, writeFile, appendFile } from 'node:fs/promises';
import type { StepRecord } from '../train/trainer.ts';

/** Writes {@link StepRecord}s as JSON lines. */
export interface LossLog {
  /** The records of the steps before, in order. */
  readonly earlier: readonly StepRecord[];
  /** Adds a line. */
  append(record: StepRecord): Promise<void>;
}

/**
 * Opens or creates the file and drops the lines of step `step` and later, and a last line that was cut off.
 *
 * @param step Steps that are done.
 */
export async function openLossLog(path: string, step: number): Promise<LossLog> {
  const kept = (await textOf(path)).split('\n').filter((line) => isBefore(line, step));
  // Written anew and renamed: a crash here loses nothing.
  await writeFile(`${path}.new`, kept.map((line) => `${line}\n`).join(''));
  await rename(`${path}.new`, path);
  return {
    earlier: kept.map((line) => JSON.parse(line) as StepRecord),
    append: (record) => appendFile(path, `${JSON.stringify(record)}\n`),
  };
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

function isBefore(line: string, step: number): boolean {
  try {
    return (JSON.parse(line) as StepRecord).step < step;
  } catch {
    return false;
  }
}
