// Stored weights to f32, one layer at a time.
import type { HostTensor, WeightTensor } from '@pith/tensor-core';
import type { BlockSpec } from '../architecture/architecture.ts';
import { blockTensors } from '../architecture/expected-tensors.ts';
import type { LanguageModel } from '../language-model.ts';

/** Weights of one block by checkpoint-independent name: `self_attn.q_proj.weight`. */
export type BlockWeights = Readonly<Record<string, HostTensor<'f32'>>>;

/** The name of a block's tensor relative to the block. */
export function localName(block: BlockSpec, name: string): string {
  return name.slice(block.path.length + 1);
}

/** Bytes that a block takes as f32. */
export function blockBytes(block: BlockSpec): number {
  const values = blockTensors(block).map(({ shape }) => shape.reduce((a, b) => a * b, 1));
  return 4 * values.reduce((a, b) => a + b, 0);
}

/** The stored weight of this name; the model was checked to have it. */
export function storedWeight(model: LanguageModel, name: string): WeightTensor {
  return model.weights.get(name)!;
}

/** Restores one tensor as a whole. */
export async function restoreTensor(model: LanguageModel, name: string): Promise<HostTensor<'f32'>> {
  const weight = storedWeight(model, name);
  return { dtype: 'f32', shape: weight.shape, data: await weight.toF32() };
}

/** Restores all weights of one block. */
export async function restoreBlock(model: LanguageModel, block: BlockSpec): Promise<BlockWeights> {
  const names = blockTensors(block).map(({ name }) => name);
  const tensors = await Promise.all(names.map((name) => restoreTensor(model, name)));
  return Object.fromEntries(names.map((name, i) => [localName(block, name), tensors[i]]));
}

/** Restoring rows that nobody asked for is cheaper than another read up to so many bytes. */
const GAP_BYTES = 2 ** 16;
/** Most bytes of rows restored at once. */
const GATHER_BYTES = 32 * 2 ** 20;

/**
 * Rows of a stored matrix, restored in runs so that a large matrix is never whole in memory.
 *
 * @param rows Row numbers, in any order, repeats allowed.
 * @returns f32 [rows.length, columns] row-major.
 */
export async function gatherRows(weight: WeightTensor, rows: Int32Array): Promise<Float32Array> {
  const columns = weight.shape[1];
  const result = new Float32Array(rows.length * columns);
  const order = Int32Array.from(rows.keys()).sort((a, b) => rows[a] - rows[b]);
  const gap = Math.max(1, Math.floor(GAP_BYTES / (4 * columns)));
  const longest = Math.max(1, Math.floor(GATHER_BYTES / (4 * columns)));
  for (let from = 0; from < order.length;) {
    const first = rows[order[from]];
    let to = from + 1;
    while (to < order.length && rows[order[to]] - rows[order[to - 1]] <= gap && rows[order[to]] - first < longest) {
      to++;
    }
    const run = await weight.toF32(first, rows[order[to - 1]] + 1);
    for (; from < to; from++) {
      const start = (rows[order[from]] - first) * columns;
      result.set(run.subarray(start, start + columns), order[from] * columns);
    }
  }
  return result;
}
