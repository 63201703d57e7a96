// Where the text `<model>` becomes a model: a path on this disk, or a hub id that is looked up. The one place of Pith that
// reads the environment of a hub (HF_HOME, HF_TOKEN, ...).
//
// A path that exists wins, also one that looks like a hub id. A text that is neither is left as it is, and whoever opens
// it says that there is no such path.
import { existsSync } from 'node:fs';
import { openCheckpointFrom, parseHubId, type Checkpoint, type FileStore } from '@pith/checkpoint';
import { openHubModel, readHubSettings, type HubModel, type OpenHubModelOptions } from '@pith/checkpoint/node';
import { openGgufFrom, textCheckpoint } from '@pith/model';
import { openCheckpointAt } from '@pith/model/node';
import { isPithError, PithError, type RunOptions } from '@pith/tensor-core';

/** Where a model lies: a path on this disk, or a store of files that are read over the network. */
export type ModelPlace = string | RemoteModel;

/** A model whose headers are read over the network. */
export interface RemoteModel {
  /** As it was named. */
  readonly name: string;
  /** The files of its repository. */
  readonly store: FileStore;
  /** The GGUF file that it is, the first of a split one; absent for a directory. */
  readonly single?: string;
}

/**
 * The path of a model on this disk: a hub id is fetched into the cache.
 *
 * @throws PithError those of `openHubModel`.
 */
export async function localModel(model: string, run: RunOptions = {}): Promise<string> {
  const found = await lookUp(model, { need: 'files', ...run });
  return found?.path ?? model;
}

/**
 * Where the headers of a model can be read: of a hub id over the network, unless the cache holds it.
 *
 * @throws PithError those of `openHubModel`.
 */
export async function placeOfHeaders(model: string, run: RunOptions = {}): Promise<ModelPlace> {
  const found = await lookUp(model, { need: 'headers', ...run });
  if (found?.store === undefined) return found?.path ?? model;
  return { name: model, store: found.store, ...(found.single !== undefined && { single: found.single }) };
}

/** Opens the checkpoint of a place: a directory, a GGUF file, or a store of files. */
export async function openPlace(place: ModelPlace): Promise<Checkpoint> {
  if (typeof place === 'string') return openCheckpointAt(place);
  const { store, single } = place;
  if (single !== undefined) return openGgufFrom(store, single, `${store.label}:${single}`);
  return textCheckpoint(await openCheckpointFrom(store));
}

async function lookUp(model: string, options: OpenHubModelOptions): Promise<HubModel | undefined> {
  if (existsSync(model)) return undefined;
  const id = parseHubId(model);
  if (id === undefined) return undefined;
  const settings = await readHubSettings(process.env);
  try {
    return await openHubModel(id, settings, options);
  } catch (error) {
    if (!isPithError(error) || !['HUB_NOT_FOUND', 'HUB_UNAUTHORIZED', 'HUB_NOT_CACHED'].includes(error.code))
      throw error;
    // A path that was mistyped looks like a hub id as well.
    throw new PithError(error.code, error.message.replace(': ', ': no file or directory has this name here, and '), {
      details: { ...error.details, model },
      cause: error,
    });
  }
}
