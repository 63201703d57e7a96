// Weights between two stages: a directory of groups (a block, the rest), each a safetensors file that holds the parts of
// every representation as they are, and a JSON file that says how they fit together and what its maker recorded. The JSON
// file appears last, by rename, and carries the hash of the other: a group is there as a whole or not at all.
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { mkdir, open, readFile, rename, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { asConvertible, planOutput, type OutputTensor, type StoredDType, type StoredTensor } from '@pith/checkpoint';
import { openSafetensorsFile, outputError, type LocalSafetensors } from '@pith/checkpoint/node';
import {
  denseWeight,
  elementCount,
  factoredWeight,
  isPithError,
  PithError,
  quantizedWeight,
  type ActivationQuantization,
  type CodeBlock,
  type DenseWeight,
  type StoredScheme,
  type QuantizedWeight,
  type WeightTensor,
} from '@pith/tensor-core';

/** How a weight lies in a group's file; tensors are named after `key`. */
type Stored =
  | { readonly kind: 'dense'; readonly key: string; readonly name: string }
  | {
      readonly kind: 'quantized';
      readonly key: string;
      readonly name: string;
      readonly shape: readonly number[];
      readonly scheme: StoredScheme;
      readonly activations?: ActivationQuantization;
      readonly globalScale?: number;
      readonly zeroPoints: boolean;
      readonly biases: boolean;
      readonly groupIndex: boolean;
    }
  | {
      readonly kind: 'factored';
      readonly key: string;
      readonly name: string;
      readonly left: Stored;
      readonly right: Stored;
    };

interface GroupFile {
  readonly version: 1;
  /** SHA-256 of the safetensors file. */
  readonly sha256: string;
  readonly weights: readonly Stored[];
  /** What the maker wants back beside the weights. JSON only. */
  readonly facts: unknown;
}

/** A group as it was stored. */
export interface StoredGroup {
  /** By checkpoint name; lazy. */
  readonly weights: ReadonlyMap<string, WeightTensor>;
  /** What was stored with them. */
  readonly facts: unknown;
}

/** Groups of weights in a directory. */
export interface WeightStore {
  /** Stores a group, replacing what a killed run left of it. */
  write(group: string, weights: Iterable<WeightTensor>, facts: unknown): Promise<StoredGroup>;
  /** A group that was stored, or null where it is absent, torn or damaged. */
  read(group: string): Promise<StoredGroup | null>;
  /** Closes the files. */
  close(): Promise<void>;
}

/** Bytes that are copied or restored at a time. */
const CHUNK_BYTES = 8 * 1024 * 1024;

/** Opens a directory of groups, creating it where needed. */
export async function openWeightStore(directory: string): Promise<WeightStore> {
  await guarded(directory, () => mkdir(directory, { recursive: true }));
  const files: LocalSafetensors[] = [];
  const load = async (group: string, { weights, facts }: GroupFile): Promise<StoredGroup> => {
    const file = await openSafetensorsFile(join(directory, `${group}.safetensors`));
    files.push(file);
    const restoredWeights = new Map<string, WeightTensor>();
    for (const stored of weights) restoredWeights.set(stored.name, await restored(stored, file));
    return { weights: restoredWeights, facts };
  };
  return {
    write: async (group, weights, facts) => {
      const path = join(directory, `${group}.safetensors`);
      const parts: Part[] = [];
      const stored: Stored[] = [];
      for (const weight of weights) stored.push(await describe(weight, weight.name, parts));
      await guarded(path, () => writeParts(path, parts));
      const content: GroupFile = { version: 1, sha256: await fileHash(path), weights: stored, facts };
      await guarded(path, () => replaceFile(join(directory, `${group}.json`), JSON.stringify(content)));
      return load(group, content);
    },
    read: async (group) => {
      const path = join(directory, `${group}.safetensors`);
      if (!existsSync(path) || !existsSync(join(directory, `${group}.json`))) return null;
      const content = parse(await readFile(join(directory, `${group}.json`), 'utf8'));
      if (content === undefined || (await fileHash(path)) !== content.sha256) return null;
      return load(group, content);
    },
    close: async () => {
      for (const file of files.splice(0)) await file.close();
    },
  };
}

/** Our own file: only a torn one is expected, which is no JSON. */
function parse(text: string): GroupFile | undefined {
  try {
    const value = JSON.parse(text) as GroupFile;
    return value.version === 1 ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A tensor of the file and where its bytes come from, in order. */
interface Part extends OutputTensor {
  chunks(): AsyncIterable<Uint8Array>;
}

async function describe(weight: WeightTensor, key: string, parts: Part[]): Promise<Stored> {
  const { name } = weight;
  switch (weight.kind) {
    case 'dense':
      parts.push({
        name: key,
        dtype: weight.dtype as StoredDType,
        shape: weight.shape,
        chunks: () => inRows(weight, (start, end) => weight.bytes(start, end)),
      });
      return { kind: 'dense', key, name };
    case 'quantized':
      return describeQuantized(weight, key, parts);
    case 'sparse':
    case 'packed':
      throw new PithError(
        'REPRESENTATION_UNSUPPORTED',
        `store ${name}: ${weight.kind} weights are made when the artefact is written`,
        {
          kind: 'internal',
          details: { tensor: name },
        },
      );
    case 'factored': {
      const left = await describe(weight.left, `${key}#left`, parts);
      return { kind: 'factored', key, name, left, right: await describe(weight.right, `${key}#right`, parts) };
    }
  }
}

async function describeQuantized(weight: QuantizedWeight, key: string, parts: Part[]): Promise<Stored> {
  const { name, shape, scheme, groupIndex, globalScale, activations } = weight;
  const rows = shape[0] ?? 1;
  const columns = rows === 0 ? 0 : elementCount(shape, name) / rows;
  // Scales and zero points are small beside the codes: one read gives their number.
  const perTensor = scheme.granularity.kind === 'tensor';
  const scales: Uint8Array[] = [];
  const zeros: Uint8Array[] = [];
  const biases: Uint8Array[] = [];
  const add = (block: CodeBlock, first: boolean): void => {
    if (perTensor && !first) return;
    scales.push(bytesOf(block.scales));
    if (block.zeroPoints) zeros.push(bytesOf(block.zeroPoints));
    if (block.biases) biases.push(bytesOf(block.biases));
  };
  for await (const [block, first] of blocks(weight, columns)) add(block, first);
  const length = (list: readonly Uint8Array[]): number => list.reduce((sum, bytes) => sum + bytes.byteLength, 0);
  parts.push({
    name: `${key}#codes`,
    dtype: scheme.kind === 'int' ? 'i8' : 'u8',
    shape: [rows, columns],
    chunks: async function* () {
      for await (const [block] of blocks(weight, columns)) yield bytesOf(block.codes);
    },
  });
  parts.push({ name: `${key}#scales`, dtype: 'f32', shape: [length(scales) / 4], chunks: () => each(scales) });
  if (biases.length > 0) {
    parts.push({ name: `${key}#biases`, dtype: 'f32', shape: [length(biases) / 4], chunks: () => each(biases) });
  }
  if (zeros.length > 0)
    parts.push({ name: `${key}#zeros`, dtype: 'i8', shape: [length(zeros)], chunks: () => each(zeros) });
  if (groupIndex) {
    const bytes = bytesOf(groupIndex);
    parts.push({ name: `${key}#groups`, dtype: 'i32', shape: [groupIndex.length], chunks: () => each([bytes]) });
  }
  const global = globalScale === undefined ? {} : { globalScale };
  const facts = {
    ...global,
    zeroPoints: zeros.length > 0,
    biases: biases.length > 0,
    groupIndex: groupIndex !== undefined,
  };
  return { kind: 'quantized', key, name, shape: [...shape], scheme, ...(activations && { activations }), ...facts };
}

/** Blocks of rows of about {@link CHUNK_BYTES}, in order; true with the first. */
async function* blocks(weight: QuantizedWeight, columns: number): AsyncGenerator<readonly [CodeBlock, boolean]> {
  const rows = weight.shape[0] ?? 1;
  const step = Math.max(1, Math.floor(CHUNK_BYTES / Math.max(1, columns)));
  for (let start = 0; start < rows; start += step)
    yield [await weight.block(start, Math.min(rows, start + step)), start === 0];
}

async function* inRows(
  weight: DenseWeight,
  read: (start: number, end: number) => Promise<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const rows = weight.shape[0] ?? 1;
  const step = Math.max(1, Math.floor((CHUNK_BYTES * Math.max(1, rows)) / Math.max(1, weight.byteLength)));
  for (let start = 0; start < rows; start += step) yield await read(start, Math.min(rows, start + step));
}

async function* each(list: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* list;
}

function bytesOf(array: Float32Array | Int8Array | Uint8Array | Int32Array): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** A weight over the parts of a file. */
async function restored(stored: Stored, file: LocalSafetensors): Promise<WeightTensor> {
  const tensor = (suffix: string) => file.tensors.get(stored.key + suffix)!;
  switch (stored.kind) {
    case 'dense': {
      const { dtype, shape, source } = tensor('');
      return denseWeight({ name: stored.name, dtype: asConvertible(dtype, stored.name), shape, source });
    }
    case 'factored': {
      const left = (await restored(stored.left, file)) as DenseWeight | QuantizedWeight;
      const right = (await restored(stored.right, file)) as DenseWeight | QuantizedWeight;
      return factoredWeight({ name: stored.name, left, right });
    }
    case 'quantized':
      return restoredQuantized(stored, tensor);
  }
}

async function restoredQuantized(
  stored: Extract<Stored, { kind: 'quantized' }>,
  tensor: (suffix: string) => StoredTensor,
): Promise<QuantizedWeight> {
  const { name, shape, scheme, activations, globalScale } = stored;
  const codes = tensor('#codes');
  const [rows, columns] = codes.shape as readonly [number, number];
  // Scales of all rows lie one after the other; one serves the whole of granularity `tensor`.
  const part = async (source: StoredTensor, start: number, end: number): Promise<Uint8Array> => {
    if (scheme.granularity.kind === 'tensor') return source.source.read(0, source.byteLength);
    const rowBytes = source.byteLength / Math.max(1, rows);
    return source.source.read(start * rowBytes, (end - start) * rowBytes);
  };
  const read = async (start: number, end: number): Promise<CodeBlock> => {
    const bytes = await codes.source.read(start * columns, (end - start) * columns);
    const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const zeros = stored.zeroPoints ? await part(tensor('#zeros'), start, end) : undefined;
    const biases = stored.biases ? await part(tensor('#biases'), start, end) : undefined;
    return {
      codes: scheme.kind === 'int' ? signed : bytes,
      scales: floats(await part(tensor('#scales'), start, end)),
      ...(biases && { biases: floats(biases) }),
      ...(zeros && { zeroPoints: new Int8Array(zeros.buffer, zeros.byteOffset, zeros.byteLength) }),
    };
  };
  let groupIndex: Int32Array | undefined;
  if (stored.groupIndex) {
    const bytes = (await tensor('#groups').source.read(0, 4 * columns)).slice();
    groupIndex = new Int32Array(bytes.buffer, 0, columns);
  }
  const facts = {
    ...(activations && { activations }),
    ...(groupIndex && { groupIndex }),
    ...(globalScale !== undefined && { globalScale }),
  };
  const made = { name, shape, scheme, read, ...facts };
  return quantizedWeight(made);
}

function floats(bytes: Uint8Array): Float32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Float32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4);
}

async function writeParts(path: string, parts: readonly Part[]): Promise<void> {
  const layout = planOutput(parts);
  const [file] = layout.files;
  const handle = await open(`${path}.new`, 'w');
  try {
    await handle.write(file!.head, 0, file!.head.length, 0);
    for (const part of parts) {
      let at = layout.places.get(part.name)!.offset;
      for await (const bytes of part.chunks()) at += await writeAll(handle, bytes, at);
    }
    await handle.truncate(file!.byteLength);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${path}.new`, path);
}

/** A small file, whole or not there at all. */
export async function replaceFile(path: string, text: string): Promise<void> {
  const handle = await open(`${path}.new`, 'w');
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(`${path}.new`, path);
}

/** One call may take fewer bytes than it was given. */
async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<number> {
  for (let done = 0; done < bytes.byteLength;) {
    done += (await handle.write(bytes, done, bytes.byteLength - done, position + done)).bytesWritten;
  }
  return bytes.byteLength;
}

async function fileHash(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

async function guarded<T>(path: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    throw isPithError(error) ? error : outputError(error, 'store stage', dirname(path));
  }
}
