// A repository at one revision: its commit and its files with sizes and hashes. The listing is what a stranger wrote:
// names that lead out of a directory, hashes that are none and sizes beyond belief are refused before anything is made
// of them.
import { isPithError, PithError } from '@pith/tensor-core';
import type { HubClient } from './hub-client.ts';
import { reasonOf } from './hub-errors.ts';
import { isCommit } from './hub-id.ts';

/** A file of a repository. */
export interface HubFile {
  /** Path within the repository, parts joined by `/`. */
  readonly path: string;
  /** Bytes. */
  readonly byteLength: number;
  /** Hash of the content, lower-case hexadecimal: SHA-256 of large files (LFS, Xet), git's blob SHA-1 of small ones. */
  readonly hash: string;
  /** Which of the two it is. */
  readonly hashKind: 'sha256' | 'git-sha1';
}

/** A repository at one revision. */
export interface HubRepository {
  /** `org/name`. */
  readonly id: string;
  /** As it was asked for. */
  readonly revision: string;
  /** The commit that the revision is. */
  readonly commit: string;
  /** Files in the order of the listing, folders' among them. */
  readonly files: readonly HubFile[];
}

/** Most files of a repository that are listed. */
export const MAX_HUB_FILES = 100_000;
/** Most pages of a listing; a hub puts a thousand files on one. */
const MAX_PAGES = 200;
/** Largest file that a listing may claim: 16 TiB. */
const MAX_FILE_BYTES = 2 ** 44;
/** Longest path: what a hub takes is shorter. */
const MAX_PATH = 1024;

/**
 * Looks up a revision and lists its files: two requests, one more for each thousand files.
 *
 * @throws PithError those of {@link HubClient.fetch}; `HUB_LISTING_INVALID`, `HUB_FILE_NAME_INVALID`, `HUB_TOO_MANY_FILES`.
 */
export async function openHubRepository(client: HubClient, id: string, revision: string): Promise<HubRepository> {
  const { listFiles, modelInfo } = await import('@huggingface/hub');
  const operation = `open ${id}`;
  const send = client.fetch({ operation, id });
  let requests = 0;
  const counted: typeof fetch = (input, init) => {
    // A listing whose pages lead in a circle has no end.
    if (++requests > MAX_PAGES) throw tooMany(id);
    return send(input, init);
  };
  const common = { hubUrl: client.endpoint, fetch: counted };
  const files = new Map<string, HubFile>();
  try {
    const { sha } = await modelInfo({ ...common, name: id, revision, additionalFields: ['sha'] });
    if (typeof sha !== 'string' || !isCommit(sha)) throw invalid(id, `the commit must be 40 hexadecimal digits`, sha);
    for await (const entry of listFiles({
      ...common,
      repo: { type: 'model', name: id },
      revision: sha,
      recursive: true,
    })) {
      if (entry.type !== 'file') continue;
      const file = checkEntry(id, entry);
      if (files.has(file.path)) throw invalid(id, `each file may be listed once`, file.path);
      files.set(file.path, file);
      if (files.size > MAX_HUB_FILES) throw tooMany(id);
    }
    return { id, revision, commit: sha, files: [...files.values()] };
  } catch (error) {
    if (isPithError(error)) throw error;
    throw invalid(id, 'the answers of the hub must be what its interface says', reasonOf(error), error);
  }
}

interface ListedEntry {
  readonly path: unknown;
  readonly size: unknown;
  readonly oid?: unknown;
  readonly lfs?: { readonly oid?: unknown; readonly size?: unknown } | null;
}

function checkEntry(id: string, { path, size, oid, lfs }: ListedEntry): HubFile {
  if (typeof path !== 'string') throw invalid(id, 'a file must have a path', path);
  checkPath(id, path);
  const byteLength = lfs?.size ?? size;
  if (
    typeof byteLength !== 'number' ||
    !Number.isSafeInteger(byteLength) ||
    byteLength < 0 ||
    byteLength > MAX_FILE_BYTES
  ) {
    throw invalid(id, `the size of ${JSON.stringify(path)} must be from 0 to ${MAX_FILE_BYTES} bytes`, byteLength);
  }
  const hash = lfs ? lfs.oid : oid;
  const [pattern, hashKind] = lfs ? [/^[0-9a-f]{64}$/, 'sha256' as const] : [/^[0-9a-f]{40}$/, 'git-sha1' as const];
  if (typeof hash !== 'string' || !pattern.test(hash)) {
    throw invalid(id, `the hash of ${JSON.stringify(path)} must be hexadecimal`, hash);
  }
  return { path, byteLength, hash, hashKind };
}

/** A path stays below its directory, on every system. */
function checkPath(id: string, path: string): void {
  const parts = path.split('/');
  const fits = parts.every((part) => part !== '' && part !== '.' && part !== '..' && part.length <= 255);
  if (fits && path.length <= MAX_PATH && !/[\\:\u0000-\u001f\u007f]/.test(path)) return;
  throw new PithError(
    'HUB_FILE_NAME_INVALID',
    `open ${id}: the name of a file must lead to a place within the repository, got ${JSON.stringify(path.slice(0, 200))}; ` +
      'do not use this repository',
    { details: { id, path: path.slice(0, 200) } },
  );
}

function tooMany(id: string): PithError {
  return new PithError(
    'HUB_TOO_MANY_FILES',
    `open ${id}: a repository may have ${MAX_HUB_FILES} files on ${MAX_PAGES} pages, it lists more; clone it with git and ` +
      'name the directory',
    { details: { id, limit: MAX_HUB_FILES } },
  );
}

function invalid(id: string, why: string, got: unknown, cause?: unknown): PithError {
  const shown = (JSON.stringify(got) ?? 'nothing').slice(0, 100);
  return new PithError(
    'HUB_LISTING_INVALID',
    `open ${id}: ${why}, got ${shown}; check HF_ENDPOINT, or try again later`,
    { details: { id, got: shown }, ...(cause !== undefined && { cause }) },
  );
}
