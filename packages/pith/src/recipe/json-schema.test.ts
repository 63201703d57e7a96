import { expect, it } from 'vitest';
import { recipeJsonSchema } from './json-schema.ts';

it('is the published recipe.schema.json (run vitest with -u to bring it up to date)', async () => {
  await expect(JSON.stringify(recipeJsonSchema(), null, 2) + '\n').toMatchFileSnapshot('../../recipe.schema.json');
});

it('says what a stage is', () => {
  const schema = recipeJsonSchema() as { properties: { stages: { items: { oneOf: unknown; properties: object } } } };
  const { items } = schema.properties.stages;
  expect(items.oneOf).toEqual(['prune', 'factorize', 'distill', 'quantize'].map((kind) => ({ required: [kind] })));
  expect(Object.keys(items.properties)).toEqual(expect.arrayContaining(['id', 'from', 'teacher', 'data', 'prune']));
});
