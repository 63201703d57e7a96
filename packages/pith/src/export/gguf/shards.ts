// A GGUF file in several files, as llama.cpp's gguf-split lays them out: the first has all metadata, each has its own tensors
// and says which of how many it is.
import { ggmlByteLength } from '@pith/quant';
import { planGguf, type GgufLayout, type GgufTensorSpec, type GgufValue } from '@pith/checkpoint';
import type { GgmlWritableType } from '@pith/quant';
import { PithError } from '@pith/tensor-core';

/** One file. */
export interface GgufShard {
  /** Name of the file. */
  readonly name: string;
  /** Its header, and where its tensors lie. */
  readonly layout: GgufLayout;
}

/** Most files: their number has five digits, and is stored in 16 bits. */
const MAX_SHARDS = 65_535;

/**
 * Lays tensors out in one file, or in several of at most `shardBytes` bytes of tensors; a larger tensor has a file of its own.
 *
 * @throws PithError `GGUF_SHARDS_TOO_MANY`, those of `planGguf`.
 */
export function layoutShards(
  name: string,
  metadata: ReadonlyMap<string, GgufValue>,
  tensors: readonly GgufTensorSpec[],
  shardBytes: number | undefined,
): GgufShard[] {
  const groups = shardBytes === undefined ? [tensors] : grouped(tensors, shardBytes);
  if (groups.length === 1) return [{ name, layout: planGguf(metadata, tensors) }];
  if (groups.length > MAX_SHARDS) {
    throw new PithError(
      'GGUF_SHARDS_TOO_MANY',
      `export GGUF: there may be ${MAX_SHARDS} files, a shard size of ${shardBytes} gives ${groups.length}; choose a larger one`,
      { details: { shardBytes: shardBytes ?? null, files: groups.length } },
    );
  }
  const stem = name.replace(/\.gguf$/i, '');
  const digits = (n: number): string => String(n).padStart(5, '0');
  return groups.map((group, index) => {
    const split = new Map<string, GgufValue>([
      ['split.no', { type: 'uint16', value: index }],
      ['split.count', { type: 'uint16', value: groups.length }],
      ['split.tensors.count', { type: 'int32', value: tensors.length }],
    ]);
    const own = index === 0 ? new Map([...metadata, ...split]) : split;
    return { name: `${stem}-${digits(index + 1)}-of-${digits(groups.length)}.gguf`, layout: planGguf(own, group) };
  });
}

function grouped(tensors: readonly GgufTensorSpec[], shardBytes: number): GgufTensorSpec[][] {
  const groups: GgufTensorSpec[][] = [[]];
  let bytes = 0;
  for (const tensor of tensors) {
    const own = ggmlByteLength(tensor.type as GgmlWritableType, tensor.shape);
    if (bytes > 0 && bytes + own > shardBytes) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)!.push(tensor);
    bytes += own;
  }
  return groups;
}
