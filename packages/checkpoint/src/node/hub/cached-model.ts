// What of a model is in the cache, judged without the hub: all that is needed to go offline, or what is missing.
import { readdir } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { isPithError, PithError } from '@pith/tensor-core';
import type { HubId } from '../../hub/hub-id.ts';
import { selectFiles } from '../../hub/select-files.ts';
import { directoryStore } from '../directory-store.ts';
import type { RepositoryCache } from './hub-cache.ts';

/** A model in the cache. */
export interface CachedModel {
  /** The commit of its snapshot. */
  readonly commit: string;
  /** Directory of the snapshot, or the GGUF file in it. */
  readonly path: string;
}

/**
 * The model as the cache holds it.
 *
 * @throws PithError `HUB_NOT_CACHED` with what is missing.
 */
export async function cachedModel(cache: RepositoryCache, { id, revision, file }: HubId): Promise<CachedModel> {
  const name = revision === 'main' ? id : `${id}@${revision}`;
  const missing = (why: string, details: Readonly<Record<string, unknown>> = {}, cause?: unknown): PithError =>
    new PithError(
      'HUB_NOT_CACHED',
      `open ${name}: the cache at ${cache.directory} must hold the model while the hub is not used, ${why}; ` +
        'run once without HF_HUB_OFFLINE',
      { details: { id, revision, directory: cache.directory, ...details }, ...(cause !== undefined && { cause }) },
    );
  const commit = await cache.readRef(revision);
  if (commit === undefined) throw missing('it has never seen this revision');
  const directory = cache.snapshot(commit);
  const paths = await readdir(directory, { recursive: true }).catch(() => undefined);
  if (paths === undefined) throw missing(`it has nothing of commit ${commit}`);
  const files = paths.map((path) => ({
    path: path.split(sep).join('/'),
    byteLength: 0,
    hash: '',
    hashKind: 'sha256' as const,
  }));
  try {
    const store = await directoryStore(directory);
    const { single } = await selectFiles({ id, revision, commit, files }, store, file).finally(() => store.close());
    return { commit, path: single === undefined ? directory : join(directory, ...single.split('/')) };
  } catch (error) {
    if (!isPithError(error)) throw error;
    const names = error.details['missing'];
    const why =
      Array.isArray(names) && names.length > 0
        ? `${names.slice(0, 5).join(', ')}${names.length > 5 ? ` and ${names.length - 5} more files are` : names.length === 1 ? ' is' : ' are'} missing`
        : error.code === 'CHECKPOINT_NO_CONFIG'
          ? 'config.json is missing'
          : error.code === 'CHECKPOINT_NO_WEIGHTS'
            ? 'the weights are missing'
            : `it does not (${error.message})`;
    throw missing(why, { reason: error.code, ...(Array.isArray(names) && { missing: names }) }, error);
  }
}
