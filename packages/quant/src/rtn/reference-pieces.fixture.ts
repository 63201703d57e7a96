// What the pieces of a weight hold, from what the reference quantizer says of it.
import { f32ToE8m0, fromF32, pack, packAlongRows, packNibbles } from '@pith/tensor-core';
import type { PieceName } from './pieces.ts';
import type { QuantizedMatrix } from './quantize.ts';
import type { WeightPlan } from './rtn-types.ts';

const bytesOf = (values: ArrayBufferView) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/** The bytes of every piece. */
export function referencePieces(
  { scheme, storage, shape }: WeightPlan,
  result: QuantizedMatrix,
): Partial<Record<PieceName, Uint8Array>> {
  const [rows, columns] = shape;
  const packed = storage === 'packed';
  const bits = scheme.kind === 'int' ? scheme.bits : 8;
  const signed = new Int8Array(result.codes.buffer);
  const codes = !packed
    ? result.codes
    : scheme.kind === 'int'
      ? bytesOf(pack(signed, { rows, columns, bits }))
      : packNibbles(result.codes);
  const pieces: Partial<Record<PieceName, Uint8Array>> = { codes, scales: storedScales(result, rows) };
  if (result.globalScale !== undefined) pieces.globalScale = bytesOf(Float32Array.of(result.globalScale));
  if (result.zeroPoints) {
    const perRow = result.zeroPoints.length / rows;
    const words = packed && scheme.granularity.kind !== 'tensor';
    const zeros = words ? packAlongRows(result.zeroPoints, { rows, columns: perRow, bits }) : result.zeroPoints;
    pieces.zeroPoints = bytesOf(zeros);
  }
  return pieces;
}

function storedScales({ scales, scheme, globalScale }: QuantizedMatrix, rows: number): Uint8Array {
  const { scaleDType, granularity } = scheme;
  if (scaleDType === 'f8_e8m0') return f32ToE8m0(scales);
  if (scaleDType === 'f8_e4m3')
    return fromF32(
      'f8_e4m3',
      scales.map((scale) => scale * globalScale!),
    );
  if (granularity.kind !== 'block') return fromF32(scaleDType, scales);
  const across = scales.length / rows;
  return fromF32(
    scaleDType,
    scales.filter((_, i) => Math.floor(i / across) % granularity.rows === 0),
  );
}
