// The cache that all tools of Hugging Face share: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
//
//   models--org--name/
//     blobs/<hash>                     contents, named by the hash of the listing (SHA-256, or git's SHA-1)
//     blobs/<hash>.incomplete          the first bytes of a content under way
//     refs/<revision>                  the commit that a branch or tag was when it was last looked up
//     snapshots/<commit>/<path>        links to blobs
//   .locks/models--org--name/          one download at a time
//
// Two programs in Python keep out of each other's way by a lock of the system that Node cannot take; between processes
// of Pith the lock of `acquireLock` is used. A content that two programs mixed up does not have its hash and is fetched
// anew.
import { copyFile, mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { randomUUID } from 'node:crypto';
import { dirname, join, relative } from 'node:path';
import { isPithError, throwIfStopped } from '@pith/tensor-core';
import { isCommit } from '../../hub/hub-id.ts';
import type { HubFile } from '../../hub/hub-repository.ts';
import { acquireLock, type Lock } from '../lock.ts';

/** The places of one repository in the cache. */
export interface RepositoryCache {
  /** `models--org--name`. */
  readonly directory: string;
  /** Path of a content. */
  blob(file: Pick<HubFile, 'hash'>): string;
  /** Path of a snapshot's directory. */
  snapshot(commit: string): string;
  /** The commit that a revision was when it was last looked up; undefined where it never was. */
  readRef(revision: string): Promise<string | undefined>;
  /** Remembers which commit a revision is. */
  writeRef(revision: string, commit: string): Promise<void>;
  /** True when a snapshot holds a file of that size. */
  has(commit: string, file: Pick<HubFile, 'path' | 'byteLength'>): Promise<boolean>;
  /** Puts a link to a content, which must be there, into a snapshot. */
  link(commit: string, file: Pick<HubFile, 'path' | 'hash'>): Promise<void>;
  /** Waits until no other process of Pith downloads this repository. `onWait` is told once when there is one. */
  lock(options: { readonly signal?: AbortSignal; readonly onWait?: () => void }): Promise<Lock>;
}

const LOCK_POLL_MS = 300;

/** The places of a repository. Nothing is made before it is needed. */
export function repositoryCache(cacheDirectory: string, id: string): RepositoryCache {
  const name = `models--${id.replace('/', '--')}`;
  const directory = join(cacheDirectory, name);
  const refPath = (revision: string): string => join(directory, 'refs', ...revision.split('/'));
  const snapshot = (commit: string): string => join(directory, 'snapshots', commit);
  const blob = ({ hash }: Pick<HubFile, 'hash'>): string => join(directory, 'blobs', hash);
  return {
    directory,
    blob,
    snapshot,
    async readRef(revision) {
      if (isCommit(revision)) return revision;
      const text = await readFile(refPath(revision), 'utf8').catch(() => undefined);
      const commit = text?.trim() ?? '';
      return isCommit(commit) ? commit : undefined;
    },
    async writeRef(revision, commit) {
      if (isCommit(revision)) return;
      await replace(refPath(revision), (path) => writeFile(path, commit));
    },
    async has(commit, file) {
      const found = await stat(join(snapshot(commit), ...file.path.split('/'))).catch(() => undefined);
      return found?.isFile() === true && found.size === file.byteLength;
    },
    async link(commit, file) {
      const place = join(snapshot(commit), ...file.path.split('/'));
      const target = blob(file);
      await replace(place, async (path) => {
        try {
          await symlink(relative(dirname(place), target), path);
        } catch (error) {
          // Windows allows links to administrators only: then a snapshot holds a copy, as other tools do it there.
          if (!['EPERM', 'ENOSYS', 'EACCES'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
          await copyFile(target, path);
        }
      });
    },
    async lock({ signal, onWait }) {
      const place = join(cacheDirectory, '.locks', name, 'pith');
      await mkdir(place, { recursive: true });
      for (let told = false; ; told = true) {
        throwIfStopped(signal, `download ${id}`);
        try {
          return await acquireLock(place);
        } catch (error) {
          if (!isPithError(error) || error.code !== 'OUTPUT_LOCKED') throw error;
        }
        if (!told) onWait?.();
        await new Promise((done) => setTimeout(done, LOCK_POLL_MS));
      }
    },
  };
}

/** Makes something under another name and renames it into place, over what is there. */
async function replace(place: string, make: (path: string) => Promise<void>): Promise<void> {
  const made = `${place}.${randomUUID()}`;
  await mkdir(dirname(place), { recursive: true });
  try {
    await make(made);
    await rename(made, place);
  } catch (error) {
    await rm(made, { force: true });
    throw error;
  }
}
