// Carries out the units of a plan: weights are rounded file to file by the pool's threads, other tensors copied. Every
// byte that is read or written is hashed on the way, and each finished unit is journalled.
import type { FormatContext, StoredTensor, WeightFormat } from '@pith/checkpoint';
import type { CheckpointOutput } from '@pith/checkpoint/node';
import { storedDenseWeight } from '@pith/checkpoint';
import {
  quantizeInMemory,
  quantizeInto,
  sharedGlobalScale,
  type ChunkHash,
  type PieceDestination,
  type PieceName,
  type WeightResult,
} from '@pith/quant';
import { mapLimited, PithError, throwIfStopped, type RunOptions } from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';
import { CHUNK_BYTES, WEIGHTS_IN_HAND } from '../plan/estimate.ts';
import type { CopyUnit, EncodeUnit, QuantizeUnit, Unit, UnitOutput } from '../plan/units.ts';
import { locationOf } from '../source/open-source.ts';
import type { Journal, JournalUnit, TensorLeaves } from './journal.ts';
import { LEAF_BYTES, runLeaves } from './leaves.ts';
import { backgroundSync } from './background-sync.ts';
import { chunkLeaves } from './chunk-leaves.ts';
import { LeafHasher } from './leaf-hasher.ts';
import { sha256 } from './hash-tree.ts';

/** What {@link runUnits} works with. */
export interface RunUnitsOptions extends RunOptions {
  readonly pool: KernelPool;
  readonly output: CheckpointOutput;
  readonly journal: Journal;
  /** Units that need not be done again, by id. */
  readonly finished: ReadonlyMap<string, JournalUnit>;
  /** How quantized weights are stored. */
  readonly format: WeightFormat;
  readonly context: FormatContext;
}

/** Does all units that are not finished; returns every unit's journal entry in the order of the plan. */
export async function runUnits(units: readonly Unit[], options: RunUnitsOptions): Promise<JournalUnit[]> {
  const { pool, output, journal, finished, format, context, signal } = options;
  const bytesTotal = units.reduce((sum, unit) => sum + unit.source.byteLength, 0);
  const progress = progressOf(units, finished, bytesTotal, options);
  const sync = backgroundSync(() => output.sync());
  const globalScale = globalScales(units, pool, signal);
  const results = await mapLimited(units, WEIGHTS_IN_HAND, async (unit) => {
    const earlier = finished.get(unit.source.name);
    if (earlier !== undefined) return earlier;
    throwIfStopped(signal, 'quantize');
    const report = progress.begin(unit);
    const done =
      unit.kind === 'copy'
        ? await copyUnit(unit, pool, output, report, signal)
        : unit.kind === 'quantize'
          ? await quantizeUnit(unit, pool, output, report, await globalScale(unit), signal)
          : await encodeUnit(unit, {
              format,
              context,
              pool,
              output,
              report,
              globalScale: await globalScale(unit),
              signal,
            });
    journal.append(done);
    progress.end(unit);
    sync.wrote(unit.outputs.reduce((sum, { name }) => sum + output.location(name).byteLength, 0));
    return { kind: 'unit' as const, ...done };
  });
  await sync.settled();
  return results;
}

/** The global scale of a unit's weight, where it has one: measured over all weights that share it, once. */
function globalScales(units: readonly Unit[], pool: KernelPool, signal: AbortSignal | undefined) {
  const byName = new Map(units.flatMap((unit) => (unit.kind === 'copy' ? [] : [[unit.source.name, unit]])));
  const known = new Map<string, Promise<number>>();
  return (unit: QuantizeUnit | EncodeUnit): Promise<number> | undefined => {
    const names = unit.weight.sharesGlobalScale;
    if (names === undefined) return undefined;
    const key = names.join();
    const found =
      known.get(key) ??
      sharedGlobalScale(
        pool,
        names.map((name) => {
          const { weight, source } = byName.get(name)!;
          return { plan: weight, weight: storedDenseWeight(source) };
        }),
        signal === undefined ? {} : { signal },
      );
    known.set(key, found);
    return found;
  };
}

type Done = Omit<JournalUnit, 'kind'>;

async function copyUnit(
  unit: CopyUnit,
  pool: KernelPool,
  output: CheckpointOutput,
  report: (bytes: number) => void,
  signal: AbortSignal | undefined,
): Promise<Done> {
  const { source } = unit;
  const [target] = unit.outputs;
  const job = {
    from: locationOf(source),
    to: output.location(target!.name),
    byteLength: source.byteLength,
    leafBytes: LEAF_BYTES,
  };
  const [leaves = []] = await runLeaves(pool, [job], {
    onBytes: report,
    ...(signal === undefined ? {} : { signal }),
  });
  return {
    unit: source.name,
    read: { name: source.name, leafBytes: LEAF_BYTES, leaves },
    wrote: [{ name: target!.name, leafBytes: LEAF_BYTES, leaves }],
  };
}

