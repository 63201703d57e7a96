// One tensor to ggml's blocks, from file to file: what a writer of GGUF calls for every tensor.
//
//   const host = createKernelPool({ threads });
//   const result = await quantizeGgmlInto(
//     { weight, type: 'q4_k', importance, rowOrder: interleavedRows(rows, headDim) },
//     { kind: 'file', path, offset },            // an existing file; the range is as long as `ggmlByteLength` says
//     { host, signal, progress },
//   );
//   result.error.mse;
//
// Chunks of rows are read (stored f32, f16 and bf16 straight from the checkpoint), coded and written by the host's threads, two
// chunks for each; memory does not grow with the tensor. Call it for one tensor after the other: the threads are kept busy within one.
import { GGML_TYPES } from '@pith/checkpoint';
import { CHUNK_BYTES, cutIntoChunks, PithError, runChunks, toF32, type Chunk } from '@pith/tensor-core';
import type { JobStep } from '@pith/tensor-core/node';
import { ErrorReport } from '../rtn/error-report.ts';
import type { ChunkHash } from '../rtn/rtn-types.ts';
import {
  checkImportance,
  checkRowOrder,
  DTYPE_NUMBER,
  ggmlByteLength,
  ggmlScratchBytes,
  looksAtImportance,
  ROW_ERROR_BYTES,
} from './ggml-kernel.ts';
import { ggmlGridBytes } from './grid-bytes.ts';
import { ggmlMatrix, type GgmlMatrix } from './ggml-matrix.ts';
import type { GgmlDestination, GgmlJob, GgmlResult, GgmlWritableType, QuantizeGgmlOptions } from './ggml-types.ts';
import { gatherRows, type GatheredRows } from './row-order.ts';

/**
 * Writes one tensor. The bytes are those of ggml's own quantizer (but for runs of zeros in IQ3_S, see write-grid.ts), for any number of threads
 * and any chunk size.
 *
 * Errors are reported once every job that was started has ended; the destination may then hold some chunks.
 *
 * @throws PithError `BLOCK_DOES_NOT_DIVIDE`, `IMPORTANCE_INVALID`, `IMPORTANCE_MISSING`, `DESTINATION_SIZE`, `ROW_ORDER_INVALID` before
 * anything is read;
 * `WEIGHT_NOT_FINITE` (names tensor, row and column of the first NaN or infinity; nothing of its chunk is written), `SCALE_OVERFLOW`
 * (values too large for the type), `STOPPED` and those of the host.
 */
