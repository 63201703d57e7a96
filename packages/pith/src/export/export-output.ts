// Where an export is made: `<output>.pith-export` beside it, held by a lock. Its files get their final names at the very end:
// a directory by one rename; the files of a split one in reverse, so that the first file, by which readers open the
// whole, comes last but for the receipt. Nothing before that looks finished. An export is short and starts anew when it
// was stopped: what an earlier one left is taken away.
import { existsSync } from 'node:fs';
import { link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { acquireLock, outputError } from '@pith/checkpoint/node';
import { isPithError, PithError } from '@pith/tensor-core';
import { RECEIPT_NAME, receiptOfFile } from '../receipt/receipt.ts';
import { listFiles } from '../run/list-files.ts';
import { requireOutputName } from '../run/output-name.ts';

const OPERATION = 'export';

/** An output that is being made. */
export interface ExportOutput {
  /** Absolute path of the directory that files are written to. */
  readonly directory: string;
  /** Names of the files in it and in folders below it, in order. */
  files(): Promise<string[]>;
  /** Gives everything its final name, with the receipt; returns the paths as they were named by the user. */
  publish(receipt: string): Promise<{ readonly output: string; readonly receipt: string }>;
  /** Takes away what was not published. Safe to call twice. */
  close(): Promise<void>;
}

/** What {@link openExportOutput} needs to know. */
export interface ExportTarget {
  /** As the user named it. */
  readonly output: string;
  readonly kind: 'file' | 'directory';
  /** Names of the files of kind `file`, the first of a split one first. */
  readonly names: readonly string[];
  /** Replaces files, and directories that Pith has written. */
  readonly overwrite: boolean;
}

/**
 * Begins an output.
 *
 * @throws PithError `OUTPUT_NAME_EMPTY`, `OUTPUT_EXISTS`, `OUTPUT_LOCKED`, `OUTPUT_NOT_WRITABLE`, ...
 */
export async function openExportOutput(target: ExportTarget): Promise<ExportOutput> {
  const { output, kind } = target;
  requireOutputName(OPERATION, output);
  await guarded(output, () => refuseExisting(target));
  const path = resolve(output);
  const work = `${path}.pith-export`;
  const directory = join(work, 'content');
  const lock = await guarded(work, async () => {
    if (!existsSync(dirname(work))) await mkdir(dirname(work), { recursive: true });
    await mkdir(work).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    const held = await acquireLock(work);
    await rm(directory, { recursive: true, force: true });
    await mkdir(directory);
    return held;
  });
  let isOpen = true;
  const close = async (): Promise<void> => {
    if (!isOpen) return;
    isOpen = false;
    await lock.release();
    await rm(work, { recursive: true, force: true });
  };
  return {
    directory,
    files: () => listFiles(directory),
    close,
    async publish(receipt) {
      const published = await guarded(output, async () => {
        await refuseExisting(target);
        await syncAll(directory);
        return kind === 'directory'
          ? publishDirectory(target, directory, join(work, 'replaced'), receipt)
          : publishFiles(target, directory, join(work, 'receipt.json'), receipt);
      });
      await close();
      return published;
    },
  };
}

async function publishDirectory({ output }: ExportTarget, from: string, old: string, receipt: string) {
  const path = resolve(output);
  await writeDurably(join(from, RECEIPT_NAME), receipt);
  if (existsSync(path)) await rename(path, old);
  await rename(from, path);
  await syncPath(dirname(path));
  return { output, receipt: join(output, RECEIPT_NAME) };
}

async function publishFiles({ output, names, overwrite }: ExportTarget, from: string, draft: string, receipt: string) {
  const parent = dirname(resolve(output));
  const beside = receiptOfFile(join(parent, names[0]!));
  await writeDurably(draft, receipt);
  // A receipt of the file that is replaced would contradict the new one.
  await rm(beside, { force: true });
  for (const name of [...names].reverse()) await moveFile(join(from, name), join(parent, name), overwrite);
  await moveFile(draft, beside, true);
  await syncPath(parent);
  const named = names[0] === basename(output) ? output : join(dirname(output), names[0]!);
  return { output: named, receipt: receiptOfFile(named) };
}

/** Only what Pith has written is replaced as a directory: an option that is typed wrong must not remove photographs. */
async function refuseExisting({ output, kind, names, overwrite }: ExportTarget): Promise<void> {
  if (kind === 'directory') {
    if (!existsSync(output)) return;
    const entries = await readdir(output).catch(() => undefined);
    if (entries?.length === 0) return;
    if (!overwrite) throw outputExists(output);
    if (entries?.includes(RECEIPT_NAME) === true) return;
    throw new PithError(
      'OUTPUT_EXISTS',
      `${OPERATION}: only an artefact of Pith is replaced, ${output} has no ${RECEIPT_NAME}; choose another output`,
      { details: { path: output } },
    );
  }
  for (const name of names) {
    const named = join(dirname(output), name);
    const found = await stat(named).catch(() => undefined);
    if (found === undefined || (overwrite && found.isFile())) continue;
    if (found.isFile()) throw outputExists(named);
    throw new PithError(
      'OUTPUT_EXISTS',
      `${OPERATION}: the output must be a file, ${named} is something else; choose another name`,
      { details: { path: named } },
    );
  }
}

function outputExists(named: string, cause?: unknown): PithError {
  return new PithError(
    'OUTPUT_EXISTS',
    `${OPERATION}: ${named} must not exist yet, it does; choose another name, or replace it with --overwrite`,
    { details: { path: named }, cause },
  );
}

/** A link never replaces what is there; where links are not known, a rename after a look. */
async function moveFile(from: string, to: string, overwrite: boolean): Promise<void> {
  if (overwrite) return rename(from, to);
  try {
    await link(from, to);
    await rm(from);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (code === 'EEXIST') throw outputExists(to, error);
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(code)) throw error;
    if (existsSync(to)) throw outputExists(to);
    await rename(from, to);
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  const handle = await open(path, 'w');
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncAll(directory: string): Promise<void> {
  const names = await listFiles(directory);
  const folders = new Set(names.map((name) => dirname(join(directory, name))));
  for (const path of [...names.map((name) => join(directory, name)), ...folders, directory]) await syncPath(path);
}

/** Flushes a file or the names in a directory, as far as the system has such a call. */
async function syncPath(path: string): Promise<void> {
  try {
    const handle = await open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!['EISDIR', 'EPERM', 'EINVAL', 'ENOTSUP'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

async function guarded<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw isPithError(error) ? error : outputError(error, OPERATION, path);
  }
}
