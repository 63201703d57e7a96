// A weight of any representation as a dense one, restored when its bytes are read.
import {
  denseWeight,
  fromF32,
  PithError,
  restoredDType,
  type DenseWeight,
  type DType,
  type WeightTensor,
} from '@pith/tensor-core';

/** Dtypes that weights are restored to. */
export type RestoredDType = 'f32' | 'f16' | 'bf16';

/**
 * A dense weight whose bytes are restored when they are read.
 *
 * @param dtype that of the weight before it was compressed when left out, as far as the weight tells.
 * @throws PithError `WEIGHT_OVERFLOWS` on reading, where a value is too large for f16.
 */
export function restoredWeight(weight: WeightTensor, dtype: RestoredDType = dtypeOf(weight)): DenseWeight {
  const { name, shape } = weight;
  if (weight.kind === 'dense' && weight.dtype === dtype) return weight;
  const rows = shape[0] ?? 1;
  const size = dtype === 'f32' ? 4 : 2;
  const byteLength = size * shape.reduce((a, b) => a * b, 1);
  const rowBytes = byteLength / Math.max(1, rows);
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const start = Math.floor(offset / rowBytes);
    const end = Math.ceil((offset + length) / rowBytes);
    const values = await weight.toF32(start, end);
    if (dtype === 'f16') refuseOverflow(name, values);
    const bytes = fromF32(dtype, values);
    return bytes.subarray(offset - start * rowBytes, offset - start * rowBytes + length);
  };
  return denseWeight({
    name,
    dtype,
    shape,
    source: {
      byteLength,
      read,
      readInto: async (offset, target) => target.set(await read(offset, target.byteLength)),
    },
  });
}

/** Values from here on become infinite in f16. */
const F16_OVERFLOW = 65_520;

/** @throws PithError `WEIGHT_OVERFLOWS` for a finite value that f16 cannot hold. */
export function refuseOverflow(name: string, values: Float32Array): void {
  for (const value of values) {
    if (Math.abs(value) < F16_OVERFLOW || !Number.isFinite(value)) continue;
    throw new PithError(
      'WEIGHT_OVERFLOWS',
      `store ${name} as f16: values must be below ${F16_OVERFLOW}, got ${value}; choose bf16 or f32`,
      { details: { tensor: name, value } },
    );
  }
}

/** The dtype that a weight had, as far as it tells: scales are stored in it. */
export function dtypeOf(weight: WeightTensor): RestoredDType {
  const dtype: DType = weight.kind === 'quantized' ? restoredDType(weight.scheme) : factorDType(weight);
  return dtype === 'f16' || dtype === 'bf16' ? dtype : 'f32';
}

function factorDType(weight: Exclude<WeightTensor, { kind: 'quantized' }>): DType {
  return weight.kind === 'factored' ? dtypeOf(weight.left) : weight.dtype;
}
