// Files of a repository that the caller chooses by their names, in the cache: what a model needs is chosen by `openHubModel`.
import { stat } from 'node:fs/promises';
import { PithError, type RunOptions } from '@pith/tensor-core';
import type { FileStore } from '../../huggingface/file-store.ts';
import type { HubClientOptions } from '../../hub/hub-client.ts';
import type { HubId } from '../../hub/hub-id.ts';
import { openHubRepository } from '../../hub/hub-repository.ts';
import { hubStore } from '../../hub/hub-store.ts';
import { downloadFiles } from './download-files.ts';
import { repositoryCache } from './hub-cache.ts';
import type { HubSettings } from './hub-settings.ts';
import { clientOf } from './open-hub-model.ts';

/** How files are fetched, and which. */
export interface FetchHubFilesOptions extends RunOptions, Pick<HubClientOptions, 'attempts' | 'waitMs'> {
  /**
   * Chooses among the paths of all files; those that are small can be read from the store. What is chosen and is not there is
   * left out.
   */
  readonly choose: (paths: readonly string[], store: FileStore) => Promise<readonly string[]>;
}

/** Files of a repository. */
export interface FetchedHubFiles {
  /** The commit that is used. */
  readonly commit: string;
  /** The snapshot's directory in the cache. */
  readonly directory: string;
  /** Paths of all files of the repository; null where the cache alone was asked. */
  readonly listed: readonly string[] | null;
}

/**
 * Lists a repository and fetches some of its files. Offline, what the cache holds of them is given.
 *
 * @throws PithError `HUB_...` as `openHubModel` does, `HUB_NOT_CACHED`, `STOPPED`, and those of `choose`.
 */
export async function fetchHubFiles(
  { id, revision }: Pick<HubId, 'id' | 'revision'>,
  settings: HubSettings,
  options: FetchHubFilesOptions,
): Promise<FetchedHubFiles> {
  const { choose, signal, progress } = options;
  const cache = repositoryCache(settings.cacheDirectory, id);
  if (settings.offline) {
    const commit = await cache.readRef(revision);
    const directory = commit === undefined ? '' : cache.snapshot(commit);
    if (commit !== undefined && (await stat(directory).catch(() => undefined))?.isDirectory() === true) {
      return { commit, directory, listed: null };
    }
    throw new PithError(
      'HUB_NOT_CACHED',
      `open ${id}: the cache at ${cache.directory} must hold revision ${revision} while the hub is not used, it does not; run once ` +
        'without HF_HUB_OFFLINE',
      { details: { id, revision, directory: cache.directory } },
    );
  }
  const client = clientOf(settings, options);
  const repository = await openHubRepository(client, id, revision);
  const paths = repository.files.map(({ path }) => path);
  const chosen = new Set(await choose(paths, hubStore(client, repository)));
  const files = repository.files.filter(({ path }) => chosen.has(path));
  await downloadFiles(client, cache, repository, files, { ...(signal && { signal }), ...(progress && { progress }) });
  await cache.writeRef(revision, repository.commit);
  return { commit: repository.commit, directory: cache.snapshot(repository.commit), listed: paths };
}
