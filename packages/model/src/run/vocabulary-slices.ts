// The output projection in slices of the vocabulary, so that neither its f32 weights nor the logits are ever whole in
// memory.
import { finishTensors } from '../architecture/expected-tensors.ts';
import type { LanguageModel } from '../language-model.ts';
import type { HeadWeights } from './head-programs.ts';
import { restoreRows, storedWeight } from './restore.ts';
import type { RestoreBuffers } from './restore.ts';

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

/**
 * Restores what stands before the output projection and a slice of the output projection.
 *
 * @param buffers Where given, the weights are written there and overwritten by the next call with it.
 */
export async function restoreHead(
  model: LanguageModel,
  { start, end }: VocabularySlice,
  buffers?: RestoreBuffers,
): Promise<HeadWeights> {
  const { head } = model.architecture;
  const rows = (name: string, range?: readonly [number, number]) =>
    restoreRows(storedWeight(model, name), range, buffers);
  const before = finishTensors(model.architecture).map(async ({ name }) => [name, await rows(name)] as const);
  const [finish, matrix, bias] = await Promise.all([
    Promise.all(before),
    rows(head.name, [start, end]),
    head.biasName === null ? undefined : rows(head.biasName, [start, end]),
  ]);
  return { finish: new Map(finish), head: matrix, ...(bias && { bias }) };
}

/** Targets counted from the start of a slice, those outside clamped into it. */
export function clampTargets(targets: Int32Array, { start, end }: VocabularySlice): Int32Array {
  return targets.map((id) => Math.min(Math.max(id, start), end - 1) - start);
}
