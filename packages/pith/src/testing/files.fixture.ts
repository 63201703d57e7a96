import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RECEIPT_NAME } from '../receipt/receipt.ts';
import { REPORT_NAME } from '../report/save-report.ts';

/** SHA-256 of every file of a directory by name; those of receipt and report differ from run to run and are left out. */
export function fileHashes(directory: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(directory)
      .filter((name) => name !== RECEIPT_NAME && name !== REPORT_NAME)
      .sort()
      .map((name) => [
        name,
        createHash('sha256')
          .update(readFileSync(join(directory, name)))
          .digest('hex'),
      ]),
  );
}
