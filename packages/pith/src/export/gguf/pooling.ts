// How an encoder's states become one vector, as sentence-transformers lays it down beside a checkpoint: `modules.json` names a folder
// (`1_Pooling`) whose `config.json` says which tokens count.
import { basename, join } from 'node:path';
import type { FileStore } from '@pith/checkpoint';
import { directoryStore } from '@pith/checkpoint/node';
import type { OpenModel } from '@pith/model/node';
import { isPithError } from '@pith/tensor-core';

/** Most bytes of either file. */
const MAX_BYTES = 2 ** 20;

/** What is said of pooling, and what there is to tell of it. */
export interface Pooling {
  /** Undefined where nothing is said. */
  readonly pooling?: 'mean' | 'cls';
  /** For the plan. */
  readonly notices: readonly string[];
}

/** The pooling of a model; of one that is no encoder there is nothing to say. */
export async function poolingOf({ checkpoint, config }: OpenModel): Promise<Pooling> {
  if (config.kind !== 'encoder') return { notices: [] };
  const { store, files } = checkpoint;
  const modules = files.some(({ name }) => name === 'modules.json') ? await json(store, 'modules.json') : [];
  const list = Array.isArray(modules) ? (modules as { type?: unknown; path?: unknown }[]) : [];
  const place = list.find(({ type }) => typeof type === 'string' && type.endsWith('Pooling'))?.path;
  const assumed = {
    notices: [`one vector for a text is the mean of its tokens: the checkpoint does not say otherwise`],
  };
  if (typeof place !== 'string' || place === '' || basename(place) !== place || !('directory' in store)) return assumed;
  const said = await settings(join((store as { directory: string }).directory, place));
  if (said === undefined) return assumed;
  if (said['pooling_mode_mean_tokens'] === true) return { pooling: 'mean', notices: [] };
  if (said['pooling_mode_cls_token'] === true) return { pooling: 'cls', notices: [] };
  return { notices: [`${place}/config.json names another pooling than mean and cls: the file says mean`] };
}

async function settings(directory: string): Promise<Record<string, unknown> | undefined> {
  try {
    const store = await directoryStore(directory);
    try {
      return (await json(store, 'config.json')) as Record<string, unknown>;
    } finally {
      await store.close();
    }
  } catch (error) {
    if (isPithError(error)) return undefined;
    throw error;
  }
}

async function json(store: FileStore, name: string): Promise<unknown> {
  const source = await store.open(name);
  if (source.byteLength > MAX_BYTES) return undefined;
  try {
    return JSON.parse(new TextDecoder().decode(await source.read(0, source.byteLength)));
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
