// Which safetensors files a directory's model is made of: `model.safetensors`, or the shards of its index. Both at once
// is an error: loaders pick one of the two without a word.
import { PithError } from '@pith/tensor-core';
import type { FileStore, StoredFile } from './file-store.ts';
import { INDEX_NAME, readIndex, type WeightMap } from './read-index.ts';

const SINGLE = 'model.safetensors';

/** The safetensors files of a model, by name in order, and its index where it has one. */
export interface WeightFiles {
  readonly names: readonly string[];
  readonly index?: WeightMap;
}

/**
 * @throws PithError `CHECKPOINT_NO_WEIGHTS`, `CHECKPOINT_NO_INDEX`, `CHECKPOINT_AMBIGUOUS`, `CHECKPOINT_SHARD_MISSING`,
 * and those of `readIndex`.
 */
export async function findWeightFiles(store: FileStore, listed: readonly StoredFile[]): Promise<WeightFiles> {
  const present = new Set(listed.map(({ name }) => name));
  if (!present.has(INDEX_NAME)) {
    if (present.has(SINGLE)) return { names: [SINGLE] };
    throw noWeights(store.label, [...present]);
  }
  const index = await readIndex(await store.open(INDEX_NAME), `${store.label}/${INDEX_NAME}`);
  const names = [...new Set(index.values())].sort();
  if (present.has(SINGLE) && !names.includes(SINGLE)) {
    throw new PithError(
      'CHECKPOINT_AMBIGUOUS',
      `open checkpoint: ${store.label} must have ${SINGLE} or ${INDEX_NAME} with its shards, it has both; remove the ` +
        `one that is out of date`,
      { details: { directory: store.label } },
    );
  }
  const missing = names.filter((name) => !present.has(name));
  if (missing.length > 0) {
    throw new PithError(
      'CHECKPOINT_SHARD_MISSING',
      `open checkpoint: ${store.label} must have every shard that its index names, ${missing.length} of ` +
        `${names.length} are missing (${missing.slice(0, 5).join(', ')}); get them`,
      { details: { directory: store.label, missing } },
    );
  }
  return { names, index };
}

function noWeights(label: string, names: readonly string[]): PithError {
  const others = names.filter((name) => name.endsWith('.safetensors'));
  if (others.length > 0) {
    return new PithError(
      'CHECKPOINT_NO_INDEX',
      `open checkpoint: ${label} must have ${SINGLE} or ${INDEX_NAME}, it has only ${others.slice(0, 5).join(', ')}; ` +
        `get the index, or rename a single file`,
      { details: { directory: label, found: others } },
    );
  }
  const pickled = names.filter((name) => /\.(bin|pt|pth|ckpt)$/.test(name));
  const found = pickled.length > 0 ? `only ${pickled.slice(0, 5).join(', ')}, and pickle files are never read` : 'none';
  return new PithError(
    'CHECKPOINT_NO_WEIGHTS',
    `open checkpoint: ${label} must have safetensors files, it has ${found}; get the safetensors version of the model`,
    { details: { directory: label, found: pickled } },
  );
}