async function quantizeUnit(
  unit: QuantizeUnit,
  pool: KernelPool,
  output: CheckpointOutput,
  report: (bytes: number) => void,
  globalScale: number | undefined,
  signal: AbortSignal | undefined,
): Promise<Done> {
  const { source, weight } = unit;
  const destinations: Partial<Record<PieceName, PieceDestination>> = {};
  const wrote: TensorLeaves[] = [];
  for (const { name, role } of unit.outputs) {
    if (isPiece(role)) destinations[role] = { kind: 'file', ...output.location(name) };
  }
  let reported = 0;
  const result = await quantizeInto(weight, storedDenseWeight(source), destinations, {
    pool,
    hash: true,
    chunkBytes: CHUNK_BYTES,
    ...(globalScale === undefined ? {} : { globalScale }),
    progress: ({ bytesDone = 0 }) => {
      report(bytesDone - reported);
      reported = bytesDone;
    },
    ...(signal === undefined ? {} : { signal }),
  });
  for (const { name, role } of unit.outputs) {
    if (role === 'shape') wrote.push(await writeShape(name, weight.shape, output));
    else if (isPiece(role)) wrote.push(leavesOf(name, output.location(name).byteLength, role, result.hashes));
  }
  return {
    unit: source.name,
    read: leavesOf(source.name, source.byteLength, 'source', result.hashes),
    wrote,
    error: errorOf(result),
  };
}

interface EncodeOptions extends Pick<RunUnitsOptions, 'pool' | 'output' | 'format' | 'context'> {
  readonly report: (bytes: number) => void;
  readonly globalScale: number | undefined;
  readonly signal: AbortSignal | undefined;
}

async function encodeUnit({ source, weight: plan, outputs }: EncodeUnit, options: EncodeOptions): Promise<Done> {
  const { format, context, pool, output, report, globalScale, signal } = options;
  let reported = 0;
  const { weight, result } = await quantizeInMemory(plan, storedDenseWeight(source), {
    host: pool,
    ...(globalScale === undefined ? {} : { globalScale }),
    hash: true,
    chunkBytes: CHUNK_BYTES,
    progress: ({ bytesDone = 0 }) => {
      report(bytesDone - reported);
      reported = bytesDone;
    },
    ...(signal === undefined ? {} : { signal }),
  });
  const hashers = new Map(outputs.map(({ name }) => [name, new LeafHasher(name)]));
  for await (const { name, offset, bytes } of format.chunks(weight, context)) {
    hashers.get(name)!.add(offset, bytes);
    await output.write(name, offset, bytes);
  }
  return {
    unit: source.name,
    read: leavesOf(source.name, source.byteLength, 'source', result.hashes),
    wrote: outputs.map(({ name }) => hashers.get(name)!.finish(output.location(name).byteLength)),
    error: errorOf(result),
  };
}

/** The shape of a packed weight is a tensor of its own: int64 [2]. */
async function writeShape(name: string, shape: readonly number[], output: CheckpointOutput): Promise<TensorLeaves> {
  const bytes = new Uint8Array(BigInt64Array.from(shape, BigInt).buffer);
  await output.write(name, 0, bytes);
  return { name, leafBytes: LEAF_BYTES, leaves: [sha256(bytes)] };
}

function isPiece(role: UnitOutput['role']): role is PieceName {
  return role === 'codes' || role === 'scales' || role === 'zeroPoints' || role === 'globalScale';
}

/** Chunks of a tensor as leaves. */
function leavesOf(name: string, byteLength: number, of: ChunkHash['of'], hashes: readonly ChunkHash[]): TensorLeaves {
  const leaves = chunkLeaves(
    name,
    byteLength,
    hashes.filter((chunk) => chunk.of === of),
  );
  if (leaves !== undefined) return leaves;
  throw new PithError(
    'HASHES_INCOMPLETE',
    `quantize ${name}: hashed chunks must cover its ${byteLength} bytes, they do not`,
    {
      kind: 'internal',
      details: { name, of, byteLength },
    },
  );
}

function errorOf({ error }: WeightResult): NonNullable<JournalUnit['error']> {
  return {
    mse: error.mse,
    snrDb: Number.isFinite(error.signalToNoise) ? error.signalToNoise : null,
    maxError: error.maxAbsError,
    clipped: error.clippedFraction,
  };
}

function progressOf(
  units: readonly Unit[],
  finished: ReadonlyMap<string, JournalUnit>,
  bytesTotal: number,
  { progress }: RunOptions,
) {
  const earlier = units.filter((unit) => finished.has(unit.source.name));
  let done = earlier.length;
  let bytesDone = earlier.reduce((sum, unit) => sum + unit.source.byteLength, 0);
  const emit = (source: StoredTensor): void =>
    progress?.({
      phase: 'quantize',
      item: source.name,
      done,
      total: units.length,
      unit: 'tensor',
      bytesDone,
      bytesTotal,
    });
  return {
    begin:
      ({ source }: Unit) =>
      (bytes: number): void => {
        bytesDone += bytes;
        emit(source);
      },
    end: ({ source }: Unit): void => {
      done++;
      emit(source);
    },
  };
}
