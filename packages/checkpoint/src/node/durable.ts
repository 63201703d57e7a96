// Making files survive a power loss. A crash of the process alone loses nothing that a write call has taken; the
// kernel's cache does not survive a power loss, so data is flushed first, and directories (which hold the names)
// afterwards. https://man7.org/linux/man-pages/man2/fsync.2.html
import { open, type FileHandle } from 'node:fs/promises';

/** Flushes a file that is open elsewhere. */
export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Flushes the names in a directory. Windows has no such call: there a rename is durable when the system says so. */
export async function syncDirectory(path: string): Promise<void> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, 'r');
    await handle.sync();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'EISDIR' && code !== 'EPERM' && code !== 'EINVAL' && code !== 'ENOTSUP') throw error;
  } finally {
    await handle?.close();
  }
}
