// A quantized weight over the tensors that compressed-tensors stores it as. Lazy: rows are read when asked for.
import {
  packedWords,
  quantizedWeight,
  toF32,
  unpack,
  unpackAlongRows,
  type ActivationQuantization,
  type CodeBlock,
  type PackedLayout,
  type QuantizationScheme,
  type QuantizedWeight,
} from '@pith/tensor-core';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import type { ModuleTensors } from './find-modules.ts';
import { storedPieces } from './stored-pieces.ts';

/** A stored quantized weight, described. */
export interface StoredQuantized {
  readonly parts: ModuleTensors;
  /** Of the dense weight: [rows, columns]. */
  readonly shape: readonly [number, number];
  readonly scheme: QuantizationScheme;
  /** Present for packed codes. */
  readonly layout: PackedLayout | undefined;
  readonly activations?: ActivationQuantization | undefined;
}

/** The weight; nothing is read. */
export function storedQuantizedWeight(stored: StoredQuantized): QuantizedWeight {
  const { parts, scheme, shape, activations } = stored;
  const [rows, columns] = shape;
  const name = `${parts.module}.weight`;
  const inputs = activations?.kind === 'tensor-static' ? [parts.inputScale, parts.inputZeroPoint] : [];
  const all = [parts.codes, parts.scales, parts.zeroPoints, parts.shape, ...inputs];
  const wholeBytes = all.reduce((sum, tensor) => sum + (tensor?.byteLength ?? 0), 0);
  const format = parts.shape ? 'pack-quantized' : scheme.kind === 'int' ? 'int-quantized' : 'float-quantized';
  return quantizedWeight({
    name,
    shape,
    scheme,
    ...(activations && { activations }),
    read: (start, end) => readBlock(stored, start, end),
    byteLengthOfRows(start, end) {
      if (end - start === rows) return wholeBytes;
      if (end === start) return 0;
      const pieces = storedPieces(
        { name, shape: [end - start, columns], scheme, ...(activations && { activations }) },
        format,
      );
      return pieces.reduce((sum, piece) => sum + piece.byteLength, 0);
    },
  });
}

async function readBlock(stored: StoredQuantized, start: number, end: number): Promise<CodeBlock> {
  const { parts, scheme } = stored;
  const [codes, scales, zeroPoints] = await Promise.all([
    readCodes(stored, start, end),
    readScaleRows(parts.scales, scheme, start, end),
    parts.zeroPoints ? readZeroPoints(stored, parts.zeroPoints, start, end) : undefined,
  ]);
  return { codes, scales: toF32(scheme.scaleDType, scales), ...(zeroPoints && { zeroPoints }) };
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
