// A model on a hub, made ready: in the cache where its values are needed, over HTTP ranges where a look at the headers
// will do.
import { isPithError, type RunOptions } from '@pith/tensor-core';
import type { FileStore } from '../../huggingface/file-store.ts';
import { createHubClient, type HubClient, type HubClientOptions } from '../../hub/hub-client.ts';
import { isCommit, type HubId } from '../../hub/hub-id.ts';
import { openHubRepository, type HubRepository } from '../../hub/hub-repository.ts';
import { hubStore } from '../../hub/hub-store.ts';
import { selectFiles } from '../../hub/select-files.ts';
import { cachedModel, type CachedModel } from './cached-model.ts';
import { downloadFiles, missingFiles } from './download-files.ts';
import { repositoryCache } from './hub-cache.ts';
import type { HubSettings } from './hub-settings.ts';
import { join } from 'node:path';

/** How a model is made ready. */
export interface OpenHubModelOptions extends RunOptions, Pick<HubClientOptions, 'attempts' | 'waitMs'> {
  /** `files` fetches all that the model needs; `headers` fetches nothing to the disk. */
  readonly need: 'files' | 'headers';
}

/** A model of a hub. */
export interface HubModel {
  /** `org/name`. */
  readonly id: string;
  /** The commit that is used. */
  readonly commit: string;
  /** The snapshot's directory, or the GGUF file in it; absent where the model is read over the network. */
  readonly path?: string;
  /** The files of the repository, where they are read over the network. */
  readonly store?: FileStore;
  /** With `store`: the GGUF file that the model is; absent where it is a directory. */
  readonly single?: string;
}

/**
 * Looks a model up and makes it ready. What the cache holds is not fetched again; a commit that it holds whole needs no
 * request at all. Where the hub cannot be reached, what the cache holds is used, and `notice` is told.
 *
 * @throws PithError `HUB_...` in everything that a hub, a network and a disk can refuse, `CHECKPOINT_...` where the
 * repository holds no model that can be read, `STOPPED`.
 */
export async function openHubModel(
  model: HubId,
  settings: HubSettings,
  options: OpenHubModelOptions,
): Promise<HubModel> {
  const { need, notice, signal, progress } = options;
  const { id, revision } = model;
  const cache = repositoryCache(settings.cacheDirectory, id);
  const local = ({ commit, path }: CachedModel): HubModel => ({ id, commit, path });
  if (settings.offline) return local(await cachedModel(cache, model));
  if (isCommit(revision)) {
    const known = await cachedModel(cache, model).catch(absent);
    if (known) return local(known);
  }
  const client = clientOf(settings, options);
  let repository: HubRepository;
  try {
    repository = await openHubRepository(client, id, revision);
  } catch (error) {
    const passing =
      isPithError(error) && ['HUB_UNREACHABLE', 'HUB_UNAVAILABLE', 'HUB_RATE_LIMITED'].includes(error.code);
    const known = passing ? await cachedModel(cache, model).catch(absent) : undefined;
    if (!known) throw error;
    notice?.(
      `${client.endpoint} cannot be asked about ${id}: using commit ${known.commit.slice(0, 12)} from the cache`,
    );
    return local(known);
  }
  const store = hubStore(client, repository);
  const { files, single } = await selectFiles(repository, store, model.file);
  const { commit } = repository;
  const path = join(cache.snapshot(commit), ...(single?.split('/') ?? []));
  if (need === 'headers' && (await missingFiles(cache, repository, files)).length > 0) {
    return { id, commit, store, ...(single !== undefined && { single }) };
  }
  await downloadFiles(client, cache, repository, files, { ...(signal && { signal }), ...(progress && { progress }) });
  await cache.writeRef(revision, commit);
  return { id, commit, path };
}

/** Requests by the settings of a user. */
export function clientOf(
  { endpoint, token }: HubSettings,
  { signal, attempts, waitMs }: Pick<OpenHubModelOptions, 'signal' | 'attempts' | 'waitMs'>,
): HubClient {
  return createHubClient({
    endpoint,
    ...(token !== undefined && { token }),
    ...(signal && { signal }),
    ...(attempts !== undefined && { attempts }),
    ...(waitMs !== undefined && { waitMs }),
  });
}

/** Nothing where the cache lacks the model; other errors stay. */
function absent(error: unknown): undefined {
  if (isPithError(error) && error.code === 'HUB_NOT_CACHED') return undefined;
  throw error;
}
