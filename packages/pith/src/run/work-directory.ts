// Where an output is made: `<output>.pith-partial` beside it, with the lock, the journal and the artefact under
// construction. Deleting that directory forgets an unfinished run; nothing else does.
//
// Stages, in order, each reached by one atomic step, so that a killed run can tell where it was:
//   1. the journal has its first line           (created, synced)
//   2. `artefact.partial/` receives bytes       (the checkpoint writer's working directory)
//   3. `artefact/` is complete and checked      (renamed by the writer)
//   4. `<output>` is complete                   (renamed from 3), and the directory is removed
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { acquireLock, outputError, type Lock } from '@pith/checkpoint/node';
import { isPithError, PithError } from '@pith/tensor-core';
import { readReceipt, RECEIPT_NAME } from '../receipt/receipt.ts';
import type { Receipt } from '../receipt/types.ts';
import { requireOutputName } from './output-name.ts';
import { createJournal, readJournal, reopenJournal, type Journal, type JournalHeader } from './journal.ts';

const OPERATION = 'write artefact';
const ATTEMPTS = 3;

/** Places of a run. */
export interface WorkPaths {
  /** Absolute path of the final directory. */
  readonly output: string;
  /** The working directory. */
  readonly work: string;
  readonly journal: string;
  /** What the checkpoint writer is given as its output. */
  readonly artefact: string;
  /** Finished blocks and models of staged runs. */
  readonly stages: string;
}

/** The places of a run that writes `output`. */
export function workPaths(output: string): WorkPaths {
  const final = resolve(output);
  const work = `${final}.pith-partial`;
  return {
    output: final,
    work,
    journal: join(work, 'journal.jsonl'),
    artefact: join(work, 'artefact'),
    stages: join(work, 'stages'),
  };
}

/** A working directory that this process holds. */
export interface WorkDirectory {
  readonly paths: WorkPaths;
  readonly journal: Journal;
  /** True where an earlier run began it. */
  readonly resumed: boolean;
  /** True where the artefact is complete and only its final name is missing. */
  readonly published: boolean;
  /** Gives the artefact its final name, replacing an older artefact where that was allowed, and removes the rest. */
  finish(): Promise<void>;
  /** Leaves the directory for a later run. */
  close(): Promise<void>;
}

/** What a run found at its output. */
export type Opened =
  | { readonly kind: 'work'; readonly directory: WorkDirectory }
  /** An earlier run had finished but for tidying up, which is done now. */
  | { readonly kind: 'finished'; readonly receipt: Receipt };

/** What {@link openWork} needs to know. */
export interface OpenWorkOptions {
  readonly header: JournalHeader;
  /** Replaces an artefact of Pith, and unfinished runs that differ. */
  readonly overwrite: boolean;
}

/**
 * Takes the lock of an output and opens or begins its working directory.
 *
 * @throws PithError `OUTPUT_NAME_EMPTY`, `OUTPUT_EXISTS`, `OUTPUT_LOCKED`, `OUTPUT_UNFINISHED_DIFFERS`, `OUTPUT_NOT_WRITABLE`, ...
 */
export async function openWork(output: string, { header, overwrite }: OpenWorkOptions): Promise<Opened> {
  requireOutputName(OPERATION, output);
  const paths = workPaths(output);
  await guarded(paths.work, () => removeTree(doneName(paths)));
  for (let attempt = 1; ; attempt++) {
    try {
      return await openOnce(paths, header, overwrite);
    } catch (error) {
      // The run that held the lock has finished at this moment and taken the directory away.
      const vanished = !existsSync(paths.work) && isPithError(error) && error.code === 'OUTPUT_NO_DIRECTORY';
      if (!vanished || attempt === ATTEMPTS) throw error;
    }
  }
}

async function openOnce(paths: WorkPaths, header: JournalHeader, overwrite: boolean): Promise<Opened> {
  const existed = existsSync(paths.work);
  // Said before anything is created, unless an unfinished run may explain the output.
  if (!existed) await refuseExisting(paths.output, overwrite);
  await guarded(paths.work, async () => {
    // A recursive mkdir hides why the system refused (read-only, no permission), so it makes the parents only.
    if (!existsSync(dirname(paths.work))) await mkdir(dirname(paths.work), { recursive: true });
    await mkdir(paths.work).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
  });
  const lock = await guarded(paths.work, () => acquireLock(paths.work));
  try {
    const content = readJournal(paths.journal);
    const differs = content === undefined ? undefined : difference(content.header, header);
    const hasArtefact = existsSync(paths.artefact) || existsSync(`${paths.artefact}.partial`);
    if (content !== undefined && differs === undefined && !hasArtefact) {
      const receipt = await finishedBy(paths.output, content.header);
      if (receipt !== undefined) {
        await removeWork(paths);
        return { kind: 'finished', receipt };
      }
    }
    await refuseExisting(paths.output, overwrite);
    // The journal's first line is on the disk before there is an artefact: without it the work is not ours to judge.
    const why = differs ?? (content === undefined && hasArtefact ? 'its journal cannot be read' : undefined);
    if (why !== undefined && !overwrite) throw unfinishedDiffers(paths, why);
    const resumed = content !== undefined && differs === undefined;
    if (!resumed) await clear(paths);
    const journal = await guarded(paths.journal, async () =>
      resumed ? reopenJournal(paths.journal, content) : createJournal(paths.journal, header),
    );
    return { kind: 'work', directory: workDirectory(paths, journal, resumed, lock) };
  } catch (error) {
    await lock.release();
    if (!existed) await rmdir(paths.work).catch(() => undefined);
    throw error;
  }
}

