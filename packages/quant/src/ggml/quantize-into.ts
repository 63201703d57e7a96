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
// Chunks of rows are read (stored f32, f16 and bf16 straight from the checkpoint), coded and written; memory does not grow
// with the tensor. Call it for one tensor after the other: the threads are kept busy within a tensor.
import { CHUNK_BYTES, cutIntoChunks, elementCount, PithError, throwIfStopped, toF32 } from '@pith/tensor-core';
import { GGML_TYPES, restoreBlocks } from '@pith/checkpoint';
import { quantizeGgmlRows } from './quantize-rows.ts';
import { ggmlMatrix } from './ggml-matrix.ts';
import type { GgmlDestination, GgmlJob, GgmlResult, GgmlWritableType, QuantizeGgmlOptions } from './ggml-types.ts';

/**
 * Bytes of a tensor's blocks.
 *
 * @param shape outermost axis first; the last is a multiple of the type's block.
 */
export function ggmlByteLength(type: GgmlWritableType, shape: readonly number[]): number {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  return (elementCount(shape, type) / blockSize) * blockBytes;
}

/**
 * Writes one tensor. The bytes are those of ggml's own quantizer, for any number of threads and any chunk size.
 *
 * Errors are reported once every job that was started has ended; the destination may then hold some chunks.
 *
 * @throws PithError `BLOCK_DOES_NOT_DIVIDE`, `IMPORTANCE_INVALID`, `DESTINATION_SIZE`, `ROW_ORDER_INVALID` before anything is read;
 * `WEIGHT_NOT_FINITE` (names tensor, row and column of the first NaN or infinity), `STOPPED` and those of the host.
 */
export async function quantizeGgmlInto(
  { weight, type, importance, rowOrder, name = weight.name }: GgmlJob,
  destination: GgmlDestination,
  { host, chunkBytes = CHUNK_BYTES, signal, progress }: QuantizeGgmlOptions,
): Promise<GgmlResult> {
  const matrix = ggmlMatrix(weight);
  const { rows, columns, dtype } = matrix;
  const rowBytes = ggmlByteLength(type, [columns]);
  if (!Number.isInteger(rowBytes)) {
    throw new PithError(
      'BLOCK_DOES_NOT_DIVIDE',
      `quantize ${name}: columns must be whole blocks of ${type}, got ${columns}`,
      {
        details: { tensor: name, type, columns },
      },
    );
  }
  const chunks = cutIntoChunks(rows, columns * 4, chunkBytes);
  let sumSquaredError = 0;
  let sumSquares = 0;
  let maxAbsError = 0;
  const region = host.allocate(Math.max(64, (chunks[0]?.rows ?? 0) * rowBytes));
  try {
    for (const { firstRow, rows: count } of chunks) {
      throwIfStopped(signal, `quantize ${name}`);
      const values = new Float32Array(count * columns);
      for (let i = 0; i < count; i++) {
        const from = rowOrder?.[firstRow + i] ?? firstRow + i;
        values.set(toF32(dtype, await matrix.bytes(from, from + 1)), i * columns);
      }
      const bytes = quantizeGgmlRows(type, values, columns, importance);
      const restored = restoreBlocks(type, bytes);
      for (const [i, value] of values.entries()) {
        const difference = restored[i]! - value;
        sumSquaredError += difference ** 2;
        sumSquares += value ** 2;
        maxAbsError = Math.max(maxAbsError, Math.abs(difference));
      }
      if (destination.kind === 'memory') destination.bytes.set(bytes, firstRow * rowBytes);
      else {
        region.u8.set(bytes);
        const { path, offset } = destination;
        await host.run([
          { op: 'write', path, offset: offset + firstRow * rowBytes, length: bytes.length, at: region.at },
        ]);
      }
      progress?.({ phase: 'quantize', item: name, done: firstRow + count, total: rows, unit: 'row' });
    }
  } finally {
    host.free(region);
  }
  const count = rows * columns;
  return {
    name,
    type,
    bytesWritten: rows * rowBytes,
    error: {
      count,
      mse: count === 0 ? 0 : sumSquaredError / count,
      signalToNoise: sumSquaredError === 0 ? Infinity : 10 * Math.log10(sumSquares / sumSquaredError),
      maxAbsError,
      sumSquaredError,
      sumSquares,
    },
    hashes: [],
  };
}
