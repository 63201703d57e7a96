// A GGUF model in several files, as llama.cpp's gguf-split cuts them: `x-00001-of-00003.gguf` has all metadata, and each file says
// which of how many it is. Opened by its first file, as one.
import { PithError, type ByteSource } from '@pith/tensor-core';
import type { GgufFile, GgufTensor } from './gguf-file.ts';
import { openGguf } from './open-gguf.ts';

/** One file, or several as one. */
export interface GgufSet extends GgufFile {
  /** Names of the files, in order. */
  readonly files: readonly string[];
  /** Name of the file that a tensor lies in, by the tensor's name. */
  readonly fileOf: ReadonlyMap<string, string>;
}

const SHARD = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/i;
/** Most files of a split model. */
export const MAX_GGUF_FILES = 10_000;

/**
 * Opens a file and, where it is the first of several, all others.
 *
 * @param open opens a file of the same directory by its plain name.
 * @param name of the file, or of the first of several.
 * @param label of the model in errors.
 * @throws PithError those of `openGguf` and of `open`; `GGUF_SPLIT_NAME`, `GGUF_SPLIT_NOT_FIRST`, `GGUF_SPLIT_INVALID`,
 * `GGUF_SPLIT_REPEATED`, `GGUF_DUPLICATE_TENSOR`, `GGUF_LIMIT_EXCEEDED`.
 */
export async function openGgufSet(
  open: (name: string) => Promise<ByteSource>,
  name: string,
  label: string,
): Promise<GgufSet> {
  const first = await openGguf(await open(name), label);
  const count = splitNumber(first, 'split.count');
  if (count === undefined || count <= 1) {
    return { ...first, files: [name], fileOf: new Map([...first.tensors.keys()].map((tensor) => [tensor, name])) };
  }
  const names = shardNames(first, name, count, label);
  const tensors = new Map<string, GgufTensor>();
  const fileOf = new Map<string, string>();
  for (const [index, shard] of names.entries()) {
    const file = index === 0 ? first : await openGguf(await open(shard), shard);
    checkShard(file, index, count, shard, label);
    for (const [tensor, entry] of file.tensors) {
      const other = fileOf.get(tensor);
      if (other !== undefined) {
        throw fault('DUPLICATE_TENSOR', label, `tensor ${JSON.stringify(tensor)} is in ${other} and in ${shard}`, {
          tensor,
        });
      }
      tensors.set(tensor, entry);
      fileOf.set(tensor, shard);
    }
  }
  const claimed = splitNumber(first, 'split.tensors.count');
  if (claimed !== undefined && claimed !== tensors.size) {
    throw fault('SPLIT_INVALID', label, `split.tensors.count is ${claimed}, its files hold ${tensors.size} tensors`, {
      claimed,
      tensors: tensors.size,
    });
  }
  return { ...first, tensors, files: names, fileOf };
}

function shardNames(first: GgufFile, name: string, count: number, label: string): string[] {
  if (count > MAX_GGUF_FILES) {
    throw fault('LIMIT_EXCEEDED', label, `a model may have ${MAX_GGUF_FILES} files, it claims ${count}`, { count });
  }
  const parts = SHARD.exec(name);
  if (parts === null || Number(parts[3]) !== count) {
    const wanted = `-00001-of-${digits(count)}.gguf`;
    throw fault(
      'SPLIT_NAME',
      label,
      `it is one of ${count} files, whose names must end in ${wanted}; give them their names back`,
      {
        count,
      },
    );
  }
  const index = splitNumber(first, 'split.no');
  if (index !== 0 || Number(parts[2]) !== 1) {
    const start = `${parts[1]}-00001-of-${parts[3]}.gguf`;
    throw fault('SPLIT_NOT_FIRST', label, `it is file ${(index ?? 0) + 1} of ${count}; name the first one, ${start}`, {
      first: start,
    });
  }
  return Array.from({ length: count }, (_, i) => `${parts[1]}-${digits(i + 1)}-of-${parts[3]}.gguf`);
}

function checkShard(file: GgufFile, index: number, count: number, shard: string, label: string): void {
  const number = splitNumber(file, 'split.no');
  if (number !== undefined && number < index) {
    throw fault('SPLIT_REPEATED', label, `${shard} says that it is file ${number + 1}, which was read already`, {
      shard,
      number,
    });
  }
  if (number !== index || splitNumber(file, 'split.count') !== count) {
    throw fault('SPLIT_INVALID', label, `${shard} must say that it is file ${index + 1} of ${count}, it does not`, {
      shard,
    });
  }
}

/** A number of the split, or undefined where the key is missing or no small whole number. */
function splitNumber({ metadata }: GgufFile, key: string): number | undefined {
  const entry = metadata.get(key);
  if (entry === undefined || entry.type === 'array' || typeof entry.value !== 'number') return undefined;
  return Number.isInteger(entry.value) && entry.value >= 0 ? entry.value : undefined;
}

function digits(value: number): string {
  return String(value).padStart(5, '0');
}

function fault(code: string, label: string, why: string, details: Record<string, unknown>): PithError {
  return new PithError(`GGUF_${code}`, `read GGUF: ${label}: ${why}`, { details: { file: label, ...details } });
}
