// The tensors of GGUF files: quantized from the checkpoint straight into their places by the threads of the pool, or copied
// where the source has them in the same type.
import type { CheckpointTensor, PlacedTensor } from '@pith/checkpoint';
import type { GgufTensorSource } from '@pith/model';
import { quantizeGgmlInto, type GgmlWritableType } from '@pith/quant';
import {
  denseWeight,
  fromF32,
  memoryBytes,
  throwIfStopped,
  type RunOptions,
  type WeightTensor,
} from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';
import type { WeightError } from '../../receipt/types.ts';
import { LEAF_BYTES, runLeaves } from '../../run/leaves.ts';
import { derivedWeight, rowOrderOf } from './derived-weight.ts';

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
}

/** Writes every tensor; returns how weights differ from those of the model. */
export async function writeTensors(
  jobs: readonly TensorJob[],
  { pool, weights, signal, progress }: WriteTensorsOptions,
): Promise<Map<string, WeightError>> {
  const errors = new Map<string, WeightError>();
  const bytesTotal = jobs.reduce((sum, { place }) => sum + place.byteLength, 0);
  let bytesDone = 0;
  for (const job of jobs) {
    throwIfStopped(signal, 'export');
    const { place } = job;
    progress?.({
      phase: 'write',
      item: place.name,
      done: bytesDone,
      total: bytesTotal,
      unit: 'byte',
      bytesDone,
      bytesTotal,
    });
    if (job.copy?.source.file !== undefined) {
      const leaf = { from: job.copy.source.file, byteLength: place.byteLength, leafBytes: LEAF_BYTES };
      await runLeaves(pool, [{ ...leaf, to: { path: job.path, offset: place.offset } }], signal ? { signal } : {});
    } else {
      await writeParts(job, weights, errors, pool, signal);
    }
    bytesDone += place.byteLength;
  }
  progress?.({ phase: 'write', done: bytesTotal, total: bytesTotal, unit: 'byte', bytesDone, bytesTotal });
  return errors;
}

async function writeParts(
  { source, place, path, importance }: TensorJob,
  weights: ReadonlyMap<string, WeightTensor>,
  errors: Map<string, WeightError>,
  pool: KernelPool,
  signal: AbortSignal | undefined,
): Promise<void> {
  const type = place.type as GgmlWritableType;
  const options = { host: pool, ...(signal && { signal }) };
  if (source.values !== undefined) {
    const { values } = source;
    const weight = denseWeight({
      name: source.name,
      dtype: 'f32',
      shape: [values.length],
      source: memoryBytes(fromF32('f32', values)),
    });
    await quantizeGgmlInto({ weight, type }, { kind: 'file', path, offset: place.offset }, options);
    return;
  }
  const columns = place.shape.at(-1)!;
  const each = importance === undefined ? 0 : importance.length / columns;
  let offset = place.offset;
  for (const [index, part] of source.parts.entries()) {
    const weight = derivedWeight(weights.get(part.name)!, part);
    const rows = weight.shape.length < 2 ? 1 : weight.shape.slice(0, -1).reduce((a, b) => a * b, 1);
    const byteLength = place.byteLength / source.parts.length;
    const rowOrder = weight.shape.length > 1 ? rowOrderOf(part, rows) : undefined;
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
      { kind: 'file', path, offset },
      options,
    );
    const { mse, signalToNoise, maxAbsError } = result.error;
    if (maxAbsError > 0) {
      errors.set(part.name, {
        mse,
        snrDb: Number.isFinite(signalToNoise) ? signalToNoise : null,
        maxError: maxAbsError,
      });
    }
    offset += byteLength;
  }
}
