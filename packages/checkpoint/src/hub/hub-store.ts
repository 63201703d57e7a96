// A repository on a hub as a store of files, read by HTTP ranges: headers of a model of any size without downloading it.
import { byteRange, PithError, type ByteSource } from '@pith/tensor-core';
import type { FileStore, StoredFile } from '../huggingface/file-store.ts';
import type { HubClient } from './hub-client.ts';
import type { HubFile, HubRepository } from './hub-repository.ts';
import { readRange } from './read-range.ts';

/**
 * Bytes that the first read of a file brings, however few it asks for: the length of a safetensors header and most of
 * the header in one request instead of two.
 */
export const FIRST_READ_BYTES = 16 * 1024;
/** Most bytes that are kept of the beginning of a file: headers and small files are opened several times. */
const KEPT_BYTES = 32 * 2 ** 20;
/** Most bytes that one read may bring: tensors are not read this way. */
export const MAX_REMOTE_READ = 256 * 2 ** 20;

/** Options of {@link hubStore}. */
export interface HubStoreOptions {
  /** Told of every byte that was fetched. */
  readonly onBytes?: (bytes: number) => void;
}

/** The address of a file at a commit. */
export function fileUrl(endpoint: string, { id, commit }: HubRepository, path: string): string {
  return `${endpoint}/${id}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;
}

/**
 * The files at the top of a repository; folders are listed as such. Nothing is read until a file's bytes are asked for.
 *
 * Reads throw those of `readRange`, and `HUB_READ_TOO_LARGE` beyond `MAX_REMOTE_READ`.
 */
export function hubStore(client: HubClient, repository: HubRepository, options: HubStoreOptions = {}): FileStore {
  const label = repository.revision === 'main' ? repository.id : `${repository.id}@${repository.revision}`;
  const files = new Map(repository.files.map((file) => [file.path, file]));
  const opened = new Map<string, ByteSource>();
  return {
    label,
    remote: true,
    list: async () => topFiles(repository),
    async open(name) {
      const file = files.get(name);
      if (file === undefined) {
        throw new PithError(
          'CHECKPOINT_FILE_MISSING',
          `open checkpoint: ${JSON.stringify(name)} in ${label} is missing; name another revision`,
          { details: { file: name, directory: label } },
        );
      }
      const source = opened.get(name) ?? remoteBytes(client, repository, file, options);
      opened.set(name, source);
      return source;
    },
    close: async () => undefined,
  };
}

/** Files and folders at the top, in the order of the names. */
function topFiles({ files }: HubRepository): StoredFile[] {
  const top = new Map<string, StoredFile>();
  for (const { path, byteLength } of files) {
    const [name, ...rest] = path.split('/');
    if (rest.length === 0) top.set(name!, { name: name!, byteLength, kind: 'file' });
    else top.set(name!, { name: name!, byteLength: 0, kind: 'directory' });
  }
  return [...top.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** A remote file as a byte source; its beginning is kept as far as it was read. */
function remoteBytes(
  client: HubClient,
  repository: HubRepository,
  file: HubFile,
  options: HubStoreOptions,
): ByteSource {
  const { byteLength, path } = file;
  const operation = `read ${repository.id}/${path}`;
  const url = fileUrl(client.endpoint, repository, path);
  let beginning = new Uint8Array();
  let before: Promise<unknown> = Promise.resolve();

  const load = async (start: number, target: Uint8Array): Promise<void> => {
    const end = start + target.byteLength;
    let done = 0;
    const request = {
      url,
      operation,
      id: repository.id,
      start,
      end,
      total: byteLength,
      withoutRanges: 'refuse' as const,
    };
    await readRange(client, request, (bytes) => {
      target.set(bytes, done);
      done += bytes.byteLength;
      options.onBytes?.(bytes.byteLength);
    });
  };
  /** Extends what is kept of the beginning of the file to `end`, one read after the other. */
  const extend = async (end: number): Promise<void> => {
    const wanted = Math.min(byteLength, Math.max(end, FIRST_READ_BYTES));
    if (beginning.byteLength >= wanted) return;
    const longer = new Uint8Array(wanted);
    longer.set(beginning);
    await load(beginning.byteLength, longer.subarray(beginning.byteLength));
    beginning = longer;
  };
  const checkLength = (length: number): void => {
    if (length <= MAX_REMOTE_READ) return;
    throw new PithError(
      'HUB_READ_TOO_LARGE',
      `${operation}: at most ${MAX_REMOTE_READ} bytes are read without a download, got ${length}`,
      { kind: 'internal', details: { path, length } },
    );
  };
  const readInto = async (offset: number, target: Uint8Array): Promise<void> => {
    checkLength(target.byteLength);
    const end = offset + target.byteLength;
    if (offset > Math.max(beginning.byteLength, FIRST_READ_BYTES) || end > KEPT_BYTES) return load(offset, target);
    const mine = before.then(() => extend(end));
    before = mine.catch(() => undefined);
    await mine;
    target.set(beginning.subarray(offset, end));
  };
  const whole: ByteSource = {
    byteLength,
    read: async (offset, length) => {
      checkLength(length);
      const target = new Uint8Array(length);
      await readInto(offset, target);
      return target;
    },
    readInto,
  };
  // The checks of ranges are those of every other source.
  return byteRange(whole, 0, byteLength);
}
