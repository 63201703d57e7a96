// An artefact against its receipt.
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { RunOptions } from '@pith/tensor-core';
import { createKernelPool } from '@pith/tensor-core/node';
import { readReceipt, RECEIPT_NAME } from '../receipt/receipt.ts';
import { REPORT_NAME } from '../report/save-report.ts';
import { checkArtefact, extraFile, type ArtefactProblem } from './check-artefact.ts';
import { locateArtefact } from './locate-artefact.ts';

/** Files that a hub, or a push to one, adds to an artefact. */
const HUB_FILES = ['README.md', '.gitattributes'] as const;

/** Options of {@link verify}. */
export interface VerifyOptions extends RunOptions {
  /** Threads that hash; one for each processor when left out. */
  readonly threads?: number;
}

/** What a verification found. */
export interface Verification {
  /** True when the artefact is what its receipt says. */
  readonly ok: boolean;
  /** Every difference; empty when there is none. */
  readonly problems: readonly ArtefactProblem[];
  /** Tensors that the receipt lists. */
  readonly tensors: number;
  /** Files that the receipt lists. */
  readonly files: number;
  /** Bytes of those files. */
  readonly bytes: number;
}

/**
 * Hashes an artefact and compares it with its receipt.
 *
 * @param name directory, or file (the first of a split one), that Pith has written, or a hub id `org/name[@revision][:file]`, which is
 * fetched.
 * @throws PithError `RECEIPT_MISSING`, `RECEIPT_INVALID`. Differences are not thrown but listed.
 */
export async function verify(name: string, options: VerifyOptions = {}): Promise<Verification> {
  const { threads, ...run } = options;
  const { path: artefact, others } = await locateArtefact(name, run);
  const { output } = await readReceipt(artefact);
  const isFile = (await stat(artefact)).isFile();
  const allowed = [RECEIPT_NAME, REPORT_NAME, ...HUB_FILES];
  const pool = createKernelPool(threads === undefined ? {} : { threads });
  try {
    const found = await checkArtefact(isFile ? dirname(artefact) : artefact, output, {
      ...run,
      pool,
      allowed: isFile ? 'any' : allowed,
    });
    const known = new Set([...allowed, ...found.map((problem) => problem.name)]);
    const problems = [...found, ...others.filter((other) => !known.has(other)).map(extraFile)];
    return {
      ok: problems.length === 0,
      problems,
      tensors: output.tensors.length,
      files: output.files.length,
      bytes: output.files.reduce((sum, file) => sum + file.bytes, 0),
    };
  } finally {
    await pool.dispose();
  }
}
