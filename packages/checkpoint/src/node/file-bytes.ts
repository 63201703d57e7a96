// A local file as a byte source. The file is opened when it is first read and stays open until `close`.
import { open, stat, type FileHandle } from 'node:fs/promises';
import { PithError, type ByteSource } from '@pith/tensor-core';

/** A {@link ByteSource} over a local file. */
export interface FileBytes extends ByteSource {
  /** Closes the file; a later read opens it again. */
  close(): Promise<void>;
}

/** One read call takes no more: the limit of the system is just under 2 GiB. */
const MAX_READ = 1 << 30;

/** Opens a regular file lazily; its size is read now. */
export async function fileBytes(path: string): Promise<FileBytes> {
  const { size } = await stat(path);
  let handle: Promise<FileHandle> | undefined;

  const checkRange = (offset: number, length: number): void => {
    if (Number.isSafeInteger(offset) && offset >= 0 && length >= 0 && offset + length <= size) return;
    throw new PithError(
      'BYTES_OUT_OF_RANGE',
      `read file: bytes ${offset} to ${offset + length} must lie in the ${size} bytes of ${path}`,
      { kind: 'internal', details: { path, offset, length, byteLength: size } },
    );
  };

  const readInto = async (offset: number, target: Uint8Array): Promise<void> => {
    checkRange(offset, target.byteLength);
    handle ??= open(path, 'r');
    const file = await handle;
    for (let done = 0; done < target.byteLength;) {
      const length = Math.min(target.byteLength - done, MAX_READ);
      const { bytesRead } = await file.read(target, done, length, offset + done);
      if (bytesRead === 0) {
        throw new PithError(
          'FILE_TRUNCATED',
          `read file: ${path} must keep its ${size} bytes, it ended at ${offset + done}; it was changed while it was read`,
          { details: { path, byteLength: size, position: offset + done } },
        );
      }
      done += bytesRead;
    }
  };

  return {
    byteLength: size,
    file: { path, offset: 0 },
    readInto,
    async read(offset, length) {
      checkRange(offset, length);
      const target = new Uint8Array(length);
      await readInto(offset, target);
      return target;
    },
    async close() {
      const open = handle;
      handle = undefined;
      await (await open)?.close();
    },
  };
}
