// The tensors of GGUF files: quantized from the checkpoint straight into their places by the threads of the pool, or copied
// where the source has them in the same type, or carried over where it has their codes. What is read and written is hashed on the way.
import { open } from 'node:fs/promises';
import type { CheckpointTensor, PlacedTensor } from '@pith/checkpoint';
import type { GgufTensorSource } from '@pith/model';
import { quantizeGgmlInto, type ChunkHash, type GgmlWritableType } from '@pith/quant';
import {
  denseWeight,
  fromF32,
  mapLimited,
  memoryBytes,
  throwIfStopped,
  type RunOptions,
  type WeightTensor,
} from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';
import type { Intervention, WeightError } from '../../receipt/types.ts';
import { backgroundSync } from '../../run/background-sync.ts';
import { chunkLeaves } from '../../run/chunk-leaves.ts';
import type { TensorLeaves } from '../../run/journal.ts';
import { LEAF_BYTES, runLeaves } from '../../run/leaves.ts';
import { carryWeight, isCarried } from './carry-weight.ts';
import { derivedWeight, rowOrderOf } from './derived-weight.ts';

/** Tensors in hand at a time: while the last chunks of one are made, the next begins. */
const TENSORS_IN_HAND = 2;

/** A tensor, where it goes, and what it is made of. */
export interface TensorJob {
  readonly source: GgufTensorSource;
  readonly place: PlacedTensor;
  /** Absolute path of the file. */
  readonly path: string;
  /** The same tensor of the source, where it is copied. */
  readonly copy?: CheckpointTensor;
  /** f32 for each column, or for each expert and column. */
  readonly importance?: Float32Array;
}

/** How {@link writeTensors} runs. */
export interface WriteTensorsOptions extends RunOptions {
  readonly pool: KernelPool;
  readonly weights: ReadonlyMap<string, WeightTensor>;
  /** Tensors of the source as they are stored. */
  readonly stored: ReadonlyMap<string, CheckpointTensor>;
}

/** What {@link writeTensors} has done. */
export interface WrittenTensors {
  /** How weights differ from those of the model, by their names there. */
  readonly errors: ReadonlyMap<string, WeightError>;
  /** Leaves of each job's tensor, as it was written; undefined where chunks are no leaves. */
  readonly wrote: readonly (TensorLeaves | undefined)[];
  /** Leaves of tensors of the source that were read whole, by their names there. */
  readonly read: ReadonlyMap<string, TensorLeaves>;
  /** Scales of carried codes that were rounded. */
  readonly interventions: readonly Intervention[];
}

/** Writes every tensor. */
export async function writeTensors(jobs: readonly TensorJob[], options: WriteTensorsOptions): Promise<WrittenTensors> {
  const { pool, signal, progress } = options;
  const errors = new Map<string, WeightError>();
  const read = new Map<string, TensorLeaves>();
  const interventions: Intervention[] = [];
  const bytesTotal = jobs.reduce((sum, { place }) => sum + place.byteLength, 0);
  let bytesDone = 0;
  const paths = [...new Set(jobs.map(({ path }) => path))];
  const sync = backgroundSync(async () => {
    for (const path of paths) await syncFile(path);
  });
  const wrote = await mapLimited(jobs, TENSORS_IN_HAND, async (job) => {
    throwIfStopped(signal, 'export');
    const { place, copy } = job;
    const counts = { done: bytesDone, total: bytesTotal, unit: 'byte' as const, bytesDone, bytesTotal };
    progress?.({ phase: 'write', item: place.name, ...counts });
    let leaves: TensorLeaves | undefined;
    if (copy?.source.file !== undefined) {
      const leaf = { from: copy.source.file, byteLength: place.byteLength, leafBytes: LEAF_BYTES };
      const to = { path: job.path, offset: place.offset };
      const [copied = []] = await runLeaves(pool, [{ ...leaf, to }], signal ? { signal } : {});
      leaves = { name: place.name, leafBytes: LEAF_BYTES, leaves: copied };
      read.set(copy.name, { ...leaves, name: copy.name });
    } else {
      leaves = await writeParts(job, options, { errors, read, interventions });
    }
    bytesDone += place.byteLength;
    sync.wrote(place.byteLength);
    return leaves;
  });
  await sync.settled();
  progress?.({ phase: 'write', done: bytesTotal, total: bytesTotal, unit: 'byte', bytesDone, bytesTotal });
  interventions.sort((a, b) => (a.where < b.where ? -1 : 1));
  return { errors, wrote, read, interventions };
}