export async function quantizeGgmlInto(
  { weight, type, importance, rowOrder, name = weight.name }: GgmlJob,
  destination: GgmlDestination,
  { host, hash = false, chunkBytes = CHUNK_BYTES, signal, progress }: QuantizeGgmlOptions,
): Promise<GgmlResult> {
  const matrix = ggmlMatrix(weight);
  const { rows, columns, dtype } = matrix;
  const rowBytes = ggmlByteLength(type, [columns], name);
  checkImportance(name, type, columns, importance);
  checkRowOrder(name, rows, rowOrder);
  checkDestination(name, destination, rows * rowBytes);
  const sourceBytes = columns * (dtype === 'f32' ? 4 : 2);
  const weighted = importance !== undefined && looksAtImportance(type);
  const chunks = cutIntoChunks(rows, Math.max(1, sourceBytes), chunkBytes);
  const perChunk = chunks[0]?.rows ?? 0;
  const gathered = new Map<number, GatheredRows>();
  const gather = ({ index, firstRow, rows: count }: Chunk): GatheredRows => {
    const known = gathered.get(index) ?? gatherRows(rowOrder, firstRow, count);
    gathered.set(index, known);
    return known;
  };
  const report = new ErrorReport([rows, columns]);
  const hashes: ChunkHash[] = [];
  let rowsDone = 0;
  const grid = ggmlGridBytes(type);
  await runChunks<'blocks' | 'errors' | 'importance' | 'order' | 'scratch' | 'grid'>({
    operation: `quantize ${name}`,
    host,
    weight: matrix,
    chunks,
    signal,
    rowBytes: sourceBytes,
    parts: {
      blocks: perChunk * rowBytes,
      errors: perChunk * ROW_ERROR_BYTES,
      importance: weighted ? 4 * columns : 0,
      order: rowOrder ? 4 * perChunk : 0,
      scratch: ggmlScratchBytes(columns),
      grid: grid?.length ?? 0,
    },
    spans: (chunk) => gather(chunk).spans,
    prepare: (part) => {
      if (weighted) part('importance').set(bytesOf(importance));
      if (grid) part('grid').set(grid);
    },
    load: (chunk, part) => {
      if (rowOrder) part('order').set(bytesOf(gather(chunk).places));
    },
    steps: (chunk, at) => {
      const length = chunk.rows * rowBytes;
      const args = [
        ...[GGML_TYPES[type].id, at.source, DTYPE_NUMBER[dtype], chunk.rows, columns],
        ...[rowOrder ? at.order : 0, weighted ? at.importance : 0, at.blocks, at.errors, at.scratch],
        grid ? at.grid : 0,
      ];
      const steps: JobStep[] = [];
      let from = at.source;
      for (const { start, end } of hash && matrix.stored ? gather(chunk).spans : []) {
        steps.push({ op: 'sha256', at: from, length: (end - start) * sourceBytes });
        from += (end - start) * sourceBytes;
      }
      steps.push({ op: 'call', kernel: 'ggmlQuantizeRows', args, expect: -1 });
      if (hash) steps.push({ op: 'sha256', at: at.blocks, length });
      if (destination.kind === 'file' && length > 0) {
        const offset = destination.offset + chunk.firstRow * rowBytes;
        steps.push({ op: 'write', path: destination.path, offset, length, at: at.blocks });
      }
      return steps;
    },
    finish: (chunk, results, part) => {
      report.add(chunk.firstRow, chunk.rows, part('errors'));
      const length = chunk.rows * rowBytes;
      const offset = chunk.firstRow * rowBytes;
      const digests = results.filter((result) => typeof result === 'string');
      if (hash && matrix.stored) {
        for (const { start, end } of gather(chunk).spans) {
          const byteLength = (end - start) * sourceBytes;
          hashes.push({ of: 'source', offset: start * sourceBytes, byteLength, sha256: digests.shift()! });
        }
      }
      if (hash) hashes.push({ of: 'codes', offset, byteLength: length, sha256: digests.shift()! });
      if (destination.kind === 'memory') destination.bytes.set(part('blocks').subarray(0, length), offset);
      gathered.delete(chunk.index);
      rowsDone += chunk.rows;
      const counts = { bytesDone: rowsDone * sourceBytes, bytesTotal: rows * sourceBytes };
      progress?.({ phase: 'quantize', item: name, done: rowsDone, total: rows, unit: 'row', ...counts });
    },
    refuse: (chunk, result) => refusal(name, type, matrix, rowOrder, chunk.firstRow, result),
  });
  const { count, mse, signalToNoise, maxAbsError, sumSquaredError, sumSquares } = report.result();
  return {
    name,
    type,
    bytesWritten: rows * rowBytes,
    error: { count, mse, signalToNoise, maxAbsError, sumSquaredError, sumSquares },
    hashes: hashes.sort((a, b) => (a.of === b.of ? a.offset - b.offset : a.of === 'source' ? -1 : 1)),
  };
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array | Int32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function checkDestination(name: string, destination: GgmlDestination, byteLength: number): void {
  if (destination.kind === 'file' || destination.bytes.byteLength === byteLength) return;
  throw new PithError(
    'DESTINATION_SIZE',
    `quantize ${name}: the destination must have ${byteLength} bytes, got ${destination.bytes.byteLength}`,
    { kind: 'internal', details: { tensor: name, byteLength, got: destination.bytes.byteLength } },
  );
}

/** The error behind the result of the kernel for rows from `firstRow` on; rows are told as they lie in the checkpoint. */
async function refusal(
  name: string,
  type: GgmlWritableType,
  matrix: GgmlMatrix,
  rowOrder: Int32Array | undefined,
  firstRow: number,
  result: number,
): Promise<PithError> {
  const written = firstRow + (result <= -2 ? -2 - result : result);
  const row = rowOrder?.[written] ?? written;
  if (result <= -2) {
    return new PithError(
      'SCALE_OVERFLOW',
      `quantize ${name}: the values of row ${row} are too large for ${type}, which holds numbers or scales as f16; choose bf16 or f32`,
      { details: { tensor: name, type, row } },
    );
  }
  const values = toF32(matrix.dtype, await matrix.bytes(row, row + 1));
  const column = values.findIndex((value) => !Number.isFinite(value));
  const value = String(values[column]);
  return new PithError(
    'WEIGHT_NOT_FINITE',
    `quantize ${name}: weights must be finite, got ${value} at row ${row}, column ${column}; fetch the checkpoint again`,
    { details: { tensor: name, row, column, value } },
  );
}
