// Files of this disk into a repository on a hub, as one commit: nothing is visible before all of it is there. The steps
// (which files are large, where their bytes go, the commit) are those of `@huggingface/hub`; large files go by plain
// uploads, in parts where the hub asks for parts.
import { isPithError, PithError, throwIfStopped, type RunOptions } from '@pith/tensor-core';
import { pathToFileURL } from 'node:url';
import type { HubClient } from '../../hub/hub-client.ts';
import { reasonOf } from '../../hub/hub-errors.ts';

/** A file to upload. */
export interface HubUpload {
  /** Path within the repository. */
  readonly path: string;
  /** Bytes. */
  readonly byteLength: number;
  /** Path on this disk, or the text itself. */
  readonly content:
    | {
        /** Path on this disk. */
        readonly file: string;
      }
    | {
        /** The text itself. */
        readonly text: string;
      };
}

/** Where and how files are uploaded. */
export interface UploadOptions extends RunOptions {
  /** `org/name`; made where it does not exist. */
  readonly id: string;
  /** Branch, made where it does not exist; `main` when left out. */
  readonly branch?: string;
  /** Makes the repository private; an existing one must be. */
  readonly private?: boolean;
  /** Title of the commit. */
  readonly message: string;
}

/** What an upload has made. */
export interface Uploaded {
  /** The commit. */
  readonly commit: string;
  /** Page of the repository. */
  readonly url: string;
  /** True when the repository was made for it. */
  readonly created: boolean;
}

/**
 * Uploads files as one commit.
 *
 * @throws PithError `HUB_TOKEN_MISSING`, `HUB_REPOSITORY_PUBLIC`, those of {@link HubClient.fetch}, `STOPPED`.
 */
export async function uploadFiles(
  client: HubClient,
  files: readonly HubUpload[],
  options: UploadOptions,
): Promise<Uploaded> {
  const { id, branch = 'main', message, signal, progress } = options;
  const operation = `push ${id}`;
  if (!client.authorized) {
    throw new PithError(
      'HUB_TOKEN_MISSING',
      `${operation}: a token with the right to write is needed, there is none; put one in HF_TOKEN, or log in with "hf auth login"`,
      { details: { id } },
    );
  }
  const { commitIter, createBranch } = await import('@huggingface/hub');
  const common = {
    hubUrl: client.endpoint,
    fetch: client.fetch({ operation, id }),
    repo: { type: 'model', name: id } as const,
  };
  try {
    const created = await ensureRepository(client, options);
    if (branch !== 'main') await createBranch({ ...common, branch }).catch(unlessThere);
    const sizes = new Map(files.map((file) => [file.path, file.byteLength]));
    const total = files.reduce((sum, { byteLength }) => sum + byteLength, 0);
    const shares = new Map<string, number>();
    const tell = (): void => {
      const done = Math.min(
        total,
        Math.floor([...shares].reduce((sum, [path, share]) => sum + share * (sizes.get(path) ?? 0), 0)),
      );
      progress?.({ phase: operation, done, total, unit: 'byte', bytesDone: done, bytesTotal: total });
    };
    const steps = commitIter({
      ...common,
      branch,
      title: message,
      operations: files.map(({ path, content }) => ({
        operation: 'addOrUpdate',
        path,
        content: 'file' in content ? pathToFileURL(content.file) : new Blob([content.text]),
      })),
      useXet: false,
      ...(signal && { abortSignal: signal }),
    });
    for (;;) {
      const step = await steps.next();
      throwIfStopped(signal, operation);
      if (step.done) {
        const commit = step.value?.commit.oid ?? '';
        return { commit, url: `${client.endpoint}/${id}`, created };
      }
      if (step.value.event === 'fileProgress' && step.value.state === 'uploading') {
        shares.set(step.value.path, step.value.progress);
        tell();
      }
    }
  } catch (error) {
    throwIfStopped(signal, operation);
    if (isPithError(error)) throw error;
    throw new PithError(
      'HUB_UPLOAD_FAILED',
      `${operation}: the upload must come to an end, it did not: ${reasonOf(error)}; run again`,
      {
        details: { id },
        cause: error,
      },
    );
  }
}

/** Makes the repository where there is none; true when it was made. */
async function ensureRepository(client: HubClient, { id, private: wantsPrivate }: UploadOptions): Promise<boolean> {
  const { createRepo, modelInfo } = await import('@huggingface/hub');
  const common = { hubUrl: client.endpoint, fetch: client.fetch({ operation: `push ${id}`, id }) };
  try {
    await createRepo({
      ...common,
      repo: { type: 'model', name: id },
      // The client adds the token.
      accessToken: '',
      ...(wantsPrivate !== undefined && { visibility: wantsPrivate ? 'private' : 'public' }),
    });
    return true;
  } catch (error) {
    unlessThere(error);
  }
  if (wantsPrivate !== true || (await modelInfo({ ...common, name: id })).private) return false;
  throw new PithError(
    'HUB_REPOSITORY_PUBLIC',
    `push ${id}: the repository must be private, it exists and is public; make it private in its settings, or push without --private`,
    { details: { id } },
  );
}

/** Lets "exists already" pass. */
function unlessThere(error: unknown): void {
  if (isPithError(error) && error.details['status'] === 409) return;
  throw error as Error;
}
