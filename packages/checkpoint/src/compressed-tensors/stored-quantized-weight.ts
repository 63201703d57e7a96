// A quantized weight over the tensors that compressed-tensors stores it as. Lazy: rows are read when asked for.
import {
  packedWords,
  PithError,
  toF32,
  unpack,
  unpackAlongRows,
  type CodeBlock,
  type PackedLayout,
  type QuantizationScheme,
  type QuantizedWeight,
  type ScaleDType,
} from '@pith/tensor-core';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { checkRows } from '../weights/stored-dense-weight.ts';
import type { ModuleTensors } from './find-modules.ts';
import { restoreF32 } from './restore.ts';
import { storedPieces } from './stored-pieces.ts';

/** A stored quantized weight, described. */
export interface StoredQuantized {
  readonly parts: ModuleTensors;
  /** Of the dense weight: [rows, columns]. */
  readonly shape: readonly [number, number];
  readonly scheme: QuantizationScheme;
  /** Present for packed codes. */
  readonly layout: PackedLayout | undefined;
}

/** The weight; nothing is read. */
export function storedQuantizedWeight(stored: StoredQuantized): QuantizedWeight {
  const all = [stored.parts.codes, stored.parts.scales, stored.parts.zeroPoints, stored.parts.shape];
  const byteLength = all.reduce((sum, tensor) => sum + (tensor?.byteLength ?? 0), 0);
  return rowsOf(stored, 0, stored.shape[0], byteLength);
}

/** Rows `first` to `last` of a stored weight as a weight of its own. */
function rowsOf(stored: StoredQuantized, first: number, last: number, byteLength: number): QuantizedWeight {
  const { parts, scheme } = stored;
  const name = `${parts.module}.weight`;
  const columns = stored.shape[1];
  const rows = last - first;
  const block = async (start = 0, end = rows): Promise<CodeBlock> => {
    checkRows(name, start, end, rows);
    return readBlock(stored, first + start, first + end);
  };
  return {
    kind: 'quantized',
    name,
    shape: [rows, columns],
    scheme,
    byteLength,
    block,
    async toF32(start = 0, end = rows) {
      return restoreF32(await block(start, end), scheme, end - start, columns);
    },
    slice(start, end) {
      checkRows(name, start, end, rows);
      const format = parts.shape ? 'pack-quantized' : scheme.kind === 'int' ? 'int-quantized' : 'float-quantized';
      const pieces = end > start ? storedPieces({ name, shape: [end - start, columns], scheme }, format) : [];
      const bytes = pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
      return rowsOf(stored, first + start, first + end, bytes);
    },
  };
}

async function readBlock(stored: StoredQuantized, start: number, end: number): Promise<CodeBlock> {
  const { parts, scheme, layout } = stored;
  const [, columns] = stored.shape;
  const [codes, scales, zeroPoints] = await Promise.all([
    readCodes(stored, start, end),
    readScaleRows(parts.scales, scheme, start, end),
    parts.zeroPoints ? readZeroPoints(stored, parts.zeroPoints, start, end) : undefined,
  ]);
  if (layout !== undefined && scheme.kind !== 'int') {
    throw new PithError('CT_SCHEME_UNSUPPORTED', 'read compressed-tensors: packed codes must be integers', {
      kind: 'internal',
      details: { columns },
    });
  }
  const scaleDType: ScaleDType = scheme.scaleDType;
  return { codes, scales: toF32(scaleDType, scales), ...(zeroPoints && { zeroPoints }) };
}

async function readCodes(
  { parts, shape: [, columns], scheme, layout }: StoredQuantized,
  start: number,
  end: number,
): Promise<Int8Array | Uint8Array> {
  const rowBytes = parts.codes.byteLength / Math.max(1, parts.codes.shape[0]!);
  const bytes = await parts.codes.source.read(start * rowBytes, (end - start) * rowBytes);
  if (scheme.kind === 'float') return bytes;
  if (layout !== undefined) return unpack(wordsOf(bytes), { rows: end - start, columns, bits: scheme.bits }, layout);
  return new Int8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
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
