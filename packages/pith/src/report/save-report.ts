// The report of an artefact, beside its receipt.
import { basename } from 'node:path';
import type { CheckpointOutput } from '@pith/checkpoint/node';
import { describeArchitecture, readModelConfig } from '@pith/model';
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
  const architecture = describeArchitecture(readModelConfig(config));
  const page = await writeReport(reportOfReceipt(receipt, { title: basename(output), architecture }));
  await artefact.writeFile(REPORT_NAME, page);
}
