// Back to dense weights: for runtimes that know nothing of factors, and for techniques that need the whole matrix.
import {
  byteLengthOf,
  denseWeight,
  fromF32,
  restoredDType,
  type ByteSource,
  type FactoredWeight,
  type WeightTensor,
} from '@pith/tensor-core';
import type { LanguageModel } from '@pith/model';

/** Dtypes that restored weights are stored in. */
export type RestoredDType = 'f32' | 'f16' | 'bf16';

/** Options of {@link restoreDense}. */
export interface RestoreOptions {
  /** Dtype of the restored weights; that of the left factor, or of its scales, when left out. */
  readonly dtype?: RestoredDType;
}

/**
 * The model with each factored weight as one dense matrix, the product of its factors; all other weights are the same.
 * Nothing is computed until a weight is read.
 */
export function restoreDense(model: LanguageModel, options: RestoreOptions = {}): LanguageModel {
  const weights = new Map<string, WeightTensor>();
  for (const [name, weight] of model.weights) {
    weights.set(name, weight.kind === 'factored' ? restored(weight, options) : weight);
  }
  return Object.freeze({ ...model, weights });
}

function restored(weight: FactoredWeight, { dtype = dtypeOf(weight) }: RestoreOptions): WeightTensor {
  const { name, shape } = weight;
  return denseWeight({ name, dtype, shape, source: productBytes(weight, dtype) });
}

function dtypeOf({ left }: FactoredWeight): RestoredDType {
  const dtype = left.kind === 'quantized' ? restoredDType(left.scheme) : left.dtype;
  return dtype === 'f16' || dtype === 'bf16' ? dtype : 'f32';
}

/** The stored bytes of a product, computed row by row as they are read. */
function productBytes(weight: FactoredWeight, dtype: RestoredDType): ByteSource {
  const [rows, columns] = weight.shape as [number, number];
  const rowBytes = byteLengthOf(dtype, columns);
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    const [first, last] = [Math.floor(offset / rowBytes), Math.ceil((offset + length) / rowBytes)];
    const bytes = fromF32(dtype, await weight.toF32(first, last));
    return bytes.subarray(offset - first * rowBytes, offset - first * rowBytes + length);
  };
  return {
    byteLength: rows * rowBytes,
    read,
    readInto: async (offset, target) => target.set(await read(offset, target.byteLength)),
  };
}
