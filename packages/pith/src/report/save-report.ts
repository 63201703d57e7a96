// The report of an artefact, beside its receipt.
import { basename } from 'node:path';
import type { CheckpointOutput } from '@pith/checkpoint/node';
import { describeArchitecture, readModelConfig, type Architecture } from '@pith/model';
import { isPithError } from '@pith/tensor-core';
import type { Receipt } from '../receipt/types.ts';
import { reportOfReceipt } from './report-of-receipt.ts';

/** Name of the report in an artefact. It is made from the receipt alone and is no part of what the receipt seals. */
export const REPORT_NAME = 'report.html';

/** Writes the report into an artefact that is about to be published as `output`. `config`: the source's config.json, parsed. */
export async function saveReport(
  receipt: Receipt,
  artefact: Pick<CheckpointOutput, 'writeFile'>,
  { output, config }: { readonly output: string; readonly config: unknown },
): Promise<void> {
  // The drawing library is large: it is loaded when there is something to draw.
  const { writeReport } = await import('./write-report.ts');
  const architecture = architectureOf(config);
  const title = basename(output);
  const page = await writeReport(reportOfReceipt(receipt, { title, ...(architecture && { architecture }) }));
  await artefact.writeFile(REPORT_NAME, page);
}

/** Null for an architecture that is unknown: its tensors have no places in the pictures. */
function architectureOf(config: unknown): Architecture | null {
  try {
    return describeArchitecture(readModelConfig(config));
  } catch (error) {
    if (isPithError(error) && error.code === 'ARCHITECTURE_UNSUPPORTED') return null;
    throw error;
  }
}
