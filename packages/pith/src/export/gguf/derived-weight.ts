// What kernels do not do on the way to a file: the rows of rotated heads of a bias vector change places.
import type { GgufPart } from '@pith/model';
import { interleavedRows } from '@pith/quant';
import { denseWeight, fromF32, type ByteSource, type WeightTensor } from '@pith/tensor-core';

/** The weight as the file has it, but for the order of rows of a matrix, which is left to the kernels. */
export function derivedWeight(weight: WeightTensor, { rotaryHeadDim }: GgufPart): WeightTensor {
  if (rotaryHeadDim === null || weight.shape.length > 1) return weight;
  const { name, shape } = weight;
  const whole = async (): Promise<Uint8Array> => {
    const values = await weight.toF32();
    const order = interleavedRows(values.length, rotaryHeadDim);
    return fromF32(
      'f32',
      Float32Array.from(order, (from) => values[from]!),
    );
  };
  return denseWeight({ name, dtype: 'f32', shape, source: computedBytes(4 * shape[0]!, whole) });
}

/** Bytes that are computed as a whole when a part is asked for: for vectors. */
function computedBytes(byteLength: number, whole: () => Promise<Uint8Array>): ByteSource {
  const read = async (offset: number, length: number): Promise<Uint8Array> =>
    (await whole()).subarray(offset, offset + length);
  return {
    byteLength,
    read,
    readInto: async (offset, target) => target.set(await read(offset, target.byteLength)),
  };
}