/** What parts add to. */
interface Found {
  readonly errors: Map<string, WeightError>;
  readonly read: Map<string, TensorLeaves>;
  readonly interventions: Intervention[];
}

/** Writes a tensor; returns the leaves of what was written, where chunks are leaves. */
async function writeParts(
  { source, place, path, importance }: TensorJob,
  { weights, stored, pool, signal }: WriteTensorsOptions,
  { errors, read, interventions }: Found,
): Promise<TensorLeaves | undefined> {
  const type = place.type as GgmlWritableType;
  const options = { host: pool, hash: true, ...(signal && { signal }) };
  if (source.values !== undefined) {
    const { values } = source;
    const weight = denseWeight({
      name: source.name,
      dtype: 'f32',
      shape: [values.length],
      source: memoryBytes(fromF32('f32', values)),
    });
    const to = { kind: 'file', path, offset: place.offset } as const;
    const { hashes } = await quantizeGgmlInto({ weight, type }, to, options);
    return chunkLeaves(place.name, place.byteLength, ofKind(hashes, 'codes'));
  }
  const columns = place.shape.at(-1)!;
  const each = importance === undefined ? 0 : importance.length / columns;
  const byteLength = place.byteLength / source.parts.length;
  const written: ChunkHash[] = [];
  for (const [index, part] of source.parts.entries()) {
    const weight = derivedWeight(weights.get(part.name)!, part);
    const rows = weight.shape.length < 2 ? 1 : weight.shape.slice(0, -1).reduce((a, b) => a * b, 1);
    const rowOrder = weight.shape.length > 1 ? rowOrderOf(part, rows) : undefined;
    if (isCarried(weight, part, type)) {
      const file = await open(path, 'r+');
      try {
        const job = { weight, type, rowOrder, file, offset: place.offset + index * byteLength };
        const { error, interventions: own } = await carryWeight(job, signal);
        if (error) keepLarger(errors, part.name, error);
        interventions.push(...own);
      } finally {
        await file.close();
      }
      continue;
    }
    // Experts of a stack have importances of their own.
    const own = each === source.parts.length ? index * columns : 0;
    const result = await quantizeGgmlInto(
      {
        weight,
        type,
        name: part.name,
        ...(importance && { importance: importance.subarray(own, own + columns) }),
        ...(rowOrder && { rowOrder }),
      },
      { kind: 'file', path, offset: place.offset + index * byteLength },
      options,
    );
    const { mse, signalToNoise, maxAbsError } = result.error;
    if (maxAbsError > 0) {
      const snrDb = Number.isFinite(signalToNoise) ? signalToNoise : null;
      keepLarger(errors, part.name, { mse, snrDb, maxError: maxAbsError });
    }
    for (const chunk of ofKind(result.hashes, 'codes')) {
      written.push({ ...chunk, offset: chunk.offset + index * byteLength });
    }
    const tensor = stored.get(part.name);
    if (tensor !== undefined && isWhole(weight, tensor)) {
      const leaves = chunkLeaves(tensor.name, tensor.byteLength, ofKind(result.hashes, 'source'));
      if (leaves) read.set(tensor.name, leaves);
    }
  }
  return chunkLeaves(place.name, place.byteLength, written);
}

/** Several matrices may be made of one weight, in any order: the largest error is told. */
function keepLarger(errors: Map<string, WeightError>, name: string, error: WeightError): void {
  if (error.mse >= (errors.get(name)?.mse ?? 0)) errors.set(name, error);
}

function ofKind(hashes: readonly ChunkHash[], kind: ChunkHash['of']): ChunkHash[] {
  return hashes.filter(({ of }) => of === kind);
}

/** True where the weight's bytes are the tensor's, in the same place. */
function isWhole(weight: WeightTensor, { source, byteLength }: CheckpointTensor): boolean {
  if (weight.kind !== 'dense' || weight.byteLength !== byteLength) return false;
  const { file } = source;
  return file !== undefined && weight.file?.path === file.path && weight.file.offset === file.offset;
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
}
