// The calibration windows of a recipe: the same tokens for every stage.
import { calibrationWindows, cutWindows, tokensOf, type CalibrationWindows, type LanguageModel } from '@pith/model';
import type { Text } from '../evaluate/read-text.ts';
import type { Recipe, RecipeStage } from '../recipe/types.ts';

/** The calibration windows of a recipe. */
export function windowsOf(model: LanguageModel, text: Text, recipe: Recipe): CalibrationWindows {
  const { samples, context, choose = 'first' } = recipe.calibration!;
  return calibrationWindows(model, {
    ...text.content,
    ...(samples !== undefined && { samples }),
    ...(context !== undefined && { context }),
    choose,
    ...(choose === 'random' && { seed: recipe.seed ?? 0 }),
  });
}

/** The windows of a stage that trains on a text of its own: all of it, or so many of the first. */
export function dataWindows(
  model: LanguageModel,
  text: Text,
  { context, samples }: NonNullable<RecipeStage['data']>,
): readonly Int32Array[] {
  const { content } = text;
  const ids = 'ids' in content ? content.ids : tokensOf(model, content.text, 'training text');
  const cut = {
    operation: 'training text',
    ...(context !== undefined && { context }),
    ...(samples !== undefined && { maxWindows: samples }),
  };
  return cutWindows(model, ids, cut).windows;
}
