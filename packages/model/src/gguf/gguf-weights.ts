// The weights of a model out of the tensors of a GGUF file: the way back of `gguf-tensors.ts`.
import type { GgufTensor } from '@pith/checkpoint';
import { PithError, type WeightTensor } from '@pith/tensor-core';
import { rulesOf, type GgufFamily } from './gguf-family.ts';
import { blockWeight } from './stored-blocks.ts';

/** What {@link ggufWeights} needs to know of a file. */
export interface GgufWeightFacts {
  /** How its architecture is laid out. */
  readonly family: GgufFamily;
  /** Blocks. */
  readonly layers: number;
  /** Length of a head. */
  readonly headDim: number;
  /** Tensors by name. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** Label of the file in errors. */
  readonly file: string;
}

/** Tensors that hold no weights: factors of the rotary embedding, which are part of the config. */
const CONSTANTS = /^(rope_freqs|rope_factors_long|rope_factors_short|blk\.\d+\.attn_rot_embd)\.weight$/;

/**
 * Every weight by its name in a checkpoint; nothing is read.
 *
 * @throws PithError `GGUF_TENSOR_UNKNOWN` (a tensor that the architecture does not have).
 */
export function ggufWeights({ family, layers, headDim, tensors, file }: GgufWeightFacts): Map<string, WeightTensor> {
  const weights = new Map<string, WeightTensor>();
  const left = new Set([...tensors.keys()].filter((name) => !CONSTANTS.test(name)));
  for (const { gguf, hf, rows } of rulesOf(family, layers)) {
    for (const suffix of ['weight', 'bias']) {
      const tensor = tensors.get(`${gguf}.${suffix}`);
      if (tensor === undefined) continue;
      left.delete(tensor.name);
      const name = `${hf}.${suffix}`;
      const { shape } = tensor;
      const rowOrder = rows === 'rotary' ? halvedRows(shape[0]!, headDim, tensor.name, file) : undefined;
      weights.set(name, blockWeight({ name, shape, tensor, file, ...(rowOrder && { rowOrder }) }));
    }
  }
  const [unknown] = left;
  if (unknown === undefined) return weights;
  throw new PithError(
    'GGUF_TENSOR_UNKNOWN',
    `open GGUF: ${file}: ${unknown} is no tensor of the architecture ${family.architecture}; open the model that the file was made from`,
    { details: { file, tensor: unknown, unknown: [...left].slice(0, 16), architecture: family.architecture } },
  );
}

/** Which row of the file is row i of the weight: the way back of llama.cpp's order of rotated heads. */
function halvedRows(rows: number, headDim: number, tensor: string, file: string): Int32Array {
  if (headDim % 2 !== 0 || rows % headDim !== 0) {
    throw new PithError(
      'GGUF_SHAPE_INVALID',
      `open GGUF: ${file}: ${tensor} must have whole heads of an even length, got ${rows} rows and heads of ${headDim}; the file is damaged`,
      { details: { file, tensor, rows, headDim } },
    );
  }
  const half = headDim / 2;
  return Int32Array.from({ length: rows }, (_, row) => {
    const within = row % headDim;
    return row - within + (within < half ? 2 * within : 2 * (within - half) + 1);
  });
}
