// A local file as a byte source. All ranges and weights over it share one descriptor, which is opened at the first read
// and closed by `close`, or when the source is garbage.
import { close, open, read, stat } from 'node:fs';
import { promisify } from 'node:util';
import { PithError } from '../errors/pith-error.ts';
import { requireByteRange } from '../weight/byte-range.ts';
import type { ByteSource, FileLocation } from '../weight/byte-source.ts';

/** A {@link ByteSource} over a local file. */
export interface FileBytes extends ByteSource {
  readonly file: FileLocation;
  /** Closes the file; a later read opens it again. */
  close(): Promise<void>;
}

/** How a file is read. */
export interface FileBytesOptions {
  /** Most bytes that one `read` may allocate; {@link DEFAULT_READ_BYTES} when left out. `readInto` has no cap. */
  readonly maxReadBytes?: number;
}

/** Default of {@link FileBytesOptions.maxReadBytes}: 4 GiB, the longest array that every supported Node makes. */
export const DEFAULT_READ_BYTES = 2 ** 32;

// One system call moves at most 2^31 - 4096 bytes on Linux.
const MAX_CALL_BYTES = 2 ** 30;

const statOf = promisify(stat);
const openFile = promisify(open);
const closeFile = promisify(close);
const garbage = new FinalizationRegistry<number>((descriptor) => close(descriptor, () => undefined));

/**
 * A regular file as a byte source; its length is looked up now and its bytes are read when asked for.
 *
 * @throws PithError `FILE_READ_FAILED` when it is absent, unreadable or not a regular file. Reads throw
 * `BYTES_OUT_OF_RANGE`, `READ_TOO_LARGE`, `FILE_READ_FAILED`, and `FILE_TRUNCATED` when the file became shorter.
 */
export async function fileBytes(path: string, options: FileBytesOptions = {}): Promise<FileBytes> {
  const facts = await statOf(path).catch((cause: unknown) => {
    throw readFailed(path, cause);
  });
  if (!facts.isFile()) throw readFailed(path, { code: facts.isDirectory() ? 'EISDIR' : 'ENOTREG' });
  return new LocalFile(path, facts.size, options.maxReadBytes ?? DEFAULT_READ_BYTES);
}

class LocalFile implements FileBytes {
  readonly byteLength: number;
  readonly file: FileLocation;
  readonly #maxReadBytes: number;
  #descriptor: Promise<number> | undefined;
  /** Reads under way: the descriptor is not closed under them. */
  readonly #reading = new Set<Promise<void>>();

  constructor(path: string, byteLength: number, maxReadBytes: number) {
    this.file = Object.freeze({ path, offset: 0 });
    this.byteLength = byteLength;
    this.#maxReadBytes = maxReadBytes;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    const { path } = this.file;
    requireByteRange(offset, length, this.byteLength, path);
    if (length > this.#maxReadBytes) {
      const text = `read ${path}: one read takes at most ${this.#maxReadBytes} bytes, got ${length}; read it in pieces`;
      throw new PithError('READ_TOO_LARGE', text, { details: { path, length, maxReadBytes: this.#maxReadBytes } });
    }
    const target = new Uint8Array(length);
    await this.readInto(offset, target);
    return target;
  }

  async readInto(offset: number, target: Uint8Array): Promise<void> {
    requireByteRange(offset, target.byteLength, this.byteLength, this.file.path);
    const reading = this.#fill(offset, target);
    this.#reading.add(reading);
    try {
      await reading;
    } finally {
      this.#reading.delete(reading);
    }
  }

  async close(): Promise<void> {
    const descriptor = this.#descriptor;
    this.#descriptor = undefined;
    await Promise.allSettled(this.#reading);
    garbage.unregister(this);
    if (descriptor !== undefined) await closeFile(await descriptor);
  }

  async #fill(offset: number, target: Uint8Array): Promise<void> {
    const { path } = this.file;
    const descriptor = await this.#open();
    for (let done = 0; done < target.byteLength;) {
      const wanted = Math.min(target.byteLength - done, MAX_CALL_BYTES);
      const got = await readOnce(descriptor, target, done, wanted, offset + done).catch((cause: unknown) => {
        throw readFailed(path, cause);
      });
      if (got === 0) {
        throw new PithError(
          'FILE_TRUNCATED',
          `read ${path}: ${target.byteLength} bytes from offset ${offset} were expected, got ${done}; ` +
            'the file is shorter than it was: fetch it again',
          { details: { path, offset, length: target.byteLength, got: done } },
        );
      }
      done += got;
    }
  }

  #open(): Promise<number> {
    this.#descriptor ??= openFile(this.file.path, 'r').then(
      (descriptor) => {
        garbage.register(this, descriptor, this);
        return descriptor;
      },
      (cause: unknown) => {
        this.#descriptor = undefined;
        throw readFailed(this.file.path, cause);
      },
    );
    return this.#descriptor;
  }
}

function readOnce(descriptor: number, target: Uint8Array, at: number, length: number, position: number) {
  return new Promise<number>((resolve, reject) => {
    read(descriptor, target, at, length, position, (error, got) => (error ? reject(error) : resolve(got)));
  });
}

function readFailed(path: string, cause: unknown): PithError {
  const errno = (cause as { code?: string } | undefined)?.code ?? 'UNKNOWN';
  return new PithError('FILE_READ_FAILED', `read ${path}: it must be a readable file, failed with ${errno}`, {
    details: { path, errno },
    cause,
  });
}
