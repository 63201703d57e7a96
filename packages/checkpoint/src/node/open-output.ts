// Writes a checkpoint whose layout is known: every file gets its full size and its header first, tensors follow in any
// order and in any chunks, from this thread or (by their location) from others.
//
// The working directory is the resume point: nothing in memory matters. A second process that opens it finds headers
// and sizes, checks them against its own layout and goes on; which tensors are done is for its journal to know.
import { lstat, mkdir, open, readdir, rename, rm, rmdir, statfs, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { PithError, throwIfStopped, type RunOptions } from '@pith/tensor-core';
import type { OutputFile, OutputLayout, OutputPlace } from '../safetensors/plan-output.ts';
import type { CheckpointOutput, OpenOutputOptions, OutputLocation } from './checkpoint-output.ts';
import { syncDirectory, syncFile } from './durable.ts';
import { guarded } from './output-errors.ts';

const OPERATION = 'write checkpoint';
const PARTIAL = '.partial';
/** Kept free beyond the output itself: config, tokenizer, journal, receipt. */
const SPARE_BYTES = 64 * 1024 * 1024;
const COPY_BYTES = 1024 * 1024;

/** The working directory of an output directory: a sibling, so that the last rename stays on one file system. */
export function workingDirectoryOf(directory: string): string {
  return `${resolve(directory)}${PARTIAL}`;
}

/**
 * Creates or reopens an output directory; see {@link CheckpointOutput} for what it promises.
 *
 * @throws PithError `OUTPUT_EXISTS` (something other than an empty directory lies at `directory`),
 * `OUTPUT_WORK_EXISTS` and `OUTPUT_WORK_MISSING` (against the mode), `OUTPUT_LAYOUT_DIFFERS` (resuming files of another
 * layout), `OUTPUT_DISK_FULL`, `OUTPUT_NOT_WRITABLE`, `OUTPUT_NO_DIRECTORY`.
 */
export async function openOutput(
  directory: string,
  layout: OutputLayout,
  options: OpenOutputOptions = {},
): Promise<CheckpointOutput> {
  const { mode = 'create' } = options;
  const target = resolve(directory);
  const work = workingDirectoryOf(directory);
  await assertVacant(target);
  const present = await exists(work);
  if (present && mode === 'create') {
    throw new PithError(
      'OUTPUT_WORK_EXISTS',
      `${OPERATION}: ${work} must not exist yet, an earlier run left it; resume that run or remove the directory`,
      { details: { path: work } },
    );
  }
  if (!present && mode === 'resume') {
    throw new PithError(
      'OUTPUT_WORK_MISSING',
      `${OPERATION}: there is nothing to resume, ${work} does not exist; start the run from its beginning`,
      { details: { path: work } },
    );
  }
  if (present) {
    const missing = await reopen(work, layout);
    await createFiles(work, missing);
  } else {
    await assertRoom(dirname(target), layout.totalBytes);
    await guarded(OPERATION, work, () => mkdir(work));
    await createFiles(work, layout.files);
    await guarded(OPERATION, dirname(work), () => syncDirectory(dirname(work)));
  }
  return new DirectoryOutput(target, work, layout, present);
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function assertVacant(target: string): Promise<void> {
  const vacant = await guarded(OPERATION, target, async () => {
    if (!(await exists(target))) return true;
    return (await lstat(target)).isDirectory() && (await readdir(target)).length === 0;
  });
  if (!vacant) throw outputExists(target);
}

function outputExists(target: string, cause?: unknown): PithError {
  return new PithError(
    'OUTPUT_EXISTS',
    `${OPERATION}: the output must not exist yet, ${target} does; choose another name or remove it`,
    { details: { path: target }, cause },
  );
}

/** Refuses before any work what would end with a full disk. */
async function assertRoom(parent: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await guarded(OPERATION, parent, () => statfs(parent));
  const free = bavail * bsize;
  // Some file systems (network, FUSE) report no sizes at all.
  if (bavail === 0 && bsize === 0) return;
  const needed = bytes + (bytes > 0 ? Math.min(SPARE_BYTES, bytes) : 0);
  if (free >= needed) return;
  throw new PithError(
    'OUTPUT_DISK_FULL',
    `${OPERATION}: ${parent} must have ${needed} bytes free, it has ${free}; free some space or choose another disk`,
    { details: { path: parent, needed, free } },
  );
}

/** The present name of a file of the layout, or undefined when it is not there. */
async function checkFile(work: string, file: OutputFile): Promise<string | undefined> {
  const differs = (why: string) =>
    new PithError(
      'OUTPUT_LAYOUT_DIFFERS',
      `${OPERATION}: ${file.name} in ${work} must belong to this run, ${why}; the options or the source have changed: ` +
        `remove the directory to start anew`,
      { details: { path: work, file: file.name } },
    );
  for (const name of [file.name + PARTIAL, file.name]) {
    const path = join(work, name);
    if (!(await guarded(OPERATION, path, () => exists(path)))) continue;
    return guarded(OPERATION, path, async () => {
      if (!(await lstat(path)).isFile()) throw differs('it is not a file');
      const handle = await open(path, 'r');
      try {
        const head = new Uint8Array(file.head.length);
        const { bytesRead } = await handle.read(head, 0, head.length, 0);
        if ((await handle.stat()).size !== file.byteLength) throw differs('its size differs');
        if (bytesRead !== head.length || !Buffer.from(file.head).equals(head)) throw differs('its header differs');
      } finally {
        await handle.close();
      }
      return name;
    });
  }
  return undefined;
}

/**
 * Checks what an earlier run left and returns the files that are not there yet. A run that was killed inside of
 * `finish` has left some files under their final names: they go back to their working names.
 */
async function reopen(work: string, layout: OutputLayout): Promise<OutputFile[]> {
  if (!(await guarded(OPERATION, work, () => lstat(work))).isDirectory()) {
    throw new PithError('OUTPUT_WORK_EXISTS', `${OPERATION}: ${work} must be a directory, it is not; remove it`, {
      details: { path: work },
    });
  }
  const missing: OutputFile[] = [];
  let toAllocate = 0;
  for (const file of layout.files) {
    const name = await checkFile(work, file);
    if (name === undefined) missing.push(file);
    if (name === file.name) {
      await guarded(OPERATION, work, () => rename(join(work, name), join(work, name + PARTIAL)));
    }
    const held = name === undefined ? 0 : await allocatedBytes(join(work, file.name + PARTIAL));
    toAllocate += Math.max(0, file.byteLength - held);
  }
  await assertRoom(work, toAllocate);
  return missing;
}

/** Bytes that the file system holds for a file; the rest of its size is a hole that still needs room. */
async function allocatedBytes(path: string): Promise<number> {
  return guarded(OPERATION, path, async () => (await lstat(path)).blocks * 512);
}

/**
 * Creates files of the layout. A file appears under its working name only when it has its header and its size: a run
 * that was killed in between leaves nothing that would be taken for started.
 */
async function createFiles(work: string, files: readonly OutputFile[]): Promise<void> {
  for (const file of files) {
    const path = join(work, file.name + PARTIAL);
    await guarded(OPERATION, path, async () => {
      const handle = await open(`${path}.new`, 'w');
      try {
        await writeAll(handle, file.head, 0);
        await handle.truncate(file.byteLength);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(`${path}.new`, path);
    });
  }
  await guarded(OPERATION, work, () => syncDirectory(work));
}

/** Writes all bytes: a single call may take fewer than it was given, and no call takes more than 2 GiB. */
async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength;) {
    const length = Math.min(bytes.byteLength - done, 1 << 30);
    const { bytesWritten } = await handle.write(bytes, done, length, position + done);
    done += bytesWritten;
  }
}

class DirectoryOutput implements CheckpointOutput {
  readonly layout: OutputLayout;
  readonly directory: string;
  readonly workingDirectory: string;
  readonly resumed: boolean;
  private readonly handles = new Map<string, Promise<FileHandle>>();
  private state: 'open' | 'finished' | 'closed' = 'open';

  constructor(directory: string, work: string, layout: OutputLayout, resumed: boolean) {
    this.directory = directory;
    this.workingDirectory = work;
    this.layout = layout;
    this.resumed = resumed;
  }

  location(name: string): OutputLocation {
    const { file, offset, byteLength } = this.place(name);
    return { path: join(this.workingDirectory, file + PARTIAL), offset, byteLength };
  }

  async write(name: string, offset: number, bytes: Uint8Array): Promise<void> {
    this.assertState('open', 'write');
    const place = this.place(name);
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + bytes.byteLength > place.byteLength) {
      throw new PithError(
        'OUTPUT_RANGE',
        `${OPERATION}: bytes ${offset} to ${offset + bytes.byteLength} of tensor "${name}" must lie within its ` +
          `${place.byteLength} bytes`,
        { kind: 'internal', details: { tensor: name, offset, length: bytes.byteLength, byteLength: place.byteLength } },
      );
    }
    const path = join(this.workingDirectory, place.file + PARTIAL);
    await guarded(OPERATION, path, async () => writeAll(await this.handle(path), bytes, place.offset + offset));
  }

  async writeFile(name: string, content: string | Uint8Array): Promise<void> {
    const path = this.sidePath(name);
    const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
    await guarded(OPERATION, path, async () => {
      const handle = await open(path + PARTIAL, 'w');
      try {
        await writeAll(handle, bytes, 0);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(path + PARTIAL, path);
    });
  }

  async copyFile(source: string, name: string): Promise<void> {
    const path = this.sidePath(name);
    await guarded(OPERATION, path, async () => {
      // Not fs.copyFile: that copies the permissions too, and a read-only copy could not be replaced by a resumed run.
      const [from, to] = [await open(source, 'r'), await open(path + PARTIAL, 'w')];
      try {
        const buffer = new Uint8Array(COPY_BYTES);
        for (let position = 0; ;) {
          const { bytesRead } = await from.read(buffer, 0, buffer.length, position);
          if (bytesRead === 0) break;
          await writeAll(to, buffer.subarray(0, bytesRead), position);
          position += bytesRead;
        }
        await to.sync();
      } finally {
        await from.close();
        await to.close();
      }
      await rename(path + PARTIAL, path);
    });
  }

  async sync(): Promise<void> {
    for (const { name } of this.layout.files) {
      const path = join(this.workingDirectory, this.state === 'open' ? name + PARTIAL : name);
      await guarded(OPERATION, path, () => syncFile(path));
    }
  }

  async finish(options: RunOptions = {}): Promise<void> {
    if (this.state === 'finished') return;
    this.assertState('open', 'finish');
    await this.closeHandles();
    const { files, index } = this.layout;
    for (const [done, file] of files.entries()) {
      throwIfStopped(options.signal, OPERATION);
      options.progress?.({ phase: 'flush', item: file.name, done, total: files.length, unit: 'file' });
      const path = join(this.workingDirectory, file.name);
      await guarded(OPERATION, path, async () => {
        const name = await checkFile(this.workingDirectory, file);
        if (name === undefined) {
          throw new PithError('OUTPUT_FILE_LOST', `${OPERATION}: ${path} has disappeared; run the command again`, {
            details: { path },
          });
        }
        await syncFile(join(this.workingDirectory, name));
        if (name !== file.name) await rename(path + PARTIAL, path);
      });
    }
    if (index) await this.writeFile(index.name, index.text);
    await guarded(OPERATION, this.workingDirectory, () => syncDirectory(this.workingDirectory));
    options.progress?.({ phase: 'flush', done: files.length, total: files.length, unit: 'file' });
    this.state = 'finished';
  }

  async publish(): Promise<void> {
    this.assertState('finished', 'publish');
    const { directory, workingDirectory: work } = this;
    await guarded(OPERATION, work, () => syncDirectory(work));
    await assertVacant(directory);
    await guarded(OPERATION, directory, async () => {
      // An empty directory that the user made: rename takes its place on POSIX, Windows wants it gone. `rmdir` removes
      // nothing that is not empty.
      if (await exists(directory)) await rmdir(directory);
      try {
        await rename(work, directory);
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        if (code === 'ENOTEMPTY' || code === 'EEXIST' || code === 'ENOTDIR') throw outputExists(directory, error);
        throw error;
      }
      await syncDirectory(dirname(directory));
    });
    this.state = 'closed';
  }

  async close(): Promise<void> {
    await this.closeHandles();
    this.state = 'closed';
  }

  async discard(): Promise<void> {
    await this.close();
    await guarded(OPERATION, this.workingDirectory, () => rm(this.workingDirectory, { recursive: true, force: true }));
  }

  private place(name: string): OutputPlace {
    const place = this.layout.places.get(name);
    if (place) return place;
    throw new PithError('OUTPUT_UNKNOWN_TENSOR', `${OPERATION}: tensor "${name}" is not part of the layout`, {
      kind: 'internal',
      details: { tensor: name },
    });
  }

  /** Small files may not leave the directory, nor pass for a file of the layout. */
  private sidePath(name: string): string {
    const { files, index } = this.layout;
    const taken = files.some((file) => file.name === name || file.name + PARTIAL === name);
    if (name !== '' && name !== '.' && name !== '..' && basename(name) === name && !name.includes('\\') && !taken) {
      return join(this.workingDirectory, name);
    }
    if (index && index.name === name) return join(this.workingDirectory, name);
    throw new PithError(
      'OUTPUT_NAME_INVALID',
      `${OPERATION}: the name of a file must be plain and not that of a tensor file, got ${JSON.stringify(name)}`,
      { kind: 'internal', details: { name } },
    );
  }

  private handle(path: string): Promise<FileHandle> {
    let handle = this.handles.get(path);
    if (!handle) {
      handle = open(path, 'r+');
      this.handles.set(path, handle);
    }
    return handle;
  }

  private async closeHandles(): Promise<void> {
    const handles = [...this.handles.values()];
    this.handles.clear();
    for (const handle of handles) await (await handle.catch(() => undefined))?.close();
  }

  private assertState(wanted: 'open' | 'finished', verb: string): void {
    if (this.state === wanted) return;
    throw new PithError(
      'OUTPUT_STATE',
      `${OPERATION}: ${verb} needs an output that is ${wanted}, it is ${this.state}`,
      {
        kind: 'internal',
        details: { state: this.state, verb },
      },
    );
  }
}
