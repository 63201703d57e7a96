// A quantized weight over the tensors that compressed-tensors stores it as. Lazy: rows are read when asked for.
import {
  e8m0ToF32,
  packedWords,
  PithError,
  quantizedWeight,
  toF32,
  unpack,
  unpackAlongRows,
  unpackNibbles,
  type ActivationQuantization,
  type CodeBlock,
  type PackedLayout,
  type QuantizationScheme,
  type QuantizedWeight,
} from '@pith/tensor-core';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { tensorsOf, type ModuleTensors } from './find-modules.ts';
import type { CompressedFormat } from './read-group.ts';
import { moduleOfSparse, sparseInvalid, type SparsePattern } from './sparse-pattern.ts';
import { storedPieces } from './stored-pieces.ts';

/** A stored quantized weight, described. */
export interface StoredQuantized {
  readonly parts: ModuleTensors;
  /** Where the codes stand that are stored; undefined where all are. */
  readonly pattern?: SparsePattern | undefined;
  /** Of the dense weight: [rows, columns]. */
  readonly shape: readonly [number, number];
  readonly scheme: QuantizationScheme;
  readonly format: CompressedFormat;
  /** Present for packed codes. */
  readonly layout: PackedLayout | undefined;
  readonly activations?: ActivationQuantization | undefined;
  /** What scales are divided by. */
  readonly globalScale?: number | undefined;
  /** Group of each column. */
  readonly groupIndex?: Int32Array | undefined;
}

/** The weight; nothing is read. */
export function storedQuantizedWeight(stored: StoredQuantized): QuantizedWeight {
  const { parts, scheme, shape, format, activations, globalScale, groupIndex } = stored;
  const [rows, columns] = shape;
  const name = `${parts.module}.weight`;
  const wholeBytes = tensorsOf(parts).reduce((sum, tensor) => sum + tensor.byteLength, 0);
  const facts = {
    ...(activations && { activations }),
    ...(globalScale !== undefined && { globalScale }),
    ...(groupIndex && { groupIndex }),
  };
  return quantizedWeight({
    ...{ name, shape, scheme, ...facts },
    read: (start, end) => readBlock(stored, start, end),
    byteLengthOfRows(start, end) {
      if (end - start === rows) return wholeBytes;
      if (end === start) return 0;
      const pieces = storedPieces({ name, shape: [end - start, columns], scheme, ...facts }, format);
      return pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
    },
  });
}

async function readBlock(stored: StoredQuantized, start: number, end: number): Promise<CodeBlock> {
  const { parts } = stored;
  const [codes, scales, zeroPoints] = await Promise.all([
    readCodes(stored, start, end),
    readScales(stored, start, end),
    parts.zeroPoints ? readZeroPoints(stored, parts.zeroPoints, start, end) : undefined,
  ]);
  return { codes, scales, ...(zeroPoints && { zeroPoints }) };
}

/**
 * Scales of rows as f32, of tiles once for each row.
 *
 * @throws PithError `CT_SCALE_INVALID` for a NaN or an infinity, naming the tensor.
 */
async function readScales(stored: StoredQuantized, start: number, end: number): Promise<Float32Array> {
  const { parts, scheme, globalScale } = stored;
  const { granularity } = scheme;
  const tile = granularity.kind === 'block' ? granularity.rows : 1;
  const from = Math.floor(start / tile);
  const bytes = await readScaleRows(parts.scales, scheme, from, Math.max(from, Math.ceil(end / tile)));
  const scales = scheme.scaleDType === 'f8_e8m0' ? e8m0ToF32(bytes) : toF32(scheme.scaleDType, bytes);
  const wrong = scales.findIndex((scale) => !Number.isFinite(scale));
  if (wrong >= 0) throw invalidScale(stored, scales[wrong]!, from, wrong);
  if (globalScale !== undefined) return scales.map((scale) => scale / globalScale);
  if (granularity.kind !== 'block') return scales;
  const groups = parts.scales.shape[1]!;
  const rows = new Float32Array((end - start) * groups);
  for (let row = start; row < end; row++) {
    const at = (Math.floor(row / tile) - from) * groups;
    rows.set(scales.subarray(at, at + groups), (row - start) * groups);
  }
  return rows;
}

