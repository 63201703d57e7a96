// What the system says when writing fails, as errors that name the file and what to do.
import { isPithError, PithError } from '@pith/tensor-core';

/** A failed operation on the output as a {@link PithError}. */
export function outputError(cause: unknown, operation: string, path: string): PithError {
  if (isPithError(cause)) return cause;
  const { code: systemCode = 'unknown', message = String(cause) } = (cause ?? {}) as NodeJS.ErrnoException;
  const details = { path, systemCode };
  switch (systemCode) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new PithError(
        'OUTPUT_DISK_FULL',
        `${operation}: the disk with ${path} must have room, it is full; free some space and run the same command again to resume`,
        { details, cause },
      );
    case 'EROFS':
    case 'EACCES':
    case 'EPERM':
      return new PithError(
        'OUTPUT_NOT_WRITABLE',
        `${operation}: ${path} must be writable, it is not (${systemCode}); choose another output or change its permissions`,
        { details, cause },
      );
    case 'ENOTDIR':
      return new PithError(
        'OUTPUT_NO_DIRECTORY',
        `${operation}: what ${path} lies in must be directories, one of them is a file (ENOTDIR); choose another output`,
        { details, cause },
      );
    case 'ENOENT':
      return new PithError(
        'OUTPUT_NO_DIRECTORY',
        `${operation}: the directory of ${path} must exist, it does not (${systemCode}); create it first`,
        { details, cause },
      );
    case 'EFBIG':
      return new PithError(
        'OUTPUT_FILE_TOO_LARGE',
        `${operation}: ${path} is larger than the file system or the limit of this process allows; write smaller shards`,
        { details, cause },
      );
    default:
      return new PithError('OUTPUT_WRITE_FAILED', `${operation}: writing ${path} failed (${systemCode}): ${message}`, {
        details,
        cause,
      });
  }
}

/** Runs a file operation and turns its failure into a {@link PithError}. */
export async function guarded<T>(operation: string, path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    throw outputError(cause, operation, path);
  }
}
