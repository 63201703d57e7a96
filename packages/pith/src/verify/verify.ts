// An artefact against its receipt.
import type { RunOptions } from '@pith/tensor-core';
import { createKernelPool } from '@pith/tensor-core/node';
import { readReceipt, RECEIPT_NAME } from '../receipt/receipt.ts';
import { REPORT_NAME } from '../report/save-report.ts';
import { checkArtefact, type ArtefactProblem } from './check-artefact.ts';

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
 * @param directory that Pith has written.
 * @throws PithError `RECEIPT_MISSING`, `RECEIPT_INVALID`. Differences are not thrown but listed.
 */
export async function verify(directory: string, options: VerifyOptions = {}): Promise<Verification> {
  const { threads, ...run } = options;
  const { output } = await readReceipt(directory);
  const pool = createKernelPool(threads === undefined ? {} : { threads });
  try {
    const problems = await checkArtefact(directory, output, { ...run, pool, allowed: [RECEIPT_NAME, REPORT_NAME] });
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
