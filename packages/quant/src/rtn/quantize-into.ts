// The application of a plan to one weight: chunks of rows are read, quantized, hashed and written by the threads of a
// pool, file to file.
import {
  CHUNK_BYTES,
  cutIntoChunks,
  PithError,
  runChunks,
  type Chunk,
  type DenseWeight,
  type KernelHost,
} from '@pith/tensor-core';
import type { JobStep } from '@pith/tensor-core/node';
import { ErrorReport } from './error-report.ts';
import {
  kernelWeight,
  quantizeArguments,
  ROW_ERROR_BYTES,
  tileArguments,
  type KernelWeight,
} from './kernel-arguments.ts';
import type { PieceName } from './pieces.ts';
import { refusal, scaleOverflow } from './refusal.ts';
import type {
  ChunkHash,
  PieceDestination,
  PieceDestinations,
  QuantizeIntoOptions,
  WeightPlan,
  WeightResult,
} from './rtn-types.ts';
import { globalScaleOf } from './scale.ts';
import { chooseTensorScale, measureMagnitude } from './tensor-scale.ts';
import { writeShared } from './write-shared-scale.ts';

/**
 * Rounds one weight and writes its pieces: chunks of rows are read, quantized and written by the pool's threads with
 * bounded memory (two chunks for each thread), file to file where both sides lie in files. The result is the same for
 * any number of threads and any chunk size.
 *
 * A weight with one scale per tensor is read twice, and more often for percentiles (up to five times) and searches
 * (three times); one with a global scale that is not given twice.
 *
 * Errors are reported once every job that was started has ended; `destinations` may then hold some chunks.
 *
 * @throws PithError `WEIGHT_NOT_FINITE` (names tensor, row and column of the first NaN or infinity; nothing of its
 * chunk is written), `SCALE_OVERFLOW`, `PLAN_MISMATCH` (the weight is not the one that was planned),
 * `DESTINATION_MISSING`, `DESTINATION_SIZE`, `STOPPED` and those of the pool.
 */
export function quantizeInto(
  plan: WeightPlan,
  weight: DenseWeight,
  destinations: PieceDestinations,
  options: QuantizeIntoOptions,
): Promise<WeightResult> {
  return quantizeOn(options.pool, plan, weight, destinations, options);
}

/** {@link quantizeInto} on any host. */
export async function quantizeOn(
  host: KernelHost,
  plan: WeightPlan,
  weight: DenseWeight,
  destinations: PieceDestinations,
  { hash = false, chunkBytes = CHUNK_BYTES, globalScale: given, signal, progress }: Omit<QuantizeIntoOptions, 'pool'>,
): Promise<WeightResult> {
  checkWeight(plan, weight);
  checkDestinations(plan, destinations);
  const [rows, columns] = plan.shape;
  const kernel = kernelWeight(plan);
  const { rowBytes } = kernel;
  const chunks = cutIntoChunks(rows, rowBytes.source, chunkBytes, kernel.tileRows);
  const pass = {
    host,
    weight,
    chunks,
    signal,
    refuse: (chunk: Chunk, result: number) => refusal(plan, weight, chunk.firstRow, result),
  };
  const perTensor = plan.scheme.granularity.kind === 'tensor';
  const shared = perTensor ? await chooseTensorScale({ ...pass, plan, kernel }) : undefined;
  if (shared && !Number.isFinite(shared.scale)) throw scaleOverflow(plan, undefined);
  const hasGlobal = plan.scheme.scaleDType === 'f8_e4m3';
  const globalScale = hasGlobal
    ? (given ?? globalScaleOf(await measureMagnitude({ ...pass, plan, kernel }), plan.dtype))
    : undefined;

  const streams = pieceStreams(plan, kernel);
  const packsZeros = streams.some(({ part }) => part === 'words');
  const bits = plan.scheme.kind === 'int' ? plan.scheme.bits : 8;
  const perChunk = chunks[0]?.rows ?? 0;

  const report = new ErrorReport(plan.shape);
  const hashes: ChunkHash[] = [];
  let bytesWritten = 0;
  let rowsDone = 0;
  await runChunks<StreamPart | 'errors' | 'factors' | 'scratch' | 'packing'>({
    ...pass,
    operation: `quantize ${plan.name}`,
    rowBytes: rowBytes.source,
    hashSource: hash,
    parts: {
      codes: perChunk * rowBytes.codes,
      scales: Math.ceil(perChunk / kernel.tileRows) * rowBytes.scales,
      zeros: perChunk * rowBytes.zeros,
      words: packsZeros ? wordsOf(perChunk, bits) * 4 * kernel.groupsPerRow : 0,
      errors: perChunk * ROW_ERROR_BYTES,
      factors: kernel.factors.byteLength,
      scratch: kernel.scratchBytes,
      packing: packsZeros ? perChunk + 8 + wordsOf(perChunk, bits) * 4 : 0,
    },
    prepare: (part) => part('factors').set(new Uint8Array(kernel.factors.buffer)),
    steps: (chunk, at) => {
      const steps: JobStep[] = [
        plan.scheme.granularity.kind === 'block'
          ? { op: 'call', kernel: 'quantizeTiles', args: tileArguments(kernel, chunk.rows, at), expect: -1 }
          : {
              ...{ op: 'call', kernel: 'quantizeRows', expect: -1 },
              args: quantizeArguments(plan, kernel, chunk.rows, at, shared, globalScale),
            },
      ];
      if (packsZeros) {
        const packArgs = [at.zeros, at.words, chunk.rows, kernel.groupsPerRow, bits, at.packing];
        steps.push({ op: 'call', kernel: 'packZeroPoints', args: packArgs });
      }
      for (const { piece, part, bytes } of streams) {
        const length = bytes(chunk.rows);
        const destination = destinations[piece];
        if (length === 0 || destination === undefined) continue;
        if (hash) steps.push({ op: 'sha256', at: at[part], length });
        if (destination.kind === 'file') {
          const offset = destination.offset + bytes(chunk.firstRow);
          steps.push({ op: 'write', path: destination.path, offset, length, at: at[part] });
        }
      }
      return steps;
    },
    finish: (chunk, results, part, sourceHash) => {
      report.add(chunk.firstRow, chunk.rows, part('errors'));
      const digests = results.filter((result) => typeof result === 'string');
      const sourceBytes = chunk.rows * rowBytes.source;
      if (sourceHash !== undefined) {
        const offset = chunk.firstRow * rowBytes.source;
        hashes.push({ of: 'source', offset, byteLength: sourceBytes, sha256: sourceHash });
      }
      for (const { piece, part: name, bytes } of streams) {
        const byteLength = bytes(chunk.rows);
        const destination = destinations[piece];
        if (byteLength === 0 || destination === undefined) continue;
        const offset = bytes(chunk.firstRow);
        const sha256 = hash ? digests.shift() : undefined;
        if (sha256 !== undefined) hashes.push({ of: piece, offset, byteLength, sha256 });
        if (destination.kind === 'memory') destination.bytes.set(part(name).subarray(0, byteLength), offset);
        bytesWritten += byteLength;
      }
      rowsDone += chunk.rows;
      progress?.({
        phase: 'quantize',
        item: plan.name,
        done: rowsDone,
        total: rows,
        unit: 'row',
        bytesDone: rowsDone * rowBytes.source,
        bytesTotal: rows * columns * (rowBytes.source / columns),
      });
    },
  });
  if (shared !== undefined || globalScale !== undefined) {
    const values = { scale: shared, globalScale };
    for (const written of await writeShared(host, plan, values, destinations, hash, signal)) {
      bytesWritten += written.byteLength;
      if (written.hash) hashes.push(written.hash);
    }
  }
  return { name: plan.name, error: report.result(shared?.zeroScale ? 1 : 0), hashes: inOrder(hashes), bytesWritten };
}

