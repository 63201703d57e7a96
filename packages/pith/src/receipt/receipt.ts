// Receipts: sealed when made, checked when read.
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { PithError } from '@pith/tensor-core';
import { canonicalJson } from '../canonical-json.ts';
import { sha256 } from '../run/hash-tree.ts';
import { ReceiptSchema } from './schema.ts';
import type { Receipt } from './types.ts';

/** Name of the receipt in an artefact. */
export const RECEIPT_NAME = 'pith-receipt.json';

/** A hash over everything but the seal itself and what differs from run to run. */
export function sealOf(receipt: Omit<Receipt, 'seal' | 'run'> & Partial<Pick<Receipt, 'seal' | 'run'>>): string {
  const { seal: _seal, run: _run, ...sealed } = receipt;
  return sha256(canonicalJson(sealed));
}

/** Adds the seal and checks the whole against the schema. */
export function sealReceipt(content: Omit<Receipt, 'seal'>): Receipt {
  const { run, ...sealed } = content;
  return ReceiptSchema.parse({ ...sealed, seal: sealOf(sealed), run });
}

/** A receipt as it is written: indented JSON with a line break at the end. */
export function receiptText(receipt: Receipt): string {
  return JSON.stringify(receipt, null, 2) + '\n';
}

/**
 * Reads and checks the receipt of an artefact: inside a directory, beside a file.
 *
 * @param artefact directory, or file (the first of a split one).
 * @throws PithError `RECEIPT_MISSING`, `RECEIPT_INVALID` (not JSON, not a receipt, or edited: the seal is broken).
 */
export async function readReceipt(artefact: string): Promise<Receipt> {
  const isFile = (await stat(artefact).catch(() => undefined))?.isFile() === true;
  const path = isFile ? receiptOfFile(artefact) : join(artefact, RECEIPT_NAME);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    throw new PithError(
      'RECEIPT_MISSING',
      `read receipt: ${artefact} has no ${isFile ? `receipt, ${path} is missing` : RECEIPT_NAME}; only artefacts that Pith has written carry one`,
      { details: { path }, cause: error },
    );
  }
  return parseReceipt(text, path);
}

/** Path of the receipt of an artefact that is a file: beside it. */
export function receiptOfFile(path: string): string {
  return `${path}.receipt.json`;
}

/** Parses and checks the text of a receipt; `path` is for the messages. */
export function parseReceipt(text: string, path: string): Receipt {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid(path, 'it is not JSON', error);
  }
  const result = ReceiptSchema.safeParse(value);
  if (!result.success) {
    const issue = result.error.issues[0]!;
    throw invalid(path, `${issue.path.join('.') || 'it'}: ${issue.message}`, result.error);
  }
  if (sealOf(result.data) !== result.data.seal) throw invalid(path, 'its seal is broken: it was edited or damaged');
  return result.data;
}

function invalid(path: string, why: string, cause?: unknown): PithError {
  return new PithError('RECEIPT_INVALID', `read receipt ${path}: ${why}; write the artefact again`, {
    details: { path, why },
    cause,
  });
}
