// One file of a repository into the cache. What an earlier run has fetched of it is hashed and kept, and the rest asked
// for; a content gets its name when every byte has been held against the hash of the listing.
import { mkdir, open, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { PithError, throwIfStopped } from '@pith/tensor-core';
import type { HubClient } from '../../hub/hub-client.ts';
import type { HubFile, HubRepository } from '../../hub/hub-repository.ts';
import { fileUrl } from '../../hub/hub-store.ts';
import { readRange } from '../../hub/read-range.ts';
import { syncDirectory } from '../durable.ts';
import { contentHash, type ContentHash } from './content-hash.ts';
import type { RepositoryCache } from './hub-cache.ts';

/** Bytes that are gathered before they are written and hashed. */
const WRITE_BYTES = 256 * 1024;

/**
 * Fetches a file unless its content is there, and names it in the snapshot.
 *
 * @param onBytes told of every byte that is there, kept ones among them; negative when bytes turn out wrong and are
 * fetched again.
 * @throws PithError those of {@link readRange}, `HUB_HASH_WRONG`, `HUB_CACHE_NOT_WRITABLE`, `STOPPED`.
 */
export async function downloadFile(
  client: HubClient,
  cache: RepositoryCache,
  repository: HubRepository,
  file: HubFile,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const blob = cache.blob(file);
  try {
    const there = await stat(blob).catch(() => undefined);
    if (there?.size === file.byteLength) {
      onBytes(file.byteLength);
    } else {
      await mkdir(dirname(blob), { recursive: true });
      await fetchContent(client, repository, file, blob, onBytes);
    }
    await cache.link(repository.commit, file);
  } catch (cause) {
    throw cacheError(repository.id, file.path, cache.directory, cause);
  }
}

async function fetchContent(
  client: HubClient,
  repository: HubRepository,
  file: HubFile,
  blob: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const incomplete = `${blob}.incomplete`;
  for (let again = false; ; again = true) {
    const { kept, digest } = await complete(client, repository, file, incomplete, onBytes);
    if (digest === file.hash) break;
    // Bytes of another program, or of a disk that lost some, may have been kept: the whole is fetched once more.
    await rm(incomplete, { force: true });
    if (kept === 0 || again) throw wrongHash(repository, file, digest);
    onBytes(-file.byteLength);
  }
  await rename(incomplete, blob);
  await syncDirectory(dirname(blob));
}

/** Brings the incomplete file to its full length and returns its hash, and how many of its bytes were there before. */
async function complete(
  client: HubClient,
  repository: HubRepository,
  file: HubFile,
  path: string,
  onBytes: (bytes: number) => void,
): Promise<{ readonly kept: number; readonly digest: string }> {
  const operation = `download ${repository.id}/${file.path}`;
  // `a` would append wherever the end is by then; `r+` does not create.
  const handle = await open(path, 'r+').catch(() => open(path, 'w+'));
  try {
    const hash = contentHash(file);
    let kept = (await handle.stat()).size;
    if (kept > file.byteLength) {
      await handle.truncate(0);
      kept = 0;
    }
    await hashKept(handle, kept, hash, client.signal, operation);
    onBytes(kept);
    const gather = new Gatherer(handle, kept, hash);
    try {
      await readRange(
        client,
        {
          url: fileUrl(client.endpoint, repository, file.path),
          operation,
          id: repository.id,
          start: kept,
          end: file.byteLength,
          total: file.byteLength,
          withoutRanges: 'skip',
        },
        async (bytes) => {
          await gather.take(bytes);
          onBytes(bytes.byteLength);
        },
      );
    } finally {
      // What has come is kept also when the rest does not.
      await gather.flush();
    }
    await handle.sync();
    return { kept, digest: hash.digest() };
  } finally {
    await handle.close();
  }
}

async function hashKept(
  handle: FileHandle,
  length: number,
  hash: ContentHash,
  signal: AbortSignal | undefined,
  operation: string,
): Promise<void> {
  const buffer = new Uint8Array(WRITE_BYTES);
  for (let at = 0; at < length;) {
    throwIfStopped(signal, operation);
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.byteLength, length - at), at);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}

/** Writes and hashes bytes in pieces of a useful size. */
class Gatherer {
  readonly #buffer = new Uint8Array(WRITE_BYTES);
  readonly #handle: FileHandle;
  readonly #hash: ContentHash;
  #at: number;
  #filled = 0;

  constructor(handle: FileHandle, at: number, hash: ContentHash) {
    this.#handle = handle;
    this.#at = at;
    this.#hash = hash;
  }

  async take(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.byteLength;) {
      const part = bytes.subarray(done, done + this.#buffer.byteLength - this.#filled);
      this.#buffer.set(part, this.#filled);
      this.#filled += part.byteLength;
      done += part.byteLength;
      if (this.#filled === this.#buffer.byteLength) await this.flush();
    }
  }

  async flush(): Promise<void> {
    const bytes = this.#buffer.subarray(0, this.#filled);
    this.#filled = 0;
    this.#hash.update(bytes);
    for (let done = 0; done < bytes.byteLength;) {
      const { bytesWritten } = await this.#handle.write(bytes, done, bytes.byteLength - done, this.#at);
      done += bytesWritten;
      this.#at += bytesWritten;
    }
  }
}

function wrongHash({ id }: HubRepository, file: HubFile, got: string): PithError {
  return new PithError(
    'HUB_HASH_WRONG',
    `download ${id}/${file.path}: its ${file.hashKind === 'sha256' ? 'SHA-256' : 'git hash'} must be ${file.hash}, got ${got}; ` +
      'the bytes were thrown away: run again, and check HF_ENDPOINT and the network if it stays',
    { details: { id, file: file.path, expected: file.hash, got } },
  );
}

/** A fault of the disk in words; every other error as it is. */
function cacheError(id: string, path: string, directory: string, cause: unknown): unknown {
  const { code, syscall } = cause as NodeJS.ErrnoException;
  if (typeof code !== 'string' || typeof syscall !== 'string') return cause;
  const full = code === 'ENOSPC' || code === 'EDQUOT';
  return new PithError(
    full ? 'HUB_DISK_FULL' : 'HUB_CACHE_NOT_WRITABLE',
    full
      ? `download ${id}/${path}: the disk of ${directory} is full; make room and run again to go on, or set HF_HUB_CACHE`
      : `download ${id}/${path}: the cache at ${directory} must be writable, it is not (${code}); mend its permissions, or set HF_HUB_CACHE`,
    { details: { id, file: path, directory, systemCode: code }, cause },
  );
}
