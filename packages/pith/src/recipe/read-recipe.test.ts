import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defineRecipe, parseRecipe, readRecipe } from './read-recipe.ts';
import type { Recipe } from './types.ts';

let root: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-recipe-'));
});
afterAll(() => rmSync(root, { recursive: true }));

const stages = (...lines: string[]): string => `version: 1\nstages:\n${lines.map((line) => `  - ${line}\n`).join('')}`;
const failure = (text: string): { code: string; message: string } => {
  try {
    parseRecipe(text);
  } catch (error) {
    return error as { code: string; message: string };
  }
  throw new Error('the recipe was accepted');
};

describe('a recipe', () => {
  it('is read from YAML, frozen, with paths that count from its directory', async () => {
    const path = join(root, 'recipe.yaml');
    writeFileSync(
      path,
      'calibration: { text: texts/a.txt, samples: 8 }\nmodels: { small: ../small }\n' +
        stages('prune: { method: wanda, sparsity: 0.5 }', 'quantize: { method: gptq, scheme: w4 }'),
    );
    const recipe = await readRecipe(path);
    expect(recipe).toMatchObject({
      version: 1,
      calibration: { text: join(root, 'texts/a.txt'), samples: 8 },
      models: { small: join(root, '../small') },
      stages: [{ prune: { method: 'wanda' } }, { quantize: { method: 'gptq' } }],
    });
  });

  it('may be JSON, and an object', () => {
    const recipe: Recipe = { version: 1, stages: [{ quantize: { method: 'rtn', scheme: 'w8' } }] };
    expect(parseRecipe(JSON.stringify(recipe))).toEqual(defineRecipe(recipe));
    expect(Object.isFrozen(defineRecipe(recipe))).toBe(true);
  });

  it.each([
    ['an unknown key', stages('quantise: { method: rtn, scheme: w4 }'), 'quantise: unknown, did you mean quantize?'],
    ['an unknown option', stages('quantize: { method: rtn, shceme: w4 }'), 'shceme: unknown, did you mean scheme?'],
    ['an unknown method', stages('prune: { method: wnada, sparsity: 0.5 }'), 'did you mean wanda?'],
    [
      'two kinds in a stage',
      stages('{ prune: { method: wanda, sparsity: 0.5 }, quantize: { method: rtn, scheme: w4 } }'),
      'exactly one of prune, factorize, distill, quantize, it has prune and quantize',
    ],
    ['a stage of nothing', stages('{ id: a }'), 'it has none'],
    ['no stages', 'version: 1\nstages: []', 'at least 1'],
    ['another version', 'version: 2\nstages: [{ quantize: { method: rtn, scheme: w4 } }]', 'version'],
    [
      'an id that is taken by the source',
      stages('{ id: source, quantize: { method: rtn, scheme: w4 } }'),
      'must not be "source"',
    ],
    [
      'a teacher for a method that learns from none',
      stages('{ teacher: source, quantize: { method: gptq, scheme: w4 } }'),
      'gptq learns from no teacher',
    ],
    [
      'a text for a method that does not train',
      stages('{ data: { text: a }, quantize: { method: gptq, scheme: w4 } }'),
      'gptq does not train',
    ],
    [
      'an option that is left to no budget',
      stages('quantize: { method: rtn, scheme: fit }'),
      'stages[0].quantize.scheme: "fit" leaves it to a budget, and the recipe has none',
    ],
    [
      'two options that are left to the budget',
      `budget: { size: 1MB }\n${stages('factorize: { method: svd, ratio: fit }', 'quantize: { method: rtn, scheme: fit }')}`,
      'stages[1].quantize.scheme: one option may be left to the budget, and stages[0].factorize.ratio is',
    ],
    [
      'a budget of no size',
      `budget: { size: huge }\n${stages('quantize: { method: rtn, scheme: w4 }')}`,
      'such as 500MB',
    ],
    [
      'a budget of two limits',
      `budget: { size: 1MB, bitsPerWeight: 4 }\n${stages('quantize: { method: rtn, scheme: w4 }')}`,
      'exactly one of size, bitsPerWeight, it has both',
    ],
    [
      'values for no option',
      `budget: { size: 1MB, try: [w4] }\n${stages('quantize: { method: rtn, scheme: w4 }')}`,
      'budget.try: has values for an option that says "fit", and none does',
    ],
    [
      'shares where a scheme is left open',
      `budget: { size: 1MB, try: [w4, 0.5] }\n${stages('quantize: { method: rtn, scheme: fit }')}`,
      'budget.try[1]: must be the name of a scheme, got 0.5',
    ],
    [
      'schemes where a share is left open',
      `budget: { size: 1MB, try: [w4, 1.5] }\n${stages('factorize: { method: svd, ratio: fit }')}`,
      'budget.try[1]: must be a share of more than 0 and less than 1, got 1.5',
    ],
  ])('is refused for %s', (_, text, message) => {
    const found = failure(text);
    expect(found.code).toBe('RECIPE_INVALID');
    expect(found.message).toContain(message);
  });

  it('lists every offender at once', () => {
    const { message } = failure(
      stages('prune: { method: wanda, sparsty: 0.5 }', 'quantize: { method: gptq, schem: w4 }'),
    );
    expect(message).toContain('sparsty');
    expect(message).toContain('schem');
  });

  it.each([
    [
      'an unknown model',
      stages('{ from: surce, quantize: { method: rtn, scheme: w4 } }'),
      'there is no model "surce"; known are source, stage-1; did you mean source?',
    ],
    [
      'an id that is taken',
      stages('{ id: a, prune: { method: wanda, sparsity: 0.5 } }', '{ id: a, quantize: { method: rtn, scheme: w4 } }'),
      '"a" is taken',
    ],
    [
      'a circle',
      stages(
        '{ id: a, from: b, prune: { method: wanda, sparsity: 0.5 } }',
        '{ id: b, quantize: { method: rtn, scheme: w4 } }',
      ),
      'go round in a circle: a needs b needs a',
    ],
    ['a stage that needs itself', stages('{ id: a, from: a, quantize: { method: rtn, scheme: w4 } }'), 'a needs a'],
    [
      'a stage that leads to nothing',
      stages(
        '{ id: a, prune: { method: wanda, sparsity: 0.5 } }',
        '{ from: source, quantize: { method: rtn, scheme: w4 } }',
      ),
      'stage "a" leads to nothing',
    ],
  ])('is refused for %s', (_, text, message) => {
    const found = failure(text);
    expect(found.code).toBe('RECIPE_REFERENCE');
    expect(found.message).toContain(message);
  });

  it.each([
    ['tags that make objects', 'x: !!js/function "return 1"'],
    ['keys that are taken twice', 'version: 1\nversion: 1'],
    ['keys that are collections', '? [a]\n: 1'],
    ['aliases without an anchor', 'a: *b'],
    ['what is no YAML', 'a: [1'],
    [
      'aliases that multiply',
      'a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d]',
    ],
    ['brackets nested without end', '['.repeat(50_000)],
  ])('is refused for %s', (_, text) => {
    expect(failure(text).code).toMatch(/^RECIPE_(NOT_YAML|TOO_LARGE)$/);
  });

  it('cannot be large', () => {
    expect(failure(`# ${'x'.repeat(2_000_000)}`).code).toBe('RECIPE_TOO_LARGE');
    expect(failure(`a: [${'1,'.repeat(30_000)}1]`).code).toBe('RECIPE_TOO_LARGE');
  });

  it('must be there', async () => {
    await expect(readRecipe(join(root, 'absent.yaml'))).rejects.toMatchObject({ code: 'RECIPE_NOT_READABLE' });
    await expect(readRecipe(root)).rejects.toMatchObject({ code: 'RECIPE_NOT_READABLE' });
  });

  it('pollutes no prototype', () => {
    expect(failure('__proto__: { polluted: 1 }\nversion: 1\nstages: []').code).toBe('RECIPE_INVALID');
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
  });
});
