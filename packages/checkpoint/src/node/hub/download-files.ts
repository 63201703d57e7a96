// Files of a repository into the cache, several at a time, by one process at a time, after a look at the space that is left.
import { mkdir, stat, statfs } from 'node:fs/promises';
import { mapLimited, PithError, type RunOptions } from '@pith/tensor-core';
import type { HubClient } from '../../hub/hub-client.ts';
import type { HubFile, HubRepository } from '../../hub/hub-repository.ts';
import { downloadFile } from './download-file.ts';
import type { RepositoryCache } from './hub-cache.ts';

/** Files under way at a time. */
const CONCURRENCY = 4;
/** Space that is left free. */
const SPARE_BYTES = 64 * 2 ** 20;

/** How files are fetched. */
export interface DownloadOptions extends RunOptions {
  /** Files under way at a time; 4 when left out. */
  readonly concurrency?: number;
}

/**
 * Fetches what the cache does not hold yet.
 *
 * @throws PithError `HUB_DISK_FULL` before anything is fetched where the space does not suffice, and those of fetching a file.
 */
export async function downloadFiles(
  client: HubClient,
  cache: RepositoryCache,
  repository: HubRepository,
  files: readonly HubFile[],
  { concurrency = CONCURRENCY, signal, progress }: DownloadOptions = {},
): Promise<void> {
  if ((await missingFiles(cache, repository, files)).length === 0) return;
  const phase = `download ${repository.id}`;
  const lock = await cache.lock({
    ...(signal && { signal }),
    onWait: () =>
      progress?.({ phase: 'wait for another download of the same model', done: 0, total: 1, unit: 'download' }),
  });
  try {
    const missing = await missingFiles(cache, repository, files);
    await requireSpace(cache, repository, missing);
    const total = missing.reduce((sum, { byteLength }) => sum + byteLength, 0);
    let done = 0;
    const tell = (bytes: number, item: string): void => {
      done += bytes;
      progress?.({ phase, item, done, total, unit: 'byte', bytesDone: done, bytesTotal: total });
    };
    // Files of one content share a blob: one after the other.
    const groups = new Map<string, HubFile[]>();
    for (const file of missing) groups.set(file.hash, [...(groups.get(file.hash) ?? []), file]);
    const failed: unknown[] = [];
    await mapLimited([...groups.values()], concurrency, async (group) => {
      try {
        for (const file of group) {
          await downloadFile(client, cache, repository, file, (bytes) => {
            // The others stop where they are when one has failed: what they have fetched is kept.
            if (failed.length > 0) throw failed[0] as Error;
            tell(bytes, file.path);
          });
        }
      } catch (error) {
        failed.push(error);
        throw error;
      }
    });
  } finally {
    await lock.release();
  }
}

/** Files that the snapshot does not hold. */
export async function missingFiles(
  cache: RepositoryCache,
  { commit }: HubRepository,
  files: readonly HubFile[],
): Promise<HubFile[]> {
  const missing: HubFile[] = [];
  for (const file of files) if (!(await cache.has(commit, file))) missing.push(file);
  return missing;
}

async function requireSpace(cache: RepositoryCache, { id }: HubRepository, files: readonly HubFile[]): Promise<void> {
  await mkdir(cache.directory, { recursive: true });
  const wanted = new Map<string, number>();
  for (const file of files) {
    const blob = cache.blob(file);
    const sizes = [blob, `${blob}.incomplete`].map(
      async (path) => (await stat(path).catch(() => undefined))?.size ?? 0,
    );
    const there = Math.max(...(await Promise.all(sizes)));
    wanted.set(file.hash, Math.max(0, file.byteLength - there));
  }
  const needed = [...wanted.values()].reduce((sum, bytes) => sum + bytes, 0);
  const { bavail, bsize } = await statfs(cache.directory);
  const free = bavail * bsize;
  if (needed + SPARE_BYTES <= free) return;
  throw new PithError(
    'HUB_DISK_FULL',
    `download ${id}: the disk of ${cache.directory} must have room for ${needed} bytes, ${Math.max(0, free - SPARE_BYTES)} are free; ` +
      'make room, or set HF_HUB_CACHE to a directory on another disk',
    { details: { id, directory: cache.directory, needed, free } },
  );
}
