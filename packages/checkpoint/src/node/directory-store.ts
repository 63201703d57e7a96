// A local directory as a store of checkpoint files, and which links in it are followed.
//
// Checkpoints come from strangers, also as archives, and an archive can hold links. A link named `tokenizer.json` that
// points to a private key would be copied into an output and published with it; a FIFO named `model.safetensors` would
// block a reader for ever. So only regular files are opened, and a link is followed only
//
// - to a file inside of the directory itself, or
// - as the Hugging Face cache lays its files out: `models--x/snapshots/<revision>/name` to `models--x/blobs/<hash>`.
//
// The directory that the user names may itself be reached through links: that is the user's own doing.
import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { PithError, type ByteSource } from '@pith/tensor-core';
import { fileBytes, type FileBytes } from '@pith/tensor-core/node';
import type { FileStore, StoredFile } from '../huggingface/file-store.ts';

/** Most entries of a directory that are looked at. */
const MAX_ENTRIES = 100_000;

/** Options of {@link directoryStore}. */
export interface DirectoryStoreOptions {
  /**
   * `checkpoint` (the default) follows links inside of the directory and those of the Hugging Face cache; `anywhere`
   * follows all, for directories that you linked together yourself.
   */
  readonly links?: 'checkpoint' | 'anywhere';
}

/** A {@link FileStore} over a local directory. */
export interface DirectoryStore extends FileStore {
  /** Absolute path of the directory, links resolved. */
  readonly directory: string;
  /** Absolute path of a regular file, checked like `open`. */
  path(name: string): Promise<string>;
}

/**
 * Opens a local directory.
 *
 * @throws PithError `CHECKPOINT_NOT_FOUND`, `CHECKPOINT_NOT_A_DIRECTORY`, `CHECKPOINT_NOT_READABLE`.
 */
export async function directoryStore(directory: string, options: DirectoryStoreOptions = {}): Promise<DirectoryStore> {
  const { links = 'checkpoint' } = options;
  const root = await realDirectory(directory);
  const opened: FileBytes[] = [];

  const path = async (name: string): Promise<string> => {
    const place = join(root, name);
    if (name === '' || name === '.' || name === '..' || basename(place) !== name || /[/\\\0]/.test(name)) {
      throw fault('CHECKPOINT_NAME_INVALID', name, directory, 'is not the plain name of a file', 'correct the name');
    }
    const real = await resolveFile(place, name, directory);
    if (links === 'checkpoint' && real !== place && !mayFollow(root, real)) {
      throw fault(
        'CHECKPOINT_LINK_LEAVES',
        name,
        directory,
        `is a link to ${real}, outside of the checkpoint`,
        'put a copy in its place, or allow links if you made them yourself',
        { target: real },
      );
    }
    return real;
  };

  return {
    label: directory,
    directory: root,
    path,
    modified: async (name) => (await stat(await path(name))).mtimeMs,
    list: () => listFiles(root, directory, path),
    async open(name): Promise<ByteSource> {
      const source = await fileBytes(await path(name));
      opened.push(source);
      return source;
    },
    async close() {
      for (const source of opened) await source.close();
    },
  };
}

async function realDirectory(directory: string): Promise<string> {
  // The system would take it for the current directory: a variable of a script that was not set.
  if (directory === '') {
    throw new PithError(
      'CHECKPOINT_NOT_FOUND',
      'open checkpoint: its path must be given, got an empty text; name a directory',
      {
        details: { directory },
      },
    );
  }
  try {
    const root = await realpath(resolve(directory));
    if ((await stat(root)).isDirectory()) return root;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const missing = code === 'ENOENT' || code === 'ENOTDIR';
    throw new PithError(
      missing ? 'CHECKPOINT_NOT_FOUND' : 'CHECKPOINT_NOT_READABLE',
      `open checkpoint: ${directory} ${missing ? 'must exist, it does not' : `must be readable, it is not (${code})`}; ` +
        `check the path`,
      { details: { directory, systemCode: code }, cause },
    );
  }
  throw new PithError(
    'CHECKPOINT_NOT_A_DIRECTORY',
    `open checkpoint: a checkpoint is a directory with config.json and safetensors files, ${directory} is a file; ` +
      `name the directory that it lies in`,
    { details: { directory } },
  );
}

async function resolveFile(place: string, name: string, directory: string): Promise<string> {
  try {
    const real = await realpath(place);
    if ((await stat(real)).isFile()) return real;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const why =
      code === 'ENOENT'
        ? 'is missing (or a link to nothing)'
        : code === 'ELOOP'
          ? 'is a link that leads back to itself'
          : `cannot be read (${code})`;
    const error = code === 'ENOENT' ? 'CHECKPOINT_FILE_MISSING' : 'CHECKPOINT_NOT_READABLE';
    throw fault(error, name, directory, why, 'get the checkpoint again', { systemCode: code });
  }
  throw fault('CHECKPOINT_NOT_A_FILE', name, directory, 'is not a regular file', 'put a regular file in its place');
}

function mayFollow(root: string, real: string): boolean {
  if (real.startsWith(root + sep)) return true;
  const snapshots = dirname(root);
  return basename(snapshots) === 'snapshots' && dirname(real) === join(dirname(snapshots), 'blobs');
}

async function listFiles(
  root: string,
  directory: string,
  path: (name: string) => Promise<string>,
): Promise<StoredFile[]> {
  const names = (await readdir(root)).sort();
  if (names.length > MAX_ENTRIES) {
    throw new PithError(
      'CHECKPOINT_TOO_MANY_FILES',
      `open checkpoint: a checkpoint may have ${MAX_ENTRIES} files, ${directory} has ${names.length}; check the path`,
      { details: { directory, entries: names.length } },
    );
  }
  const files: StoredFile[] = [];
  for (const name of names) {
    const entry = await lstat(join(root, name));
    if (entry.isDirectory()) files.push({ name, byteLength: 0, kind: 'directory' });
    else if (entry.isFile()) files.push({ name, byteLength: entry.size, kind: 'file' });
    else files.push(await linkedFile(name, path));
  }
  return files;
}

/** A link is listed as what it leads to where it may be followed, and as `special` otherwise. */
async function linkedFile(name: string, path: (name: string) => Promise<string>): Promise<StoredFile> {
  const real = await path(name).catch(() => undefined);
  if (real === undefined) return { name, byteLength: 0, kind: 'special' };
  return { name, byteLength: (await stat(real)).size, kind: 'file' };
}

function fault(
  code: string,
  name: string,
  directory: string,
  why: string,
  remedy: string,
  details: Record<string, unknown> = {},
): PithError {
  return new PithError(code, `open checkpoint: ${JSON.stringify(name)} in ${directory} ${why}; ${remedy}`, {
    details: { file: name, directory, ...details },
  });
}
