// Which units of an earlier run count. A journal line alone does not prove that its bytes reached the disk, nor that the
// source is still what it was: both are looked at before a unit is skipped.
import type { CheckpointOutput } from '@pith/checkpoint/node';
import { PithError, type RunOptions } from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';
import type { PreparedPlan } from '../plan/plan.ts';
import type { Unit } from '../plan/units.ts';
import { locationOf } from '../source/open-source.ts';
import type { Journal, JournalUnit, TensorLeaves } from './journal.ts';
import { runLeaves, type LeafJob } from './leaves.ts';

/** What {@link acceptEarlierUnits} works with. */
export interface ResumeOptions extends RunOptions {
  readonly prepared: PreparedPlan;
  readonly journal: Journal;
  readonly output: CheckpointOutput;
  readonly pool: KernelPool;
}

/**
 * The units of the journal whose output still has the bytes that were written; others are done again.
 *
 * @throws PithError `SOURCE_CHANGED` when the source is not the one that the journal was begun with.
 */
export async function acceptEarlierUnits(options: ResumeOptions): Promise<ReadonlyMap<string, JournalUnit>> {
  const { prepared, journal, output } = options;
  const candidates = prepared.units.flatMap((unit) => {
    const entry = journal.finished.get(unit.source.name);
    return entry !== undefined && matchesPlan(unit, entry, output) ? [{ unit, entry }] : [];
  });
  await acceptSource(options, candidates);
  const jobs = candidates.map(({ entry }) => entry.wrote.map((tensor) => jobOf(tensor, output.location(tensor.name))));
  const digests = await hashAll(jobs.flat(), options, 'check');
  const accepted = new Map<string, JournalUnit>();
  let next = 0;
  for (const { unit, entry } of candidates) {
    const found = digests.slice(next, (next += entry.wrote.length));
    if (entry.wrote.every(({ leaves }, i) => equal(leaves, found[i]!))) accepted.set(unit.source.name, entry);
  }
  return accepted;
}

interface Candidate {
  readonly unit: Unit;
  readonly entry: JournalUnit;
}

/** A source is the same when its files are; where only their times differ, the content of what was read decides. */
async function acceptSource(options: ResumeOptions, candidates: readonly Candidate[]): Promise<void> {
  const { prepared, journal } = options;
  const { states, directory } = prepared.source;
  const before = new Map(journal.source.map((state) => [state.name, state]));
  const changed = states.filter((state) => {
    const old = before.get(state.name);
    return old?.bytes !== state.bytes || old.sha256 !== state.sha256;
  });
  if (changed.length > 0)
    throw sourceChanged(
      directory,
      'file',
      changed.map(({ name }) => name),
    );
  if (states.every((state) => before.get(state.name)?.modified === state.modified)) return;
  const jobs = candidates.map(({ unit, entry }) => ({
    from: locationOf(unit.source),
    byteLength: unit.source.byteLength,
    leafBytes: entry.read.leafBytes,
  }));
  const digests = await hashAll(jobs, options, 'compare source');
  const others = candidates.filter(({ entry }, i) => !equal(entry.read.leaves, digests[i]!));
  if (others.length > 0)
    throw sourceChanged(
      directory,
      'tensor',
      others.map(({ unit }) => unit.source.name),
    );
  journal.touch(states);
}

function matchesPlan(unit: Unit, entry: JournalUnit, output: CheckpointOutput): boolean {
  const names = unit.outputs.map(({ name }) => name);
  return (
    entry.wrote.map(({ name }) => name).join('\n') === names.join('\n') &&
    entry.wrote.every(({ name, leafBytes, leaves }) => {
      return leaves.length === Math.ceil(output.location(name).byteLength / leafBytes);
    })
  );
}

function jobOf(tensor: TensorLeaves, location: ReturnType<CheckpointOutput['location']>): LeafJob {
  return { from: location, byteLength: location.byteLength, leafBytes: tensor.leafBytes };
}

async function hashAll(
  jobs: readonly LeafJob[],
  { pool, signal, progress }: ResumeOptions,
  phase: string,
): Promise<string[][]> {
  const bytesTotal = jobs.reduce((sum, { byteLength }) => sum + byteLength, 0);
  let bytesDone = 0;
  return runLeaves(pool, jobs, {
    onBytes: (bytes) => {
      bytesDone += bytes;
      progress?.({ phase, done: bytesDone, total: bytesTotal, unit: 'byte', bytesDone, bytesTotal });
    },
    ...(signal === undefined ? {} : { signal }),
  });
}

function equal(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((digest, i) => digest === b[i]);
}

/** The error of a source that is not what it was when the run began. */
export function sourceChanged(directory: string, what: 'file' | 'tensor', names: readonly string[]): PithError {
  const listed = names.slice(0, 10).join(', ') + (names.length > 10 ? `, and ${names.length - 10} more` : '');
  return new PithError(
    'SOURCE_CHANGED',
    `resume: the source ${directory} must be what it was when the run began, ${what}s differ: ${listed}; ` +
      'restore it and run again, or start anew with --overwrite',
    { details: { directory, [`${what}s`]: names } },
  );
}
