// From codes, scales and zero points to the bytes of the stored tensors, by rows: what a streaming writer puts at
// `offset` of each tensor.
import {
  fromF32,
  pack,
  packAlongRows,
  PithError,
  type CodeBlock,
  type QuantizedWeight,
  type TensorActivations,
} from '@pith/tensor-core';
import type { CompressedFormat } from './quantization-config.ts';
import {
  refuseGroupIndex,
  storedPieces,
  type PieceRole,
  type QuantizedShape,
  type StoredPiece,
} from './stored-pieces.ts';

/** Stored once, with the rows from 0 on. */
const ONCE: ReadonlySet<PieceRole> = new Set<PieceRole>(['shape', 'inputScale', 'inputZeroPoint']);

/** Bytes for one stored tensor. */
export interface StoredChunk {
  /** Name of the stored tensor. */
  readonly name: string;
  /** Byte offset inside of it. */
  readonly offset: number;
  /** What goes there. */
  readonly bytes: Uint8Array;
}

/**
 * How many rows a block must start at a multiple of: 1, or 32 where zero points are packed along the rows (32 of them
 * fill whole words at every number of bits).
 */
export function rowAlignment(weight: Pick<QuantizedShape, 'scheme'>, format: CompressedFormat): number {
  const { scheme } = weight;
  if (scheme.kind !== 'int' || scheme.symmetric || format !== 'pack-quantized') return 1;
  return scheme.granularity.kind === 'tensor' ? 1 : 32;
}

/**
 * The stored bytes of rows from `start`, a multiple of {@link rowAlignment}. Blocks that are not the last must have a
 * multiple of it as their number of rows. Parts that are stored once (`weight_shape`, scales of a tensor) come with the
 * block that starts at row 0.
 *
 * @throws PithError `CT_BLOCK_INVALID` (a start or a size that does not fit), `CODE_OUT_OF_RANGE`, and those of
 * `storedPieces`.
 */
export function encodeBlock(
  weight: QuantizedShape,
  format: CompressedFormat,
  start: number,
  block: CodeBlock,
): StoredChunk[] {
  const pieces = storedPieces(weight, format);
  const [rows, columns] = weight.shape as readonly [number, number];
  const count = block.codes.length / columns;
  checkBlock(weight, format, start, block, count, rows);
  const perTensor = weight.scheme.granularity.kind === 'tensor';
  return pieces.flatMap((piece): StoredChunk[] => {
    const once = ONCE.has(piece.role) || (perTensor && piece.role !== 'codes');
    if (once && start > 0) return [];
    const bytes = encodePiece(weight, piece, block, count, columns);
    return [{ name: piece.name, offset: once ? 0 : offsetOf(weight, piece, start), bytes }];
  });
}

/** Streams a whole weight as stored bytes, in blocks of about `blockBytes` of codes. */
export async function* encodeWeight(
  weight: QuantizedWeight,
  format: CompressedFormat,
  blockBytes = 4 * 1024 * 1024,
): AsyncGenerator<StoredChunk> {
  const [rows, columns] = weight.shape as readonly [number, number];
  refuseGroupIndex(weight);
  const step = Math.max(32, Math.floor(blockBytes / columns / 32) * 32);
  for (let start = 0; start < rows; start += step) {
    const end = Math.min(rows, start + step);
    yield* encodeBlock(weight, format, start, await weight.block(start, end));
  }
}

function encodePiece(
  { shape, scheme, activations }: QuantizedShape,
  piece: StoredPiece,
  block: CodeBlock,
  rows: number,
  columns: number,
): Uint8Array {
  switch (piece.role) {
    case 'shape':
      return new Uint8Array(BigInt64Array.from(shape, BigInt).buffer);
    case 'inputScale':
    case 'inputZeroPoint': {
      const { scale, zeroPoint } = activations as TensorActivations;
      return piece.role === 'inputScale'
        ? fromF32(scheme.scaleDType, Float32Array.of(scale))
        : Uint8Array.of(zeroPoint);
    }
    case 'scales':
      return fromF32(scheme.scaleDType, block.scales);
    case 'zeroPoints': {
      const zeros = block.zeroPoints!;
      if (piece.dtype !== 'i32' || scheme.kind !== 'int') return bytesOf(zeros);
      return bytesOf(packAlongRows(zeros, { rows, columns: zeros.length / rows, bits: scheme.bits }));
    }
    case 'codes':
      if (piece.dtype !== 'i32' || scheme.kind !== 'int') return bytesOf(block.codes);
      return bytesOf(pack(block.codes as Int8Array, { rows, columns, bits: scheme.bits }));
  }
}

/** Where the bytes of rows from `start` begin in a stored tensor. */
function offsetOf({ scheme }: QuantizedShape, piece: StoredPiece, start: number): number {
  if (piece.role === 'zeroPoints' && piece.dtype === 'i32' && scheme.kind === 'int') {
    return ((start * scheme.bits) / 32) * piece.shape[1]! * 4;
  }
  return start * (piece.byteLength / piece.shape[0]!);
}

function checkBlock(
  weight: QuantizedShape,
  format: CompressedFormat,
  start: number,
  { scales, zeroPoints }: CodeBlock,
  count: number,
  rows: number,
): void {
  const { name, scheme, shape } = weight;
  const fail = (why: string): PithError =>
    new PithError('CT_BLOCK_INVALID', `store ${JSON.stringify(name)} as compressed-tensors: ${why}`, {
      kind: 'internal',
      details: { tensor: name, start, rows: count },
    });
  const alignment = rowAlignment(weight, format);
  const last = start + count === rows;
  if (
    !Number.isInteger(count) ||
    start % alignment !== 0 ||
    start + count > rows ||
    (!last && count % alignment !== 0)
  ) {
    throw fail(`rows ${start} to ${start + count} must lie in ${rows} rows and come in multiples of ${alignment}`);
  }
  const { granularity } = scheme;
  const groups = granularity.kind === 'group' ? shape[1]! / granularity.size : 1;
  const expected = granularity.kind === 'tensor' ? 1 : count * groups;
  const zeros = scheme.kind === 'int' && !scheme.symmetric ? expected : undefined;
  if (scales.length !== expected || zeroPoints?.length !== zeros) {
    const got = `${scales.length} scales and ${zeroPoints?.length ?? 'no'} zero points`;
    throw fail(`there must be ${expected} scales and ${zeros ?? 'no'} zero points, got ${got}`);
  }
}

function bytesOf(values: Int8Array | Uint8Array | Int32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
