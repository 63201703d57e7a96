// The files of a directory and of the folders in it.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

/** Names relative to the directory with forward slashes, sorted; what is neither file nor folder is listed, too. */
export async function listFiles(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  const names = await Promise.all(
    entries.map(async (entry) => {
      if (!entry.isDirectory()) return [entry.name];
      return (await listFiles(join(directory, entry.name))).map((name) => `${entry.name}/${name}`);
    }),
  );
  return names.flat().sort();
}