function workDirectory(paths: WorkPaths, journal: Journal, resumed: boolean, lock: Lock): WorkDirectory {
  return {
    paths,
    journal,
    resumed,
    published: existsSync(paths.artefact),
    finish: async () => {
      await guarded(paths.output, async () => {
        const old = join(paths.work, 'replaced');
        await rmdir(paths.output).catch(() => undefined);
        if (existsSync(paths.output)) {
          await removeTree(old);
          await rename(paths.output, old);
        }
        await rename(paths.artefact, paths.output);
      });
      journal.close();
      await removeWork(paths);
    },
    close: async () => {
      journal.close();
      await lock.release();
    },
  };
}

function doneName(paths: WorkPaths): string {
  return `${paths.work}.done`;
}

/** Takes the directory away, lock included, in one step: nobody can take a lock in a directory that is being removed. */
async function removeWork(paths: WorkPaths): Promise<void> {
  await guarded(paths.work, async () => {
    await removeTree(doneName(paths));
    await rename(paths.work, doneName(paths));
    await removeTree(doneName(paths));
  });
}

function removeTree(path: string): Promise<void> {
  return rm(path, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });
}

/** Removes what an unusable run left, but not the lock. */
async function clear(paths: WorkPaths): Promise<void> {
  for (const path of [
    paths.journal,
    join(paths.work, 'source.json'),
    paths.stages,
    paths.artefact,
    `${paths.artefact}.partial`,
  ]) {
    await guarded(path, () => removeTree(path));
  }
}

function difference(found: JournalHeader, wanted: JournalHeader): string | undefined {
  for (const [name, version] of Object.entries(wanted.versions)) {
    if (found.versions[name] !== version)
      return `it was begun by version ${found.versions[name] ?? 'unknown'} of ${name}`;
  }
  const files = (header: JournalHeader): string => header.source.map(({ name }) => name).join();
  if (files(found) !== files(wanted)) return 'its source had other files';
  return found.plan === wanted.plan ? undefined : 'its options, or the shapes of its source, were others';
}

/** The receipt at the output, if the run of this journal wrote it. */
async function finishedBy(output: string, header: JournalHeader): Promise<Receipt | undefined> {
  if (!existsSync(join(output, RECEIPT_NAME))) return undefined;
  const receipt = await readReceipt(output);
  return receipt.planSha256 === header.plan && receipt.run.started === header.started ? receipt : undefined;
}

async function refuseExisting(output: string, overwrite: boolean): Promise<void> {
  const found = await guarded(output, () =>
    stat(output).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    }),
  );
  if (found === undefined) return;
  const entries = found.isDirectory() ? await guarded(output, () => readdir(output)) : [basename(output)];
  if (entries.length === 0) return;
  const ours = found.isDirectory() && entries.includes(RECEIPT_NAME);
  if (overwrite && ours) return;
  throw new PithError(
    'OUTPUT_EXISTS',
    overwrite
      ? `${OPERATION}: only an artefact of Pith is replaced, ${output} has no ${RECEIPT_NAME}; choose another output`
      : `${OPERATION}: the output must not exist yet, ${output} does; choose another, remove it` +
          (ours ? ', or replace it with --overwrite' : ''),
    { details: { path: output } },
  );
}

function unfinishedDiffers(paths: WorkPaths, why: string): PithError {
  return new PithError(
    'OUTPUT_UNFINISHED_DIFFERS',
    `${OPERATION}: ${paths.work} holds an unfinished run that this one cannot continue: ${why}; ` +
      `run with the same options to finish that one, or add --overwrite or delete the directory to start anew`,
    { details: { path: paths.work, why } },
  );
}

/** Runs a file operation; a failure of the system becomes an error that names the place and a remedy. */
async function guarded<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (isPithError(error)) throw error;
    throw outputError(error, OPERATION, (error as NodeJS.ErrnoException).path ?? dirname(path));
  }
}
