// model.safetensors.index.json: which shard holds which tensor.
import { PithError, type ByteSource } from '@pith/tensor-core';
import { decodeUtf8, JsonReader, type JsonOrigin } from '../json/json-reader.ts';
import { skipJsonValue } from '../json/skip-json-value.ts';

/** Largest index that is read; about a million tensors. */
export const MAX_INDEX_BYTES = 100_000_000;
/** Most shards of one checkpoint. */
export const MAX_SHARDS = 10_000;

/** The name of the index in a directory. */
export const INDEX_NAME = 'model.safetensors.index.json';

/** Tensor name to shard name, in the order of the index; `metadata` is not used by any reader and passed over. */
export type WeightMap = ReadonlyMap<string, string>;

/**
 * Reads an index. Shard names must be plain names of safetensors files.
 *
 * @throws PithError `CHECKPOINT_INDEX_TOO_LARGE`, `CHECKPOINT_INDEX_NOT_UTF8`, `CHECKPOINT_INDEX_SYNTAX`,
 * `CHECKPOINT_INDEX_DUPLICATE_NAME`, `CHECKPOINT_INDEX_INVALID`, `CHECKPOINT_INDEX_PATH`,
 * `CHECKPOINT_INDEX_TOO_MANY_SHARDS`.
 */
export async function readIndex(source: ByteSource, file: string): Promise<WeightMap> {
  const origin: JsonOrigin = { codes: 'CHECKPOINT_INDEX', operation: 'read index', file };
  if (source.byteLength > MAX_INDEX_BYTES) {
    const why = `may have at most ${MAX_INDEX_BYTES} bytes, it has ${source.byteLength}`;
    throw fault('TOO_LARGE', file, why, { byteLength: source.byteLength });
  }
  const reader = new JsonReader(decodeUtf8(await source.read(0, source.byteLength), origin), origin);
  let map: Map<string, string> | undefined;
  const seen = new Set<string>();
  reader.expect('{');
  if (!reader.accept('}')) {
    do {
      const key = reader.string();
      if (seen.has(key)) throw fault('DUPLICATE_NAME', file, `has the key ${JSON.stringify(key)} twice`, { key });
      seen.add(key);
      reader.expect(':');
      if (key === 'weight_map') map = readWeightMap(reader, file);
      else skipJsonValue(reader);
    } while (reader.accept(','));
    reader.expect('}');
  }
  reader.end();
  if (map === undefined || map.size === 0)
    throw fault('INVALID', file, 'must have a weight_map with tensors in it', {});
  return map;
}

function readWeightMap(reader: JsonReader, file: string): Map<string, string> {
  const map = new Map<string, string>();
  // One string per shard instead of one per tensor.
  const shards = new Map<string, string>();
  if (reader.peek() !== '{') throw fault('INVALID', file, 'must have an object as its weight_map', {});
  reader.expect('{');
  if (reader.accept('}')) return map;
  do {
    const tensor = reader.string();
    if (map.has(tensor)) {
      throw fault('DUPLICATE_NAME', file, `lists the tensor ${JSON.stringify(tensor)} twice`, { tensor });
    }
    reader.expect(':');
    if (reader.peek() !== '"') {
      throw fault('INVALID', file, `must name a file for the tensor ${JSON.stringify(tensor)}`, { tensor });
    }
    const name = reader.string();
    let shard = shards.get(name);
    if (shard === undefined) {
      checkShardName(name, tensor, file);
      shard = name;
      shards.set(name, name);
      if (shards.size > MAX_SHARDS) throw fault('TOO_MANY_SHARDS', file, `may name at most ${MAX_SHARDS} shards`, {});
    }
    map.set(tensor, shard);
  } while (reader.accept(','));
  reader.expect('}');
  return map;
}

/** A shard is a plain name: nothing that could lead out of the directory on any system, and no second spelling. */
function checkShardName(name: string, tensor: string, file: string): void {
  const label = JSON.stringify(name.slice(0, 200));
  if (name === '' || name.startsWith('.') || /[/\\:\u0000-\u001f]/.test(name) || name.length > 255) {
    const why = `names the shard ${label} for tensor ${JSON.stringify(tensor)}; a shard lies in the directory itself`;
    throw fault('PATH', file, why, { tensor, shard: name.slice(0, 200) });
  }
  if (!name.endsWith('.safetensors')) {
    const why = `names ${label} for tensor ${JSON.stringify(tensor)}, which is no safetensors file`;
    throw fault('INVALID', file, why, { tensor, shard: name });
  }
}

function fault(code: string, file: string, why: string, details: Record<string, unknown>): PithError {
  return new PithError(`CHECKPOINT_INDEX_${code}`, `read index: ${file} ${why}; get the checkpoint again`, {
    details: { file, ...details },
  });
}
