// A local file as a byte source. The file is opened when it is first read and stays open until `close`, or until the
// source is garbage: a checkpoint that nobody closes costs no descriptor for ever.
import { close, open, read, type Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { promisify } from 'node:util';
import { PithError, type ByteSource } from '@pith/tensor-core';

/** A {@link ByteSource} over a local file. */
export interface FileBytes extends ByteSource {
  /** Closes the file; a later read opens it again. */
  close(): Promise<void>;
}

/** One read call takes no more: the limit of the system is just under 2 GiB. */
const MAX_READ = 1 << 30;

const openFile = promisify(open);
const closeFile = promisify(close);
const garbage = new FinalizationRegistry((descriptor: number) => close(descriptor, () => undefined));

/**
 * A regular file; its size is read now.
 *
 * @throws PithError `FILE_NOT_READABLE`; on reading `BYTES_OUT_OF_RANGE` and `FILE_TRUNCATED`.
 */
export async function fileBytes(path: string): Promise<FileBytes> {
  let facts: Stats;
  try {
    facts = await stat(path);
  } catch (cause) {
    throw notReadable(path, cause);
  }
  if (!facts.isFile()) throw notReadable(path, undefined);
  return new LocalFile(path, facts.size);
}

class LocalFile implements FileBytes {
  readonly byteLength: number;
  readonly file: { readonly path: string; readonly offset: number };
  #descriptor: Promise<number> | undefined;

  constructor(path: string, byteLength: number) {
    this.file = { path, offset: 0 };
    this.byteLength = byteLength;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    this.#check(offset, length);
    const target = new Uint8Array(length);
    await this.readInto(offset, target);
    return target;
  }

  async readInto(offset: number, target: Uint8Array): Promise<void> {
    this.#check(offset, target.byteLength);
    const descriptor = await this.#open();
    for (let done = 0; done < target.byteLength;) {
      const length = Math.min(target.byteLength - done, MAX_READ);
      const bytesRead = await readAt(descriptor, target, done, length, offset + done);
      if (bytesRead === 0) {
        const { path } = this.file;
        throw new PithError(
          'FILE_TRUNCATED',
          `read file: ${path} must keep its ${this.byteLength} bytes, it ended at ${offset + done}; something changed ` +
            `it while it was read: run the command again`,
          { details: { path, byteLength: this.byteLength, position: offset + done } },
        );
      }
      done += bytesRead;
    }
  }

  async close(): Promise<void> {
    const descriptor = this.#descriptor;
    this.#descriptor = undefined;
    garbage.unregister(this);
    if (descriptor) await closeFile(await descriptor);
  }

  #open(): Promise<number> {
    this.#descriptor ??= openFile(this.file.path, 'r').then(
      (descriptor) => {
        garbage.register(this, descriptor, this);
        return descriptor;
      },
      (cause: unknown) => {
        this.#descriptor = undefined;
        throw notReadable(this.file.path, cause);
      },
    );
    return this.#descriptor;
  }

  #check(offset: number, length: number): void {
    if (Number.isSafeInteger(offset) && offset >= 0 && length >= 0 && offset + length <= this.byteLength) return;
    const { path } = this.file;
    throw new PithError(
      'BYTES_OUT_OF_RANGE',
      `read file: bytes ${offset} to ${offset + length} must lie in the ${this.byteLength} bytes of ${path}`,
      { kind: 'internal', details: { path, offset, length, byteLength: this.byteLength } },
    );
  }
}

/** Promisified by hand: the typed `promisify(read)` makes an object per call. */
function readAt(descriptor: number, target: Uint8Array, at: number, length: number, position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    read(descriptor, target, at, length, position, (error, bytesRead) => (error ? reject(error) : resolve(bytesRead)));
  });
}

function notReadable(path: string, cause: unknown): PithError {
  const systemCode = (cause as NodeJS.ErrnoException | undefined)?.code ?? 'not a regular file';
  return new PithError('FILE_NOT_READABLE', `read file: ${path} must be a readable file, it is not (${systemCode})`, {
    details: { path, systemCode },
    cause,
  });
}
