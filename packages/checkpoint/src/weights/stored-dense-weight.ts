// A stored tensor as a dense weight.
import { denseWeight, type DenseWeight } from '@pith/tensor-core';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { asConvertible } from '../safetensors/stored-dtype.ts';

/**
 * A tensor of a file as a {@link DenseWeight}; nothing is read. A scalar counts as one row.
 *
 * @throws PithError `DTYPE_NOT_CONVERTIBLE`.
 */
export function storedDenseWeight({ name, dtype, shape, source }: StoredTensor): DenseWeight {
  return denseWeight({ name, dtype: asConvertible(dtype, name), shape, source });
}
