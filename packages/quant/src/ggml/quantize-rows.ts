// Rows in memory to ggml's blocks, in any environment.
import { denseWeight, localHost, memoryBytes, type KernelHost } from '@pith/tensor-core';
import { ggmlByteLength } from './ggml-kernel.ts';
import type { GgmlWritableType } from './ggml-types.ts';
import { BLOCK_TYPES } from './quantize-blocks.ts';
import { quantizeGgmlInto } from './quantize-into.ts';

/** Every type that can be written. */
export const GGML_WRITABLE_TYPES: readonly GgmlWritableType[] = ['f32', ...BLOCK_TYPES];

/**
 * Codes rows as ggml does, byte for byte; but in IQ3_S, where all 32 values of a sub-block are zeros, and ggml's own bytes restore to
 * something else.
 *
 * @param values f32 [rows, columns] row-major, all finite.
 * @param columns a multiple of the type's block: 32, or 256 for the k-quants, IQ1 to IQ3, IQ4_XS, TQ1_0 and TQ2_0.
 * @param importance f32 [columns]: how much an error in each column counts; all alike when left out, which
 * IQ2_XXS, IQ2_XS and IQ1_S do not allow.
 * @param host what to run on: a `KernelPool`, or this thread when left out.
 * @returns the blocks of the rows, one row after the other.
 * @throws PithError as `quantizeGgmlInto`.
 */
export async function quantizeGgmlRows(
  type: GgmlWritableType,
  values: Float32Array,
  columns: number,
  importance?: Float32Array,
  host: KernelHost = localHost(),
): Promise<Uint8Array> {
  const shape = [values.length / columns, columns];
  const source = memoryBytes(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  const weight = denseWeight({ name: 'rows', dtype: 'f32', shape, source });
  const bytes = new Uint8Array(ggmlByteLength(type, shape, 'rows'));
  await quantizeGgmlInto({ weight, type, importance }, { kind: 'memory', bytes }, { host });
  return bytes;
}
