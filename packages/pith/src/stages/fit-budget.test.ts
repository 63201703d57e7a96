// Budgets: the gentlest value that fits is taken, what cannot be reached is refused before any work, and the artefact is as
// large as was planned.
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasShared, shared } from '@pith-tooling/vitest/shared';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FITTED_SCHEMES } from '../recipe/budget.ts';
import type { Recipe, RecipeBudget, RecipeStage } from '../recipe/types.ts';
import { readReceipt } from '../receipt/receipt.ts';
import { compress, planRecipe } from '../run/compress.ts';
import { writeSyntheticModel } from '../testing/synthetic-model.fixture.ts';
import { verify } from '../verify/verify.ts';

let root: string;
let model: string;
let ids: string;
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'pith-budget-'));
  model = join(root, 'model');
  writeSyntheticModel(model, { layers: 2, hidden: 64, feedForward: 128, vocabulary: 64 });
  ids = join(root, 'ids.json');
  writeFileSync(ids, JSON.stringify(Array.from({ length: 600 }, (_, i) => (i * 37 + ((i * i) % 11)) % 64)));
});
afterAll(() => rmSync(root, { recursive: true }));

const recipe = (budget: RecipeBudget, ...stages: RecipeStage[]): Recipe => ({ version: 1, budget, stages });
const rtn = (scheme: string): RecipeStage => ({ quantize: { method: 'rtn', scheme } });
const plan = (budget: RecipeBudget, ...stages: RecipeStage[]) =>
  planRecipe(model, { recipe: recipe(budget, ...stages) });
const sizeWith = async (...stages: RecipeStage[]) =>
  (await planRecipe(model, { recipe: { version: 1, stages } })).bytesAfter;

describe('a scheme that is left to the budget', () => {
  it('is the first of the list that fits', async () => {
    const sizes = await Promise.all(
      FITTED_SCHEMES.map(async (scheme) => [scheme, await sizeWith(rtn(scheme))] as const),
    );
    const bytes = new Map(sizes.filter(([, size]) => size > 0));
    for (const scheme of ['w8', 'w4', 'w3g64', 'w2']) {
      const size = bytes.get(scheme)!;
      const { options, bytesAfter, problems, notices } = await plan({ size: `${size}B` }, rtn('fit'));
      expect(problems).toEqual([]);
      const { chosen } = options['budget'] as { chosen: { option: string; value: string } };
      const first = FITTED_SCHEMES.find((one) => bytes.get(one)! <= size)!;
      expect(chosen).toEqual({ option: 'stages[0].quantize.scheme', value: first });
      expect(bytesAfter).toBe(bytes.get(first));
      expect(notices.at(-1)).toContain(`stages[0].quantize.scheme is ${first}`);
    }
  });

  it('is taken from the values of the recipe, and passes over what does not divide', async () => {
    // A row of 64 does not divide into groups of 128.
    const { options, notices, problems } = await plan({ bitsPerWeight: 9, try: ['w4g128', 'w4g32', 'w4'] }, rtn('fit'));
    expect(problems).toEqual([]);
    expect(options['budget']).toMatchObject({ bitsPerWeight: 9, chosen: { value: 'w4g32' } });
    expect(notices.at(-1)).toMatch(/w4g128 does not go: .*128/);
  });

  it('is written as planned, and the receipt says what was chosen', async () => {
    const output = join(root, 'out');
    const limit = await sizeWith(rtn('w4'));
    const result = await compress(model, { recipe: recipe({ size: limit }, rtn('fit')), output });
    expect(result.bytesAfter).toBeLessThanOrEqual(limit);
    expect(statSync(join(output, 'model.safetensors')).size).toBe(result.bytesAfter);
    expect((await readReceipt(output)).options).toMatchObject({
      budget: { bytes: limit, chosen: { option: 'stages[0].quantize.scheme', value: 'w4' } },
    });
    expect(await verify(output)).toMatchObject({ ok: true });
  });

  it('may be that of what sparsegpt quantizes', async () => {
    const stage: RecipeStage = { prune: { method: 'sparsegpt', pattern: '2:4', quantize: { scheme: 'fit' } } };
    const made = await planRecipe(model, {
      recipe: {
        ...recipe({ size: await sizeWith(rtn('w4')) }, stage),
        calibration: { text: ids, samples: 4, context: 16 },
      },
    });
    expect(made.problems).toEqual([]);
    expect(made.options['budget']).toMatchObject({
      chosen: { option: 'stages[0].prune.quantize.scheme', value: 'w4' },
    });
  });
});

