// A budget for the whole artefact of a recipe, and the one option that may be left to it: `fit` stands where its value
// would, and the plan takes the gentlest value with which the artefact fits.
import { z } from 'zod';
import { isByteSize, parseByteSize } from '../byte-size.ts';
import { STAGE_KINDS, type StageKind } from './stage-kinds.ts';
import type { Recipe, RecipeStage } from './types.ts';

/** Stands for the value of an option that the budget chooses. */
export const FIT = 'fit';

/** Options that can be left to a budget. The first is a name, the others are shares that go, more than 0 and less than 1. */
export const FITTED_OPTIONS = ['scheme', 'ratio', 'neurons', 'experts'] as const;
/** See {@link FITTED_OPTIONS}. */
export type FittedOption = (typeof FITTED_OPTIONS)[number];

/** Schemes that are tried where the recipe names none, from gentle to harsh. */
export const FITTED_SCHEMES: readonly string[] = Object.freeze([
  ...['w8', 'w4g32', 'w4g64', 'w4g128', 'w4'],
  ...['w3g32', 'w3g64', 'w3g128', 'w3', 'w2g32', 'w2g64', 'w2g128', 'w2'],
]);

/** The schema of a budget. */
export const BudgetSchema = z.strictObject({
  size: z
    .union([z.string().max(40), z.number()])
    .refine((size) => isByteSize(parseByteSize(String(size))), 'must be a size such as 500MB, 2GB or 1.5GiB')
    .exactOptional()
    .describe('Most bytes of the tensor files of the artefact: 500MB, 1.5GiB.'),
  bitsPerWeight: z
    .number()
    .gt(0)
    .max(64)
    .exactOptional()
    .describe('Most bits of the artefact for each parameter of the model that the recipe starts from.'),
  try: z
    .array(z.union([z.string().max(100), z.number()], 'must be the name of a scheme or a share'))
    .min(1)
    .max(100)
    .exactOptional()
    .describe(
      'Values of the option that is "fit", from gentle to harsh: the first with which the artefact fits is taken. Schemes from w8 to w2, or shares in steps of 0.01, when left out.',
    ),
});

/** Where a recipe says `fit`. */
export interface OpenOption {
  /** Index of the stage. */
  readonly stage: number;
  /** Kind of the stage. */
  readonly kind: StageKind;
  /** Name of the option. */
  readonly option: FittedOption;
  /** True for the option of what sparsegpt quantizes in the same sweep. */
  readonly joint: boolean;
}

/** The options of a recipe that say `fit`. */
export function openOptions(stages: readonly RecipeStage[]): OpenOption[] {
  return stages.flatMap((one, stage) =>
    STAGE_KINDS.flatMap((kind): OpenOption[] => {
      const options = one[kind] as Readonly<Record<string, unknown>> | undefined;
      const inner = options?.['quantize'] as Readonly<Record<string, unknown>> | undefined;
      const open = (of: Readonly<Record<string, unknown>> | undefined, joint: boolean) =>
        FITTED_OPTIONS.filter((option) => of?.[option] === FIT).map((option) => ({ stage, kind, option, joint }));
      return [...open(options, false), ...open(inner, true)];
    }),
  );
}

/** Its path in the recipe: `stages[1].quantize.scheme`. */
export function pathText({ stage, kind, option, joint }: OpenOption): string {
  return `stages[${stage}].${kind}.${joint ? 'quantize.' : ''}${option}`;
}

/** The recipe with a value where it said `fit`. */
export function withValue(recipe: Recipe, { stage, kind, option, joint }: OpenOption, value: string | number): Recipe {
  const stages = recipe.stages.map((one, index) => {
    if (index !== stage) return one;
    const options = one[kind] as unknown as Readonly<Record<string, unknown>>;
    const quantize = options['quantize'] as Readonly<Record<string, unknown>> | undefined;
    return {
      ...one,
      [kind]: joint ? { ...options, quantize: { ...quantize, [option]: value } } : { ...options, [option]: value },
    } as RecipeStage;
  });
  return { ...recipe, stages };
}

/** What is wrong with the budget of a recipe, each with the path of the key. */
export function budgetProblems({
  budget,
  stages,
}: Recipe): { readonly path: PropertyKey[]; readonly message: string }[] {
  const open = openOptions(stages);
  const at = ({ stage, kind, option, joint }: OpenOption) => [
    'stages',
    stage,
    kind,
    ...(joint ? ['quantize'] : []),
    option,
  ];
  if (budget === undefined) {
    return open.map((one) => ({
      path: at(one),
      message: `"${FIT}" leaves it to a budget, and the recipe has none; add budget: { size: 500MB }, or give a value`,
    }));
  }
  const problems: { readonly path: PropertyKey[]; readonly message: string }[] = [];
  if ((budget.size === undefined) === (budget.bitsPerWeight === undefined)) {
    const has = budget.size === undefined ? 'neither' : 'both';
    problems.push({ path: ['budget'], message: `must have exactly one of size, bitsPerWeight, it has ${has}` });
  }
  for (const one of open.slice(1)) {
    problems.push({
      path: at(one),
      message: `one option may be left to the budget, and ${pathText(open[0]!)} is; give a value here`,
    });
  }
  if (budget.try !== undefined && open.length === 0) {
    problems.push({
      path: ['budget', 'try'],
      message: `has values for an option that says "${FIT}", and none does; write it where the value would stand (scheme: ${FIT})`,
    });
  }
  const [first] = open;
  for (const [index, value] of first === undefined ? [] : (budget.try ?? []).entries()) {
    const fits = first!.option === 'scheme' ? typeof value === 'string' : isShare(value);
    if (fits) continue;
    const wanted = first!.option === 'scheme' ? 'the name of a scheme' : 'a share of more than 0 and less than 1';
    problems.push({ path: ['budget', 'try', index], message: `must be ${wanted}, got ${JSON.stringify(value)}` });
  }
  return problems;
}

function isShare(value: string | number): boolean {
  return typeof value === 'number' && value > 0 && value < 1;
}
