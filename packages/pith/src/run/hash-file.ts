// SHA-256 of a file, or of its beginning, in pieces: memory does not grow with it.
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { PithError } from '@pith/tensor-core';

const PIECE_BYTES = 1024 * 1024;

/**
 * SHA-256 of the first `length` bytes of a file, lower-case hexadecimal.
 *
 * @throws PithError `FILE_TRUNCATED` when it is shorter.
 */
export async function hashFile(path: string, length: number): Promise<string> {
  const hash = createHash('sha256');
  const piece = new Uint8Array(Math.min(PIECE_BYTES, Math.max(1, length)));
  const file = await open(path, 'r');
  try {
    for (let done = 0; done < length;) {
      const { bytesRead } = await file.read(piece, 0, Math.min(piece.length, length - done), done);
      if (bytesRead === 0) {
        throw new PithError(
          'FILE_TRUNCATED',
          `read ${path}: ${length} bytes were expected, it ends after ${done}; it was changed while it was read`,
          { details: { path, length, got: done } },
        );
      }
      hash.update(piece.subarray(0, bytesRead));
      done += bytesRead;
    }
  } finally {
    await file.close();
  }
  return hash.digest('hex');
}