function invalidScale({ parts }: StoredQuantized, scale: number, firstRow: number, index: number): PithError {
  const perRow = parts.scales.shape.length < 2 ? 1 : parts.scales.shape[1]!;
  const row = firstRow + Math.floor(index / Math.max(1, perRow));
  return new PithError(
    'CT_SCALE_INVALID',
    `read compressed-tensors: the scales of tensor ${JSON.stringify(parts.scales.name)} in ${parts.scales.file} must be ` +
      `finite, got ${scale} in row ${row}; get the checkpoint again`,
    { details: { tensor: parts.scales.name, file: parts.scales.file, row, value: String(scale) } },
  );
}

async function readCodes(
  { parts, pattern, shape: [, columns], scheme, layout }: StoredQuantized,
  start: number,
  end: number,
): Promise<Int8Array | Uint8Array> {
  if (pattern) {
    const all = await readSparseCodes(parts.codes, pattern, start, end);
    return scheme.kind === 'float' ? all : new Int8Array(all.buffer);
  }
  const rowBytes = parts.codes.byteLength / Math.max(1, parts.codes.shape[0]!);
  const bytes = await parts.codes.source.read(start * rowBytes, (end - start) * rowBytes);
  if (parts.codes.dtype === 'u8') return unpackNibbles(bytes);
  if (scheme.kind === 'float') return bytes;
  if (layout !== undefined) return unpack(wordsOf(bytes), { rows: end - start, columns, bits: scheme.bits }, layout);
  return new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Codes of a byte each, 0 where none is kept. */
async function readSparseCodes(
  codes: StoredTensor,
  { columns, keptBefore, mask }: SparsePattern,
  start: number,
  end: number,
): Promise<Uint8Array> {
  const [kept, places] = await Promise.all([
    codes.source.read(keptBefore(start), keptBefore(end) - keptBefore(start)),
    mask(start, end),
  ]);
  const all = new Uint8Array((end - start) * columns);
  let next = 0;
  for (let i = 0; i < all.length; i += 1) {
    if (places[i] === 0) continue;
    if (next === kept.length) break;
    all[i] = kept[next]!;
    next += 1;
  }
  const wanted = places.reduce((sum, bit) => sum + bit, 0);
  if (wanted === kept.length) return all;
  throw sparseInvalid(
    moduleOfSparse(codes.name),
    codes,
    `the mask keeps ${wanted} codes in rows ${start} to ${end}, ${kept.length} are stored`,
  );
}

/** Bytes of the rows of scales or plain zero points; all of them where one serves the whole tensor. */
async function readScaleRows(
  tensor: StoredTensor,
  scheme: QuantizationScheme,
  start: number,
  end: number,
): Promise<Uint8Array> {
  if (scheme.granularity.kind === 'tensor') return tensor.source.read(0, tensor.byteLength);
  const rowBytes = tensor.byteLength / tensor.shape[0]!;
  return tensor.source.read(start * rowBytes, (end - start) * rowBytes);
}

async function readZeroPoints(
  { scheme, layout }: StoredQuantized,
  tensor: StoredTensor,
  start: number,
  end: number,
): Promise<Int8Array> {
  if (layout === undefined || scheme.kind !== 'int' || scheme.granularity.kind === 'tensor') {
    const bytes = await readScaleRows(tensor, scheme, start, end);
    return new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  // Packed along the rows: read the words that hold these rows, unpack, and cut off the rows before.
  const groups = tensor.shape[1]!;
  const { bits } = scheme;
  const perUnit = layout === 'stream' ? 32 : Math.floor(32 / bits);
  const unitWords = packedWords(bits, perUnit, layout);
  const unit = Math.floor(start / perUnit);
  const firstWord = unit * unitWords;
  const lastWord = Math.min(tensor.shape[0]!, firstWord + packedWords(bits, end - unit * perUnit, layout));
  const bytes = await tensor.source.read(firstWord * groups * 4, (lastWord - firstWord) * groups * 4);
  const all = unpackAlongRows(wordsOf(bytes), { rows: end - unit * perUnit, columns: groups, bits }, layout);
  return all.slice((start - unit * perUnit) * groups);
}

/** Little-endian words, copied where the bytes do not lie at a multiple of 4. */
function wordsOf(bytes: Uint8Array): Int32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Int32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4);
}
