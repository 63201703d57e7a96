// The output projection in slices of the vocabulary, so that neither its f32 weights nor the logits are ever whole in
// memory.
import type { HostTensor } from '@pith/tensor-core';
import type { LanguageModel } from '../language-model.ts';
import type { HeadWeights } from './head-programs.ts';
import { restoreTensor, storedWeight } from './restore.ts';

/** Rows `start` to `end` (exclusive) of the output projection. */
export interface VocabularySlice {
  readonly start: number;
  readonly end: number;
}

/** Cuts a vocabulary into slices of `length`, the last one shorter. */
export function vocabularySlices(vocabulary: number, length: number): VocabularySlice[] {
  return Array.from({ length: Math.ceil(vocabulary / length) }, (_, i) => ({
    start: i * length,
    end: Math.min((i + 1) * length, vocabulary),
  }));
}

/** Restores the final norm and a slice of the output projection. */
export async function restoreHead(model: LanguageModel, { start, end }: VocabularySlice): Promise<HeadWeights> {
  const { head, finalNorm } = model.architecture;
  const slice = async (name: string): Promise<HostTensor<'f32'>> => {
    const weight = storedWeight(model, name);
    return { dtype: 'f32', shape: [end - start, ...weight.shape.slice(1)], data: await weight.toF32(start, end) };
  };
  const [norm, matrix, bias] = await Promise.all([
    restoreTensor(model, finalNorm.name),
    slice(head.name),
    head.biasName === null ? undefined : slice(head.biasName),
  ]);
  return { finalNorm: norm, head: matrix, ...(bias && { bias }) };
}

/** Targets counted from the start of a slice, those outside clamped into it. */
export function clampTargets(targets: Int32Array, { start, end }: VocabularySlice): Int32Array {
  return targets.map((id) => Math.min(Math.max(id, start), end - 1) - start);
}
