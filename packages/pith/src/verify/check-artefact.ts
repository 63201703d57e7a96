// Holds the files of a directory against hashes: used to read back what a run has written, and to verify an artefact
// against its receipt later.
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openGguf, type CheckpointTensor } from '@pith/checkpoint';
import { openCheckpoint } from '@pith/checkpoint/node';
import { isPithError, type RunOptions } from '@pith/tensor-core';
import { fileBytes, type FileBytes, type KernelPool } from '@pith/tensor-core/node';
import type { FileHash, TensorHash } from '../receipt/types.ts';
import { hashFile } from '../run/hash-file.ts';
import { treeHash } from '../run/hash-tree.ts';
import { runLeaves } from '../run/leaves.ts';
import { listFiles } from '../run/list-files.ts';
import { locationOf } from '../source/open-source.ts';

/** What is wrong with an artefact. */
export interface ArtefactProblem {
  /** `damaged`: other bytes; `missing`; `extra`: not in the receipt; `unreadable`: the checkpoint does not open. */
  readonly kind: 'damaged' | 'missing' | 'extra' | 'unreadable';
  /** What it is about: a tensor, a file, or the whole artefact. */
  readonly of: 'tensor' | 'file' | 'artefact';
  /** Name of the tensor or file; the directory for the whole artefact. */
  readonly name: string;
  /** What is wrong, in words. */
  readonly message: string;
}

/** What an artefact should hold. */
export interface ExpectedArtefact {
  readonly files: readonly FileHash[];
  readonly tensors: readonly TensorHash[];
}

/** How {@link checkArtefact} runs. */
export interface CheckOptions extends RunOptions {
  readonly pool: KernelPool;
  /** Files that may be there beside those expected: the receipt. Any, where the artefact is a file among others. */
  readonly allowed: readonly string[] | 'any';
}

/** Every difference between a directory and what it should hold; empty when there is none. */
export async function checkArtefact(
  directory: string,
  expected: ExpectedArtefact,
  options: CheckOptions,
): Promise<ArtefactProblem[]> {
  const problems = await checkFiles(directory, expected, options.allowed);
  // Formats of other runtimes are hashed as whole files.
  if (expected.tensors.length === 0) return problems;
  let opened: OpenTensors;
  try {
    opened = await openTensors(directory, expected.files);
  } catch (error) {
    if (!isPithError(error)) throw error;
    return [...problems, { kind: 'unreadable', of: 'artefact', name: directory, message: error.message }];
  }
  try {
    return [...problems, ...(await checkTensors(opened.tensors, expected.tensors, options))];
  } finally {
    await opened.close();
  }
}

interface OpenTensors {
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  readonly close: () => Promise<void>;
}

/** The tensors of an artefact: of its GGUF files, or of a checkpoint. */
async function openTensors(directory: string, files: readonly FileHash[]): Promise<OpenTensors> {
  if (!files.some(({ name }) => /\.gguf$/i.test(name))) {
    const { tensors, store } = await openCheckpoint(directory);
    return { tensors, close: () => store.close() };
  }
  const tensors = new Map<string, CheckpointTensor>();
  const sources: FileBytes[] = [];
  for (const { name } of files) {
    const source = await fileBytes(join(directory, name));
    sources.push(source);
    for (const tensor of (await openGguf(source, name)).tensors.values()) {
      tensors.set(tensor.name, { ...tensor, dtype: tensor.type, file: name, source: tensor.source });
    }
  }
  return {
    tensors,
    close: async () => {
      for (const source of sources) await source.close();
    },
  };
}

async function checkFiles(
  directory: string,
  { files }: ExpectedArtefact,
  allowed: readonly string[] | 'any',
): Promise<ArtefactProblem[]> {
  const problems: ArtefactProblem[] = [];
  const present = new Set(allowed === 'any' ? await presentOf(directory, files) : await listFiles(directory));
  for (const file of files) {
    const { name } = file;
    if (!present.delete(name)) {
      problems.push({ kind: 'missing', of: 'file', name, message: `file ${name} is missing` });
      continue;
    }
    const path = join(directory, name);
    const found = await stat(path);
    if (!found.isFile()) {
      problems.push({ kind: 'damaged', of: 'file', name, message: `file ${name} is not a regular file` });
    } else if (found.size !== file.bytes) {
      const message = `file ${name} has ${found.size} bytes, it was written with ${file.bytes}`;
      problems.push({ kind: 'damaged', of: 'file', name, message });
    } else if ((await hashFile(path, file.hashedBytes)) !== file.sha256) {
      const what = file.hashedBytes === file.bytes ? 'other content than' : 'another header than';
      problems.push({ kind: 'damaged', of: 'file', name, message: `file ${name} has ${what} it was written with` });
    }
  }
  if (allowed === 'any') return problems;
  for (const name of allowed) present.delete(name);
  return [...problems, ...[...present].map(extraFile)];
}

/** A file that the receipt knows nothing of. */
export function extraFile(name: string): ArtefactProblem {
  return { kind: 'extra', of: 'file', name, message: `file ${name} is not part of the artefact` };
}

/** Those of the files that are there. */
async function presentOf(directory: string, files: readonly FileHash[]): Promise<string[]> {
  const found = await Promise.all(files.map(({ name }) => stat(join(directory, name)).catch(() => undefined)));
  return files.flatMap(({ name }, i) => (found[i] === undefined ? [] : [name]));
}

async function checkTensors(
  tensors: ReadonlyMap<string, CheckpointTensor>,
  expected: readonly TensorHash[],
  options: CheckOptions,
): Promise<ArtefactProblem[]> {
  const problems: ArtefactProblem[] = [];
  const known = new Set(expected.map(({ name }) => name));
  for (const name of tensors.keys()) {
    if (known.has(name)) continue;
    problems.push({ kind: 'extra', of: 'tensor', name, message: `tensor ${name} is not part of the artefact` });
  }
  const readable: TensorHash[] = [];
  for (const tensor of expected) {
    const { name, dtype, shape, bytes, file } = tensor;
    const found = tensors.get(name);
    if (found === undefined) {
      problems.push({ kind: 'missing', of: 'tensor', name, message: `tensor ${name} is missing` });
    } else if (found.dtype !== dtype || found.shape.join() !== shape.join() || found.byteLength !== bytes) {
      const message = `tensor ${name} is ${found.dtype} [${found.shape.join(', ')}], it was written as ${dtype} [${shape.join(', ')}]`;
      problems.push({ kind: 'damaged', of: 'tensor', name, message });
    } else if (found.file !== file) {
      problems.push({
        kind: 'damaged',
        of: 'tensor',
        name,
        message: `tensor ${name} lies in ${found.file}, it was written to ${file}`,
      });
    } else {
      readable.push(tensor);
    }
  }
  const bytesTotal = readable.reduce((sum, { bytes }) => sum + bytes, 0);
  let bytesDone = 0;
  const jobs = readable.map(({ name, bytes, leafBytes }) => ({
    from: locationOf(tensors.get(name)!),
    byteLength: bytes,
    leafBytes,
  }));
  const digests = await runLeaves(options.pool, jobs, {
    onBytes: (bytes) => {
      bytesDone += bytes;
      options.progress?.({ phase: 'verify', done: bytesDone, total: bytesTotal, unit: 'byte', bytesDone, bytesTotal });
    },
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
  for (const [index, { name, sha256: wanted }] of readable.entries()) {
    if (treeHash(digests[index]!) === wanted) continue;
    problems.push({
      kind: 'damaged',
      of: 'tensor',
      name,
      message: `tensor ${name} has other values than were written`,
    });
  }
  return problems;
}
