// From codes, scales and zero points to the bytes of the stored tensors, by rows: what a streaming writer puts at
// `offset` of each tensor.
import {
  f32ToE8m0,
  fromF32,
  groupsPerRow,
  pack,
  packAlongRows,
  packNibbles,
  PithError,
  restoredDType,
  scaleCount,
  type CodeBlock,
  type GroupActivations,
  type QuantizedWeight,
  type TensorActivations,
} from '@pith/tensor-core';
import type { CompressedFormat } from './read-group.ts';
import { storedPieces, type PieceRole, type QuantizedShape, type StoredPiece } from './stored-pieces.ts';

/** Stored once, with the rows from 0 on. */
const ONCE: ReadonlySet<PieceRole> = new Set<PieceRole>([
  'globalScale',
  'groupIndex',
  'shape',
  'inputScale',
  'inputZeroPoint',
  'inputGlobalScale',
]);

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
 * How many rows a block must start at a multiple of: 1, the rows of a tile, or 32 where zero points are packed along the
 * rows (32 of them fill whole words at every number of bits).
 */
export function rowAlignment(weight: Pick<QuantizedShape, 'scheme'>, format: CompressedFormat): number {
  const { scheme } = weight;
  if (scheme.granularity.kind === 'block') return scheme.granularity.rows;
  if (scheme.kind !== 'int' || scheme.symmetric || format !== 'pack-quantized') return 1;
  return scheme.granularity.kind === 'tensor' ? 1 : 32;
}

/**
 * The stored bytes of rows from `start`, a multiple of {@link rowAlignment}. Blocks that are not the last must have a
 * multiple of it as their number of rows. Parts that are stored once (`weight_shape`, scales of a tensor) come with the
 * block that starts at row 0.
 *
 * @throws PithError `CT_BLOCK_INVALID` (a start or a size that does not fit), `CODE_OUT_OF_RANGE`, `CT_ZERO_UNSUPPORTED`, and those of
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
  const alignment = Math.max(32, rowAlignment(weight, format));
  const step = Math.max(1, Math.floor(blockBytes / columns / alignment)) * alignment;
  for (let start = 0; start < rows; start += step) {
    const end = Math.min(rows, start + step);
    yield* encodeBlock(weight, format, start, await weight.block(start, end));
  }
}

function encodePiece(
  weight: QuantizedShape,
  piece: StoredPiece,
  block: CodeBlock,
  rows: number,
  columns: number,
): Uint8Array {
  const { shape, scheme, activations } = weight;
  switch (piece.role) {
    case 'shape':
      return new Uint8Array(BigInt64Array.from(shape, BigInt).buffer);
    case 'inputScale':
      return fromF32(restoredDType(scheme), Float32Array.of((activations as TensorActivations).scale));
    case 'inputZeroPoint':
      return Uint8Array.of((activations as TensorActivations).zeroPoint);
    case 'inputGlobalScale':
      return bytesOf(Float32Array.of((activations as GroupActivations).globalScale!));
    case 'globalScale':
      return bytesOf(Float32Array.of(weight.globalScale!));
    case 'groupIndex':
      return bytesOf(weight.groupIndex!);
    case 'scales':
      return encodeScales(weight, block.scales, rows, columns);
    case 'zeroPoints': {
      const zeros = block.zeroPoints!;
      if (piece.dtype !== 'i32' || scheme.kind !== 'int') return bytesOf(zeros);
      requirePackedZeros(weight.name, zeros, scheme.bits);
      return bytesOf(packAlongRows(zeros, { rows, columns: zeros.length / rows, bits: scheme.bits }));
    }
    case 'codes':
      if (piece.dtype === 'u8') return packNibbles(block.codes);
      if (piece.dtype !== 'i32' || scheme.kind !== 'int') return bytesOf(block.codes);
      return bytesOf(pack(block.codes as Int8Array, { rows, columns, bits: scheme.bits }));
  }
}

/** GPTQ's zero points may be one above the largest code, which no packed one is. */
function requirePackedZeros(name: string, zeros: Int8Array, bits: number): void {
  const half = 2 ** (bits - 1);
  const wrong = zeros.find((zero) => zero < -half || zero >= half);
  if (wrong === undefined) return;
  throw new PithError(
    'CT_ZERO_UNSUPPORTED',
    `store ${JSON.stringify(name)} as compressed-tensors: zero points must be codes, 0 to ${2 * half - 1}, got ` +
      `${wrong + half}; restore the weight and quantize it again`,
    { details: { tensor: name, zeroPoint: wrong + half } },
  );
}

/** Scales as they are stored: of tiles once, multiplied by the global scale that they are divided by when restored. */
function encodeScales(
  { name, scheme, globalScale }: QuantizedShape,
  scales: Float32Array,
  rows: number,
  columns: number,
): Uint8Array {
  if (scheme.scaleDType === 'f8_e8m0') return f32ToE8m0(scales);
  if (scheme.scaleDType === 'f8_e4m3')
    return fromF32(
      'f8_e4m3',
      scales.map((scale) => scale * globalScale!),
    );
  if (scheme.granularity.kind !== 'block') return fromF32(scheme.scaleDType, scales);
  const groups = groupsPerRow(scheme.granularity, columns);
  const tileRows = scheme.granularity.rows;
  const tiles = new Float32Array(Math.ceil(rows / tileRows) * groups);
  for (let row = 0; row < rows; row++) {
    const of = scales.subarray(row * groups, (row + 1) * groups);
    const first = Math.floor(row / tileRows) * groups;
    if (row % tileRows === 0) tiles.set(of, first);
    else if (of.some((scale, i) => scale !== tiles[first + i])) {
      throw new PithError(
        'CT_BLOCK_INVALID',
        `store ${JSON.stringify(name)} as compressed-tensors: rows of a tile must share its scales, row ${row} of a block has others`,
        { kind: 'internal', details: { tensor: name, row } },
      );
    }
  }
  return fromF32(scheme.scaleDType, tiles);
}

/** Where the bytes of rows from `start` begin in a stored tensor. */
function offsetOf({ scheme }: QuantizedShape, piece: StoredPiece, start: number): number {
  if (piece.role === 'zeroPoints' && piece.dtype === 'i32' && scheme.kind === 'int') {
    return ((start * scheme.bits) / 32) * piece.shape[1]! * 4;
  }
  const stored =
    piece.role === 'scales' && scheme.granularity.kind === 'block' ? start / scheme.granularity.rows : start;
  return stored * (piece.byteLength / piece.shape[0]!);
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
  const expected = scaleCount(scheme.granularity, count, shape[1]!);
  const zeros = scheme.kind === 'int' && !scheme.symmetric ? expected : undefined;
  if (scales.length !== expected || zeroPoints?.length !== zeros) {
    const got = `${scales.length} scales and ${zeroPoints?.length ?? 'no'} zero points`;
    throw fail(`there must be ${expected} scales and ${zeros ?? 'no'} zero points, got ${got}`);
  }
}

function bytesOf(values: Int8Array | Uint8Array | Int32Array | Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
