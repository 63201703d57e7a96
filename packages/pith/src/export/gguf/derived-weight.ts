// What kernels do not do on the way to a file: values of a vector change places, and norms that multiply by `1 + weight` have
// the 1 put in; queries are multiplied where llama.cpp scales their products with keys otherwise.
import type { GgufPart, GgufSection } from '@pith/model';
import { interleavedRows } from '@pith/quant';
import { denseWeight, fromF32, type ByteSource, type WeightTensor } from '@pith/tensor-core';

/** The weight as the file has it, but for the order of rows of a matrix, which is left to the kernels. */
export function derivedWeight(weight: WeightTensor, part: GgufPart): WeightTensor {
  const { offset = 0, scale = 1, section } = part;
  const { name, shape } = weight;
  if (section !== undefined) return sectionOf(weight, section);
  if (shape.length > 1) {
    if (scale === 1) return weight;
    return denseWeight({ name, dtype: 'f32', shape, source: scaledBytes(weight, scale) });
  }
  const moves = part.rotaryHeadDim !== null || part.rowOrder !== undefined;
  if (offset === 0 && scale === 1 && !moves) return weight;
  const whole = async (): Promise<Uint8Array> => {
    const values = await weight.toF32();
    const order = rowOrderOf(part, values.length) ?? values.map((_, i) => i);
    return fromF32(
      'f32',
      Float32Array.from(order, (from) => (values[from]! + offset) * scale),
    );
  };
  return denseWeight({ name, dtype: 'f32', shape, source: computedBytes(4 * shape[0]!, whole) });
}

/** Which row of the weight is row i of the file; undefined where none changes places. */
export function rowOrderOf({ rotaryHeadDim, rowOrder }: GgufPart, rows: number): Int32Array | undefined {
  return rotaryHeadDim === null ? rowOrder : interleavedRows(rows, rotaryHeadDim);
}

/** Some rows of a matrix, in f32, turned round where the file has them so. */
function sectionOf(weight: WeightTensor, { start, rows, turned }: GgufSection): WeightTensor {
  const columns = weight.shape[1]!;
  const whole = async (): Promise<Uint8Array> => {
    const values = await weight.toF32(start, start + rows);
    if (!turned) return fromF32('f32', values);
    return fromF32(
      'f32',
      Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!),
    );
  };
  return denseWeight({
    name: weight.name,
    dtype: 'f32',
    shape: turned ? [columns, rows] : [rows, columns],
    source: computedBytes(4 * rows * columns, whole),
  });
}

/** A matrix in f32, multiplied; rows are restored as they are asked for. */
function scaledBytes(weight: WeightTensor, scale: number): ByteSource {
  const rows = weight.shape[0]!;
  const rowBytes = 4 * weight.shape.slice(1).reduce((a, b) => a * b, 1);
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const first = Math.floor(offset / rowBytes);
    const values = await weight.toF32(first, Math.ceil((offset + length) / rowBytes));
    const bytes = fromF32(
      'f32',
      values.map((value) => value * scale),
    );
    return bytes.subarray(offset - first * rowBytes, offset - first * rowBytes + length);
  };
  return {
    byteLength: rows * rowBytes,
    read,
    readInto: async (offset, target) => target.set(await read(offset, target.byteLength)),
  };
}

/** Bytes that are computed as a whole when a part is asked for: for vectors, and matrices of single heads. */
function computedBytes(byteLength: number, whole: () => Promise<Uint8Array>): ByteSource {
  const read = async (offset: number, length: number): Promise<Uint8Array> =>
    (await whole()).subarray(offset, offset + length);
  return {
    byteLength,
    read,
    readInto: async (offset, target) => target.set(await read(offset, target.byteLength)),
  };
}
