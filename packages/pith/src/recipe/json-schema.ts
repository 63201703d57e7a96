// The schema of recipes for editors and other tools.
import { z } from 'zod';
import { RecipeSchema } from './recipe-schema.ts';
import { STAGE_KINDS } from './stage-kinds.ts';

/** JSON Schema (draft 2020-12) of a recipe: the published `recipe.schema.json`. */
export function recipeJsonSchema(): Record<string, unknown> {
  const schema = z.toJSONSchema(RecipeSchema, { io: 'input' }) as unknown as Record<string, unknown> & {
    properties: { stages: { items: Record<string, unknown> } };
  };
  // Exactly one kind to a stage, which zod checks in code.
  schema.properties.stages.items['oneOf'] = STAGE_KINDS.map((kind) => ({ required: [kind] }));
  return { title: 'A recipe of Pith', ...schema };
}
