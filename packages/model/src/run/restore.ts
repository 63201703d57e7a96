// Stored weights to f32, one layer at a time.
import { toF32 } from '@pith/tensor-core';
import type { HostTensor, WeightTensor } from '@pith/tensor-core';
import type { BlockSpec } from '../architecture/architecture.ts';
import type { LanguageModel } from '../language-model.ts';
import { storedInputs } from './linear-form.ts';

/** Weights of one block by checkpoint-independent name: `self_attn.q_proj.weight`. */
export type BlockWeights = Readonly<Record<string, HostTensor<'f32'>>>;

/** The name of a block's tensor relative to the block. */
export function localName(block: BlockSpec, name: string): string {
  return name.slice(block.path.length + 1);
}

/** The stored weight of this name; the model was checked to have it. */
export function storedWeight(model: LanguageModel, name: string): WeightTensor {
  return model.weights.get(name)!;
}

/** Most f32 bytes restored in one go: what lies between the file and the array is never more than a few of these. */
const PIECE_BYTES = 8 * 2 ** 20;

/** Arrays that restored tensors are written to again and again, by a name of the caller's choice. */
export type RestoreBuffers = Map<string, Float32Array>;

/** An array of this length from the buffers, made when there is none. */
function bufferOf(buffers: RestoreBuffers | undefined, key: string, length: number): Float32Array {
  const known = buffers?.get(key);
  if (known?.length === length) return known;
  const made = new Float32Array(length);
  buffers?.set(key, made);
  return made;
}

/**
 * Restores rows `start` to `end` (exclusive) of a stored weight, in pieces.
 *
 * @param buffers Where given, the result is written to the array under `key` and overwritten by the next call with it.
 * @returns f32 [end - start, ...shape.slice(1)].
 */
export async function restoreRows(
  weight: WeightTensor,
  [start, end]: readonly [number, number] = [0, weight.shape[0]],
  buffers?: RestoreBuffers,
  key: string = weight.name,
): Promise<HostTensor<'f32'>> {
  const columns = weight.shape.slice(1).reduce((a, b) => a * b, 1);
  const data = bufferOf(buffers, key, (end - start) * columns);
  const rowsPerPiece = Math.max(1, Math.floor(PIECE_BYTES / (4 * columns)));
  for (let from = start; from < end; from += rowsPerPiece) {
    const to = Math.min(end, from + rowsPerPiece);
    const piece = data.subarray((from - start) * columns, (to - start) * columns);
    if (weight.kind === 'dense') toF32(weight.dtype, await weight.bytes(from, to), piece);
    else piece.set(await weight.toF32(from, to));
  }
  return { dtype: 'f32', shape: [end - start, ...weight.shape.slice(1)], data };
}

/**
 * Restores all weights of one block; of a factored one the two factors.
 *
 * @param buffers Where given, the weights are written there and overwritten by the next call with it.
 */
export async function restoreBlock(
  model: LanguageModel,
  block: BlockSpec,
  buffers?: RestoreBuffers,
): Promise<BlockWeights> {
  const restored = storedInputs(block, model.weights).map(async ([name, weight]) => {
    const local = localName(block, name);
    return [local, await restoreRows(weight, undefined, buffers, local)] as const;
  });
  return Object.fromEntries(await Promise.all(restored));
}

/** Restoring rows that nobody asked for is cheaper than another read up to so many bytes. */
const GAP_BYTES = 2 ** 16;
/** Most bytes of rows restored at once. */
const GATHER_BYTES = 8 * 2 ** 20;

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
