// Hashes of every tensor of a source, taken once when a staged run begins: they go into the receipt, and tell a resumed
// run whether a source whose files are newer is still the same.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RunOptions } from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';
import { locationOf, type Source } from '../source/open-source.ts';
import { replaceFile } from '../stages/weight-store.ts';
import type { SourceFileState, TensorLeaves } from './journal.ts';
import { LEAF_BYTES, runLeaves } from './leaves.ts';
import { sourceChanged } from './resume.ts';
import type { WorkDirectory } from './work-directory.ts';

/**
 * The leaves of every tensor of the source, in the order of its files.
 *
 * @param states of the files of all models that are read, the source's among them.
 * @throws PithError `SOURCE_CHANGED` when it is not the source that the run was begun with.
 */
export async function sourceHashes(
  source: Source,
  states: readonly SourceFileState[],
  { journal, paths }: Pick<WorkDirectory, 'journal' | 'paths'>,
  pool: KernelPool,
  run: RunOptions,
): Promise<readonly TensorLeaves[]> {
  const { directory } = source;
  const before = new Map(journal.source.map((state) => [state.name, state]));
  const changed = states.filter(({ name, bytes, sha256 }) => {
    const old = before.get(name);
    return old?.bytes !== bytes || old.sha256 !== sha256;
  });
  if (changed.length > 0) {
    throw sourceChanged(
      directory,
      'file',
      changed.map(({ name }) => name),
    );
  }
  const path = join(paths.work, 'source.json');
  const known = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as TensorLeaves[]) : undefined;
  if (known !== undefined && states.every(({ name, modified }) => before.get(name)?.modified === modified))
    return known;
  const hashes = await hashAll(source, pool, run);
  if (known !== undefined) {
    const others = hashes.filter(({ leaves }, i) => leaves.join() !== known[i]?.leaves.join());
    if (others.length > 0) {
      throw sourceChanged(
        directory,
        'tensor',
        others.map(({ name }) => name),
      );
    }
    journal.touch(states);
  }
  await replaceFile(path, JSON.stringify(hashes));
  return hashes;
}

async function hashAll(source: Source, pool: KernelPool, { signal, progress }: RunOptions): Promise<TensorLeaves[]> {
  const tensors = [...source.checkpoint.tensors.values()];
  const bytesTotal = tensors.reduce((sum, { byteLength }) => sum + byteLength, 0);
  let bytesDone = 0;
  const jobs = tensors.map((tensor) => ({
    from: locationOf(tensor),
    byteLength: tensor.byteLength,
    leafBytes: LEAF_BYTES,
  }));
  const leaves = await runLeaves(pool, jobs, {
    onBytes: (bytes) => {
      bytesDone += bytes;
      progress?.({ phase: 'hash', done: bytesDone, total: bytesTotal, unit: 'byte', bytesDone, bytesTotal });
    },
    ...(signal && { signal }),
  });
  await pool.closeFiles();
  return tensors.map(({ name }, i) => ({ name, leafBytes: LEAF_BYTES, leaves: leaves[i]! }));
}