type StreamPart = 'codes' | 'scales' | 'zeros' | 'words';

/** A piece whose bytes come chunk by chunk. */
interface PieceStream {
  readonly piece: PieceName;
  /** Where a chunk of it lies in a slot. */
  readonly part: StreamPart;
  /** Bytes of the first `rows` rows; exact where they are a multiple of the row alignment, or all. */
  bytes(rows: number): number;
}

function pieceStreams(
  { pieces, scheme }: WeightPlan,
  { rowBytes, groupsPerRow, tileRows }: KernelWeight,
): PieceStream[] {
  const bits = scheme.kind === 'int' ? scheme.bits : 8;
  const packed = pieces.some(({ piece, dtype }) => piece === 'zeroPoints' && dtype === 'i32');
  return [
    { piece: 'codes', part: 'codes', bytes: (rows) => rows * rowBytes.codes },
    { piece: 'scales', part: 'scales', bytes: (rows) => Math.ceil(rows / tileRows) * rowBytes.scales },
    packed
      ? { piece: 'zeroPoints', part: 'words', bytes: (rows) => wordsOf(rows, bits) * 4 * groupsPerRow }
      : { piece: 'zeroPoints', part: 'zeros', bytes: (rows) => rows * rowBytes.zeros },
  ];
}

/** 32-bit words of a stream of codes. */
function wordsOf(count: number, bits: number): number {
  return Math.ceil((count * bits) / 32);
}

const ORDER: readonly ChunkHash['of'][] = ['source', 'codes', 'scales', 'zeroPoints', 'globalScale'];

function inOrder(hashes: readonly ChunkHash[]): ChunkHash[] {
  return [...hashes].sort((a, b) => ORDER.indexOf(a.of) - ORDER.indexOf(b.of) || a.offset - b.offset);
}

function checkWeight(plan: WeightPlan, weight: DenseWeight): void {
  const same = weight.dtype === plan.dtype && weight.shape.join() === plan.shape.join();
  if (same) return;
  const { name, dtype, shape } = plan;
  throw new PithError(
    'PLAN_MISMATCH',
    `quantize ${name}: the plan is for ${dtype} [${shape.join(', ')}], got ${weight.dtype} [${weight.shape.join(', ')}]; ` +
      'the checkpoint has changed: plan again',
    { details: { tensor: name, planned: { dtype, shape }, got: { dtype: weight.dtype, shape: weight.shape } } },
  );
}

function checkDestinations({ name, pieces }: WeightPlan, destinations: PieceDestinations): void {
  for (const { piece, byteLength } of pieces) {
    const destination: PieceDestination | undefined = destinations[piece];
    if (destination === undefined) {
      throw new PithError('DESTINATION_MISSING', `quantize ${name}: there must be a destination for its ${piece}`, {
        kind: 'internal',
        details: { tensor: name, piece },
      });
    }
    if (destination.kind === 'memory' && destination.bytes.byteLength !== byteLength) {
      throw new PithError(
        'DESTINATION_SIZE',
        `quantize ${name}: the destination of its ${piece} must have ${byteLength} bytes, got ${destination.bytes.byteLength}`,
        { kind: 'internal', details: { tensor: name, piece, byteLength, got: destination.bytes.byteLength } },
      );
    }
  }
}
