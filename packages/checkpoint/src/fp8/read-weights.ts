// Weights of `quant_method: "fp8"`, as DeepSeek publishes V3 and R1 and transformers' FineGrainedFP8Config writes them: codes in e4m3
// under the name of the dense weight, and for each tile of a matrix a scale in `<name>_scale_inv`, which multiplies the codes whatever
// its name says. Tiles at the edges are smaller.
//
// They are the `float-quantized` weights with `block` scales of compressed-tensors under another name, and are read as those. A runtime
// rounds inputs by tokens and as many columns as a tile has, where these divide the inputs; that it rounds their scales to powers of two (`scale_fmt: "ue8m0"`) is
// not followed.
import { z } from 'zod';
import { PithError, validationProblems, type WeightTensor } from '@pith/tensor-core';
import { readQuantizationConfig } from '../compressed-tensors/quantization-config.ts';
import { readCompressedWeights } from '../compressed-tensors/read-weights.ts';
import type { QuantizedSource } from '../formats/read-quantized.ts';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';

/** Ending of the names of scales here, and in compressed-tensors. */
const [OWN, SHARED] = ['.weight_scale_inv', '.weight_scale'] as const;
/** Largest side of a tile. */
const MAX_SIDE = 1_048_576;

const side = z.int().min(1).max(MAX_SIDE);

const schema = z.object({
  quant_method: z.literal('fp8'),
  fmt: z.literal('e4m3').nullish(),
  activation_scheme: z.literal('dynamic').nullish(),
  weight_block_size: z.tuple([side, side]).optional(),
});

/**
 * Reads a checkpoint's tensors as weights; those without scales are dense.
 *
 * @throws PithError `FP8_CONFIG_INVALID` (with what is not read: codes other than e4m3, static scales of inputs, one scale for a whole
 * matrix), `FP8_TENSOR_MISSING` (scales without a weight, codes without scales), and those of `readCompressedWeights`.
 */
export async function readFp8Weights(source: QuantizedSource): Promise<Map<string, WeightTensor>> {
  const { quantization, tensors, file } = source;
  const parsed = schema.safeParse(quantization, { reportInput: true });
  if (!parsed.success) {
    const problems = validationProblems(parsed.error).map(({ path, message }) => `${path}: ${message}`);
    throw new PithError(
      'FP8_CONFIG_INVALID',
      `read quantization_config: ${file} must describe codes in e4m3 with a scale for each tile, and inputs with dynamic scales: ` +
        `${problems.slice(0, 10).join('; ')}; start from the unquantized checkpoint`,
      { details: { file, problems } },
    );
  }
  const [rows, columns] = parsed.data.weight_block_size ?? [128, 128];
  const named = new Map<string, StoredTensor>();
  const scales: string[] = [];
  for (const [name, tensor] of tensors) {
    if (!name.endsWith(OWN)) {
      if (tensor.dtype === 'f8_e4m3' && !tensors.has(`${name}_scale_inv`)) {
        throw missing(tensor, `${name}_scale_inv`, 'codes must have their scales');
      }
      named.set(name, tensor);
      continue;
    }
    const weight = name.slice(0, -'_scale_inv'.length);
    if (!tensors.has(weight)) throw missing(tensor, weight, 'scales must have their weight');
    scales.push(name.slice(0, -OWN.length) + SHARED);
    named.set(scales.at(-1)!, tensor);
  }
  const float = { num_bits: 8, type: 'float', symmetric: true } as const;
  const config = readQuantizationConfig(
    {
      quant_method: 'compressed-tensors',
      format: 'float-quantized',
      config_groups: {
        fp8: {
          targets: ['Linear'],
          weights: { ...float, strategy: 'block', block_structure: [rows, columns], dynamic: false },
          input_activations: { ...float, strategy: 'group', group_size: columns, dynamic: true },
        },
      },
    },
    file,
  );
  const weights = await readCompressedWeights(named, config);
  // Tensors go by the names that they have in the file, which the reader does not know for scales.
  for (const name of scales) weights.delete(name);
  return new Map([...weights].map(([name, weight]) => [name, withinTiles(weight, columns)]));
}

/** Inputs that tiles do not divide are rounded by no runtime: nothing is said of them. */
function withinTiles(weight: WeightTensor, columns: number): WeightTensor {
  if (weight.kind !== 'quantized' || weight.shape[1]! % columns === 0) return weight;
  const { activations: _, ...rest } = weight;
  return Object.freeze(rest);
}

function missing({ name, file }: StoredTensor, wanted: string, why: string): PithError {
  return new PithError(
    'FP8_TENSOR_MISSING',
    `read fp8: ${why}: tensor ${JSON.stringify(name)} in ${file} must have ${JSON.stringify(wanted)} beside it, it has not; get the ` +
      'checkpoint again',
    { details: { tensor: name, file, missing: wanted } },
  );
}
