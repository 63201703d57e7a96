// The checkpoint that a run reads: its tensors, and the state of its files, by which a later run knows that it is still
// the same.
import { open, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Checkpoint, CheckpointTensor } from '@pith/checkpoint';
import { PithError, type FileLocation } from '@pith/tensor-core';
import type { FileHash } from '../receipt/types.ts';
import { sha256 } from '../run/hash-tree.ts';
import type { SourceFileState } from '../run/journal.ts';
import { openPlace, type ModelPlace } from './locate-model.ts';

/** Where on a hub a model comes from. */
export interface HubOrigin {
  /** `org/name`. */
  readonly id: string;
  /** Commit, 40 hexadecimal digits. */
  readonly commit: string;
}

/** An open source. */
export interface Source {
  /** As it was named. */
  readonly directory: string;
  /** The repository and commit that it is a copy of, where it lies in the cache of a hub. */
  readonly hub?: HubOrigin;
  readonly checkpoint: Checkpoint;
  /** Files that the output depends on: weights, index, config, and all that is carried over. */
  readonly files: readonly FileHash[];
  /** The same with modification times, for the journal. */
  readonly states: readonly SourceFileState[];
}

/** Opens a checkpoint and hashes its headers and small files; of one that is read over the network nothing is hashed. */
export async function openSource(place: ModelPlace): Promise<Source> {
  const checkpoint = await openPlace(place);
  if (typeof place !== 'string') return { directory: place.name, checkpoint, files: [], states: [] };
  const directory = place;
  const files: FileHash[] = [];
  const states: SourceFileState[] = [];
  for (const { name, carried, role } of checkpoint.files) {
    if (!carried && !['weights', 'index', 'config'].includes(role)) continue;
    const bytes = await checkpoint.store.open(name);
    const size = bytes.byteLength;
    const hashedBytes = role === 'weights' ? headerBytes(checkpoint, name, size) : size;
    const digest = sha256(await bytes.read(0, hashedBytes));
    files.push({ name, bytes: size, hashedBytes, sha256: digest });
    states.push({ name, bytes: size, modified: await modified(checkpoint, name), sha256: digest });
  }
  const hub = hubOrigin(await folderOf(directory));
  return { directory, ...(hub && { hub }), checkpoint, files, states };
}

/** The folder of a model, links followed: a file of the hub's cache is itself a link. */
async function folderOf(path: string): Promise<string> {
  const isFile = (await stat(path)).isFile();
  return realpath(isFile ? dirname(path) : path);
}

/** When a file was last changed; 0 where nobody knows. */
async function modified({ store }: Checkpoint, name: string): Promise<number> {
  return (await store.modified?.(name)) ?? 0;
}

/** Bytes before the first tensor of a file of tensors. */
export function headerBytes(
  checkpoint: { readonly tensors: ReadonlyMap<string, Pick<CheckpointTensor, 'file' | 'offset'>> },
  file: string,
  size: number,
): number {
  let first = size;
  for (const tensor of checkpoint.tensors.values()) {
    if (tensor.file === file) first = Math.min(first, tensor.offset);
  }
  return first;
}

/** The first `length` bytes of a file. */
export async function readStart(path: string, length: number): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length;) {
      const { bytesRead } = await file.read(bytes, done, length - done, done);
      if (bytesRead === 0) {
        throw new PithError(
          'FILE_TRUNCATED',
          `read ${path}: ${length} bytes were expected, it ends after ${done}; it was changed while it was read`,
          { details: { path, length, got: done } },
        );
      }
      done += bytesRead;
    }
    return bytes;
  } finally {
    await file.close();
  }
}

/** Where a tensor's bytes lie. */
export function locationOf(tensor: CheckpointTensor): FileLocation {
  const { file } = tensor.source;
  if (file !== undefined) return file;
  throw new PithError('SOURCE_NOT_LOCAL', `read tensor ${tensor.name}: its bytes must lie in a local file`, {
    kind: 'internal',
    details: { tensor: tensor.name },
  });
}

/** Names of files whose modification time is no longer what it was when the source was opened. */
export async function changedFiles(source: Source): Promise<string[]> {
  const changed: string[] = [];
  for (const state of source.states) {
    if ((await modified(source.checkpoint, state.name).catch(() => -1)) !== state.modified) changed.push(state.name);
  }
  return changed;
}

/** The repository that a directory of the cache of a hub is a snapshot of: its path says so. */
export function hubOrigin(directory: string): HubOrigin | undefined {
  const match = /[\\/]models--([^\\/]+?)--([^\\/]+)[\\/]snapshots[\\/]([0-9a-f]{40})$/.exec(directory);
  return match === null ? undefined : { id: `${match[1]}/${match[2]}`, commit: match[3]! };
}
