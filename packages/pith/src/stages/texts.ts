// The calibration windows of a recipe: the same tokens for every stage.
import { calibrationWindows, type CalibrationWindows, type LanguageModel } from '@pith/model';
import type { Text } from '../evaluate/read-text.ts';
import type { Recipe } from '../recipe/recipe-schema.ts';

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
