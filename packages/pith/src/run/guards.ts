// What every run that writes an artefact refuses: a plan that does not fit, a source that changes, bytes that do not read back.
import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PithError, type RunOptions } from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';
import { problemLines } from '../plan/problem-lines.ts';
import type { Plan } from '../plan/types.ts';
import { RECEIPT_NAME } from '../receipt/receipt.ts';
import { REPORT_NAME } from '../report/save-report.ts';
import type { Receipt } from '../receipt/types.ts';
import { changedFiles, type Source } from '../source/open-source.ts';
import { checkArtefact } from '../verify/check-artefact.ts';
import type { JournalHeader, SourceFileState } from './journal.ts';

/** The first line of a run's journal. */
export function headerOf(
  plan: { readonly sha256: string; readonly versions: Readonly<Record<string, string>> },
  states: readonly SourceFileState[],
  started: string,
): JournalHeader {
  const { sha256, versions } = plan;
  return {
    kind: 'run',
    journal: 1,
    run: randomUUID(),
    plan: sha256,
    versions: { ...versions },
    source: [...states],
    started,
  };
}

/** @throws PithError `PLAN_PROBLEMS` that lists all of them. */
export function refuseProblems(operation: string, { problems }: Plan): void {
  if (problems.length === 0) return;
  throw new PithError(
    'PLAN_PROBLEMS',
    `${operation}: the plan must fit, ${problems.length} ${problems.length === 1 ? 'thing does' : 'things do'} not:` +
      problemLines(problems)
        .map((line) => `\n  ${line}`)
        .join(''),
    { details: { problems } },
  );
}

/** @throws PithError `SOURCE_CHANGED` when a file of the source is not what it was when it was opened. */
export async function refuseChangedSource(operation: string, source: Source): Promise<void> {
  const changed = await changedFiles(source);
  if (changed.length === 0) return;
  throw new PithError(
    'SOURCE_CHANGED',
    `${operation}: the source must stay as it is while it is read, ${changed.join(', ')} changed; run again when it is at rest`,
    { details: { directory: source.directory, files: changed } },
  );
}

/** Reads the artefact back from its files: every byte must be what was meant. */
export async function refuseDifferences(
  operation: string,
  directory: string,
  receipt: Receipt,
  pool: KernelPool,
  run: RunOptions,
): Promise<void> {
  // A run that was killed while it wrote one of the two last files has left a beginning of it.
  for (const name of [RECEIPT_NAME, REPORT_NAME]) await rm(join(directory, `${name}.partial`), { force: true });
  const problems = await checkArtefact(directory, receipt.output, {
    ...run,
    pool,
    allowed: [RECEIPT_NAME, REPORT_NAME],
  });
  if (problems.length === 0) return;
  throw new PithError(
    'READ_BACK_FAILED',
    `${operation}: what was written must read back as it was meant: ${problems
      .slice(0, 5)
      .map(({ message }) => message)
      .join('; ')}; check the disk and run again`,
    { kind: 'internal', details: { problems } },
  );
}
