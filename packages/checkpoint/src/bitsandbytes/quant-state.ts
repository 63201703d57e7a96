// What bitsandbytes keeps of a 4-bit weight beside its codes: a JSON text in a tensor of bytes, named after the table.
//
// Source: bitsandbytes 0.50, `QuantState.as_dict(packed=True)`.
import type { CodeTable, ScaleDType } from '@pith/tensor-core';
import { z } from 'zod';
import { FormatFaults } from '../formats/read-modules.ts';
import { isPithError } from '@pith/tensor-core';
import { parseJsonObject } from '../json/parse-json.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';

/** Most bytes of a state; real ones have less than 200. */
const MOST_BYTES = 4096;

export const bnbFaults = new FormatFaults('BNB', 'bitsandbytes');

/** The last part of the name of a state. */
export const STATE_SUFFIX: Readonly<Record<CodeTable, string>> = {
  nf4: 'quant_state.bitsandbytes__nf4',
  fp4: 'quant_state.bitsandbytes__fp4',
};

const BLOCK_SIZES: readonly number[] = [32, 64, 128, 256, 512, 1024, 2048, 4096];
export const TORCH_DTYPES: Readonly<Record<ScaleDType, string>> = { f32: 'float32', f16: 'float16', bf16: 'bfloat16' };

const state = z.object({
  quant_type: z.enum(['nf4', 'fp4']),
  blocksize: z.int().refine((size) => BLOCK_SIZES.includes(size), `must be one of ${BLOCK_SIZES.join(', ')}`),
  dtype: z.enum(['float32', 'float16', 'bfloat16']),
  shape: z.tuple([z.int().min(1), z.int().min(1)]),
  nested_blocksize: z.int().min(1).max(4096).optional(),
  nested_dtype: z.literal('float32').optional(),
  nested_offset: z.number().optional(),
});

/** How a 4-bit weight is to be read. */
export interface QuantState {
  readonly table: CodeTable;
  readonly blockSize: number;
  readonly valueDType: ScaleDType;
  readonly shape: readonly [rows: number, columns: number];
  /** Of absolute maxima that are coded themselves. */
  readonly nested?: { readonly blockSize: number; readonly offset: number };
}

/**
 * Reads a state.
 *
 * @throws PithError `BNB_TENSORS_INVALID` for one that is too long or no JSON, `BNB_CONFIG_INVALID` for values that it cannot
 * have.
 */
export async function readQuantState(tensor: StoredTensor, module: string): Promise<QuantState> {
  const { dtype, shape, byteLength, file } = tensor;
  if (dtype !== 'u8' || shape.length !== 1 || byteLength > MOST_BYTES) {
    throw bnbFaults.tensors(
      module,
      file,
      `its state must be at most ${MOST_BYTES} bytes, it is ${dtype} [${shape.join(', ')}]`,
    );
  }
  const bytes = await tensor.source.read(0, byteLength);
  let object;
  try {
    object = parseJsonObject(bytes, { operation: 'read bitsandbytes', file: tensor.name });
  } catch (error) {
    if (!isPithError(error)) throw error;
    throw bnbFaults.tensors(module, file, `its state must be JSON (${error.message})`);
  }
  const given = bnbFaults.config(state, object, `the state of ${module}`);
  const { nested_blocksize: blockSize, nested_offset: offset } = given;
  if ((blockSize === undefined) !== (offset === undefined)) {
    throw bnbFaults.tensors(module, file, 'its state must have both nested_blocksize and nested_offset, or neither');
  }
  return {
    table: given.quant_type,
    blockSize: given.blocksize,
    valueDType: given.dtype === 'float32' ? 'f32' : given.dtype === 'float16' ? 'f16' : 'bf16',
    shape: given.shape,
    ...(blockSize !== undefined && offset !== undefined && { nested: { blockSize, offset } }),
  };
}

/** The bytes of a state, with Python's spelling of JSON. */
export function quantStateBytes({ table, blockSize, valueDType, shape, nested }: QuantState): Uint8Array {
  const parts = [
    `"quant_type": "${table}"`,
    `"blocksize": ${blockSize}`,
    `"dtype": "${TORCH_DTYPES[valueDType]}"`,
    `"shape": [${shape.join(', ')}]`,
    ...(nested === undefined
      ? []
      : [`"nested_blocksize": ${nested.blockSize}`, '"nested_dtype": "float32"', `"nested_offset": ${nested.offset}`]),
  ];
  return new TextEncoder().encode(`{${parts.join(', ')}}`);
}
