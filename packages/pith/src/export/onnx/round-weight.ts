// Rounding to nearest for weights of an ONNX model whose codes cannot stay as they are.
import type { OnnxRounding } from '@pith/model';
import { defineScheme, isQuantizable, quantizeWeight } from '@pith/quant';
import { byteLengthOf, denseWeight } from '@pith/tensor-core';
import type { ByteDType, DenseWeight, KernelHost, QuantizedWeight, WeightTensor } from '@pith/tensor-core';
import { restoredWeight } from '../../source/restored-weight.ts';

/** Rounds a weight of any representation; the result lies in memory. */
export async function roundWeight(
  weight: WeightTensor,
  { bits, groupSize, symmetric, scaleDType, columns }: OnnxRounding,
  host: KernelHost,
): Promise<QuantizedWeight> {
  const dense = weight.kind === 'dense' && isQuantizable(weight.dtype) ? weight : restoredWeight(weight, 'f32');
  const granularity =
    groupSize === null ? ({ kind: 'channel' } as const) : ({ kind: 'group', size: groupSize } as const);
  const scheme = defineScheme({ weights: { kind: 'int', bits, symmetric, granularity }, scaleDType });
  const { weight: rounded } = await quantizeWeight(widened(dense, columns), { scheme, host });
  return rounded;
}

/** A matrix with columns of zeros behind its own; they change no scale, because every range holds zero. */
function widened(weight: DenseWeight, columns: number): DenseWeight {
  const [rows, own] = weight.shape as readonly [number, number];
  if (own === columns) return weight;
  const size = byteLengthOf(weight.dtype, 1);
  const [from, to] = [own * size, columns * size];
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const start = Math.floor(offset / to);
    const end = Math.ceil((offset + length) / to);
    const bytes = await weight.bytes(start, end);
    const wide = new Uint8Array((end - start) * to);
    for (let row = 0; row < end - start; row++) wide.set(bytes.subarray(row * from, (row + 1) * from), row * to);
    return wide.subarray(offset - start * to, offset - start * to + length);
  };
  const source = {
    byteLength: rows * to,
    read,
    readInto: async (offset: number, target: Uint8Array) => target.set(await read(offset, target.byteLength)),
  };
  return denseWeight({ name: weight.name, dtype: weight.dtype as ByteDType, shape: [rows, columns], source });
}
