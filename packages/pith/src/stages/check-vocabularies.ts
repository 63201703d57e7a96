// Students and teachers have one vocabulary: asked of the models that a recipe starts from, before anything is written.
import { requireSameVocabulary } from '@pith/distill';
import type { PreparedRecipe } from './prepare-recipe.ts';

/**
 * Refuses teachers whose tokens are not those of their student. Stages change weights and sizes, never the vocabulary: what
 * holds for the models that a student and a teacher descend from holds for them.
 *
 * @param windowsOf the windows that a step trains on, by its id.
 * @throws PithError `DISTILL_VOCABULARY` with the share of the text that maps.
 */
export function requireSameVocabularies(
  { steps, sources }: Pick<PreparedRecipe, 'steps' | 'sources'>,
  windowsOf: (id: string) => readonly Int32Array[],
): void {
  const byId = new Map(steps.map((step) => [step.id, step]));
  const rootOf = (name: string) => {
    let root = name;
    for (let step = byId.get(root); step !== undefined; step = byId.get(root)) root = step.from;
    return sources.get(root)!.model;
  };
  for (const { id, from, teachers } of steps) {
    for (const teacher of teachers) requireSameVocabulary(rootOf(from), rootOf(teacher), windowsOf(id));
  }
}
