// Where the text `<artefact>` becomes an artefact on this disk: a path, or a repository of a hub, of which the receipt and the files
// that it lists are fetched into the cache.
import { existsSync } from 'node:fs';
import { join, posix } from 'node:path';
import { parseHubId, type FileStore } from '@pith/checkpoint';
import { fetchHubFiles, readHubSettings } from '@pith/checkpoint/node';
import { PithError, type RunOptions } from '@pith/tensor-core';
import { parseReceipt, RECEIPT_NAME, receiptOfFile } from '../receipt/receipt.ts';

/** An artefact on this disk. */
export interface LocatedArtefact {
  /** Directory, or file with its receipt beside it. */
  readonly path: string;
  /** Files of the repository beside those of the artefact that Pith or a hub puts there, by their paths in it; empty for a path. */
  readonly others: readonly string[];
}

/** Ending of the receipt of an artefact that is a file. */
const BESIDE = receiptOfFile('');

/**
 * Finds an artefact; one on a hub is fetched.
 *
 * @throws PithError `RECEIPT_MISSING`, `RECEIPT_INVALID`, `HUB_FILE_AMBIGUOUS`, those of `fetchHubFiles`.
 */
export async function locateArtefact(artefact: string, run: RunOptions = {}): Promise<LocatedArtefact> {
  if (artefact === '') {
    throw new PithError('RECEIPT_MISSING', 'read receipt: the artefact must have a name, got an empty text; name one', {
      details: { artefact },
    });
  }
  const id = existsSync(artefact) ? undefined : parseHubId(artefact);
  if (id === undefined) return { path: artefact, others: [] };
  const settings = await readHubSettings(process.env);
  let receipt = '';
  let members: readonly string[] = [];
  const choose = async (paths: readonly string[], store: FileStore): Promise<readonly string[]> => {
    receipt = receiptAmong(paths, artefact, id.file);
    const source = await store.open(receipt);
    const text = new TextDecoder().decode(await source.read(0, source.byteLength));
    const { output } = parseReceipt(text, `${artefact}/${receipt}`);
    members = [receipt, ...output.files.map(({ name }) => posix.join(posix.dirname(receipt), name))];
    return members;
  };
  const { directory, listed } = await fetchHubFiles(id, settings, { ...run, choose });
  if (listed === null) {
    // Offline: the cache has what was fetched before.
    const { listFiles } = await import('../run/list-files.ts');
    receipt = receiptAmong(await listFiles(directory), artefact, id.file);
  }
  if (receipt !== RECEIPT_NAME) return { path: join(directory, receipt.slice(0, -BESIDE.length)), others: [] };
  const known = new Set(members);
  return { path: directory, others: (listed ?? []).filter((name) => !known.has(name)) };
}

/** The path of the one receipt that is meant. */
function receiptAmong(paths: readonly string[], artefact: string, file: string | undefined): string {
  const beside = paths.filter((path) => path.endsWith(BESIDE) && path !== RECEIPT_NAME);
  const word = file?.toLowerCase();
  const found =
    word === undefined
      ? paths.includes(RECEIPT_NAME)
        ? [RECEIPT_NAME]
        : beside
      : beside.filter((path) => path.toLowerCase().slice(0, -BESIDE.length).includes(word));
  if (found.length === 1) return found[0]!;
  if (found.length === 0) {
    throw new PithError(
      'RECEIPT_MISSING',
      `read receipt: ${artefact} has no ${file === undefined ? RECEIPT_NAME : `receipt of ${JSON.stringify(file)}`}; only artefacts ` +
        'that Pith has written carry one',
      { details: { artefact, receipts: beside } },
    );
  }
  throw new PithError(
    'HUB_FILE_AMBIGUOUS',
    `verify: one artefact of ${artefact} must be named, ${found.length} have a receipt: ${found.slice(0, 12).join(', ')}; name one ` +
      'as org/name:FILE',
    { details: { artefact, files: found } },
  );
}
