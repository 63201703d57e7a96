// A model whose weights are rounded as an export to ONNX rounds them, for Pith's own evaluation: what a runtime must compute.
import type { LanguageModel, OnnxOptions, StaticInputs } from '@pith/model';
import { localHost } from '@pith/tensor-core';
import type { ActivationQuantization, WeightTensor } from '@pith/tensor-core';
import { roundWeight } from './round-weight.ts';
import { parseVariant } from './variant.ts';

const TOKEN_INPUTS: ActivationQuantization = { kind: 'token-dynamic', dtype: 'i8', symmetric: true };

/**
 * The model of a variant: embedding and head in blocks of 8-bit codes, linears of the blocks as the variant says; `int8-token` and
 * `int8-static` with inputs rounded where evaluation is asked for that.
 *
 * @param inputs Static roundings of inputs.
 */
export async function roundedModel(
  model: LanguageModel,
  variant: string,
  inputs?: StaticInputs,
): Promise<LanguageModel> {
  const { storage } = parseVariant(variant)!;
  const { architecture } = model;
  const weights = new Map(model.weights);
  const put = async (name: string, options: Pick<OnnxOptions, 'weights' | 'blockSize' | 'symmetric' | 'dtype'>) => {
    const weight = model.weights.get(name)!;
    weights.set(name, await restored(weight, options));
  };
  const { embedding, head, blocks } = architecture;
  const table = { ...storage, weights: 'q8', symmetric: true } as const;
  for (const name of new Set([embedding.name, head.name])) await put(name, table);
  for (const { name } of blocks.flatMap(({ linears }) => linears)) {
    if (storage.weights !== 'int8') {
      await put(name, storage);
      continue;
    }
    const weight = model.weights.get(name)!;
    const rounding = {
      bits: 8,
      groupSize: null,
      symmetric: true,
      scaleDType: 'f32',
      columns: weight.shape[1]!,
    } as const;
    const rounded = await roundWeight(weight, rounding, localHost());
    const activations = inputs?.get(name) ?? (variant === 'int8-token' ? TOKEN_INPUTS : undefined);
    weights.set(name, { ...rounded, ...(activations && { activations }) });
  }
  return { ...model, weights };
}

/** Rounded in blocks and restored, as a dense weight. */
async function restored(
  weight: WeightTensor,
  { weights, blockSize, symmetric, dtype }: Pick<OnnxOptions, 'weights' | 'blockSize' | 'symmetric' | 'dtype'>,
): Promise<WeightTensor> {
  const [, columns] = weight.shape as readonly [number, number];
  const bits = weights === 'q8' ? 8 : 4;
  const groupSize = bits === 8 ? ([128, 64, 32].find((size) => columns % size === 0) ?? 32) : blockSize;
  const wide = Math.ceil(columns / groupSize) * groupSize;
  const rounding = { bits, groupSize, symmetric: bits === 8 || symmetric, scaleDType: dtype, columns: wide } as const;
  const made = await roundWeight(weight, rounding, localHost());
  const values = async (start?: number, end?: number) => narrow(await made.toF32(start, end), wide, columns);
  return {
    ...weight,
    toF32: values,
    ...('bytes' in weight && {
      bytes: async (start?: number, end?: number) => new Uint8Array((await values(start, end)).buffer),
    }),
    ...('dtype' in weight && { dtype: 'f32' as const }),
  } as WeightTensor;
}

function narrow(values: Float32Array, wide: number, columns: number): Float32Array {
  if (wide === columns) return values.slice();
  const rows = values.length / wide;
  const result = new Float32Array(rows * columns);
  for (let row = 0; row < rows; row++) result.set(values.subarray(row * wide, row * wide + columns), row * columns);
  return result;
}