describe('a share that is left to the budget', () => {
  const cases: [string, (ratio: number | 'fit') => RecipeStage][] = [
    ['stages[0].factorize.ratio', (ratio) => ({ factorize: { method: 'svd', ratio } })],
    ['stages[0].prune.neurons', (neurons) => ({ prune: { method: 'structure', neurons, score: 'magnitude' } })],
  ];
  it.each(cases)('%s: is the smallest hundredth that fits', async (option, stage) => {
    const size = await sizeWith(stage(0.37));
    const { options, bytesAfter } = await plan({ size }, stage('fit'));
    const { chosen } = options['budget'] as { chosen: { option: string; value: number } };
    expect(chosen.option).toBe(option);
    expect(bytesAfter).toBeLessThanOrEqual(size);
    expect(chosen.value).toBeLessThanOrEqual(0.37);
    expect(await sizeWith(stage(chosen.value))).toBe(bytesAfter);
    expect(await sizeWith(stage(chosen.value - 0.01))).toBeGreaterThan(size);
  });
});

describe('a budget that cannot be kept', () => {
  it('says the smallest that can be reached, before anything is written', async () => {
    const smallest = await sizeWith(rtn('w2'));
    const { problems } = await plan({ size: '1kB' }, rtn('fit'));
    expect(problems).toMatchObject([{ code: 'BUDGET_UNREACHABLE', name: 'budget' }]);
    expect(problems[0]!.message).toContain(`(${smallest} bytes), with stages[0].quantize.scheme w2`);
    const output = join(root, 'never');
    const run = compress(model, { recipe: recipe({ size: '1kB' }, rtn('fit')), output });
    await expect(run).rejects.toMatchObject({ code: 'PLAN_PROBLEMS' });
    expect([existsSync(output), existsSync(`${output}.pith-partial`)]).toEqual([false, false]);
    const { problems: ofShare } = await plan({ bitsPerWeight: 0.1 }, { factorize: { method: 'svd', ratio: 'fit' } });
    expect(ofShare).toMatchObject([{ code: 'BUDGET_UNREACHABLE' }]);
  });

  it('is a problem where nothing is left to it', async () => {
    const { problems } = await plan({ size: '1kB' }, rtn('w4'));
    expect(problems).toMatchObject([{ code: 'BUDGET_EXCEEDED' }]);
    expect((await plan({ size: '1GB' }, rtn('w4'))).problems).toEqual([]);
  });

  it('leaves other problems to be said', async () => {
    const stage: RecipeStage = { quantize: { method: 'gptq', scheme: 'fit' } };
    expect((await plan({ size: '1GB' }, stage)).problems).toMatchObject([{ code: 'CALIBRATION_MISSING' }]);
  });

  it('is found at the end where sizes depend on the weights', async () => {
    // Planned is one bit for each value beside those that stay; what a file of sparse weights has beside that is not.
    const stage: RecipeStage = { prune: { method: 'magnitude', sparsity: 0.9 } };
    const sparse: Recipe = { ...recipe({ size: '1GB' }, stage), output: { sparse: true } };
    const { bytesAfter: planned } = await planRecipe(model, { recipe: sparse });
    const output = join(root, 'missed');
    const run = compress(model, { recipe: { ...sparse, budget: { size: planned } }, output });
    await expect(run).rejects.toMatchObject({ code: 'BUDGET_MISSED', details: { bytes: planned } });
    expect(existsSync(output)).toBe(false);
    expect((await compress(model, { recipe: sparse, output: join(root, 'wide') })).bytesAfter).toBeGreaterThan(planned);
  });
});

describe.skipIf(!hasShared)('a model of the reference data', () => {
  it('docs6m in 6 MB, by a calibrated recipe of two stages', async () => {
    const directory = shared('models/docs6m');
    const made = await planRecipe(directory, {
      recipe: {
        ...recipe(
          { size: '6MB' },
          { factorize: { method: 'whitened-svd', ratio: 0.2 } },
          { quantize: { method: 'gptq', scheme: 'fit' } },
        ),
        calibration: { text: shared('data/docs-calibration.txt'), samples: 8, context: 64 },
      },
    });
    expect(made.problems).toEqual([]);
    expect(made.bytesAfter).toBeLessThanOrEqual(6e6);
    expect(made.notices.at(-1)).toContain('budget of 6.00 MB');
  });
});
