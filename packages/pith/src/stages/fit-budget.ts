// The plan of a recipe with a budget: plans are made from headers until one fits, the gentlest first.
import { PithError } from '@pith/tensor-core';
import { parseByteSize } from '../byte-size.ts';
import { formatBytes, significant } from '../format.ts';
import type { Plan, PlanProblem } from '../plan/types.ts';
import { FITTED_SCHEMES, openOptions, pathText, withValue } from '../recipe/budget.ts';
import type { Recipe, RecipeBudget } from '../recipe/types.ts';
import { prepareRecipe, type PreparedRecipe, type Recipes } from './prepare-recipe.ts';

/** What a budget came to: part of the options in plan and receipt. */
export interface BudgetChoice {
  /** Most bytes of the tensor files. */
  readonly bytes?: number;
  /** Most bits for each parameter of the source. */
  readonly bitsPerWeight?: number;
  /** The option that was left to it, as a path in the recipe, and the value that it got. */
  readonly chosen?: { readonly option: string; readonly value: string | number };
}

/** Sizes of a plan or an artefact. */
type Sizes = Pick<Plan, 'bytesAfter' | 'bitsPerWeight'>;

/** A value with what the artefact would be. */
interface Trial {
  readonly value: string | number;
  readonly prepared: PreparedRecipe;
}

/**
 * Plans a recipe, with the option that it leaves to its budget filled in. An artefact that cannot fit is a problem of the plan:
 * `BUDGET_UNREACHABLE` with the smallest size that can be reached, or `BUDGET_EXCEEDED` where no option is left to the budget.
 */
export function prepareWithinBudget(inputs: Recipes): PreparedRecipe {
  const { budget } = inputs.recipe;
  if (budget === undefined) return prepareRecipe(inputs);
  const [open] = openOptions(inputs.recipe.stages);
  const limit = limitOf(budget);
  if (open === undefined) {
    const prepared = prepareRecipe({ ...inputs, budget: limit });
    if (prepared.plan.problems.length > 0 || fits(prepared.plan, limit)) return prepared;
    return withProblem(prepared, {
      code: 'BUDGET_EXCEEDED',
      name: 'budget',
      message: `the artefact would take ${sizeText(prepared.plan, limit)}, the budget is ${limitText(limit)}; raise it, or leave an option to it (scheme: fit)`,
    });
  }
  const where = pathText(open);
  const attempt = (value: string | number): Trial => ({
    value,
    prepared: prepareRecipe({
      ...inputs,
      recipe: withValue(inputs.recipe, open, value),
      budget: { ...limit, chosen: { option: where, value } },
    }),
  });
  const { trials, chosen } =
    open.option === 'scheme' || budget.try !== undefined
      ? firstThatFits(budget.try ?? FITTED_SCHEMES, attempt, limit)
      : smallestShare(attempt, limit);
  if (chosen !== undefined) {
    return withNotice(chosen.prepared, choiceText(chosen, trials, where, limit));
  }
  const possible = trials.filter(({ prepared }) => prepared.plan.problems.length === 0);
  // Something else is wrong: what the gentlest value meets is said.
  if (possible.length === 0) return fewestProblems(trials).prepared;
  const smallest = possible.reduce((least, trial) =>
    trial.prepared.plan.bytesAfter < least.prepared.plan.bytesAfter ? trial : least,
  );
  const size = sizeText(smallest.prepared.plan, limit);
  return withProblem(smallest.prepared, {
    code: 'BUDGET_UNREACHABLE',
    name: 'budget',
    message: `${limitText(limit)} cannot be reached: the smallest is ${size}, with ${where} ${smallest.value}; raise the budget, or add a stage that removes more`,
  });
}

/**
 * Holds a finished artefact to the budget: sizes that depend on the weights themselves are known only then.
 *
 * @throws PithError `BUDGET_MISSED`.
 */
export function requireWithinBudget({ budget }: Pick<Recipe, 'budget'>, sizes: Sizes): void {
  if (budget === undefined) return;
  const limit = limitOf(budget);
  if (fits(sizes, limit)) return;
  throw new PithError(
    'BUDGET_MISSED',
    `compress: the artefact must take ${limitText(limit)} at most, it takes ${sizeText(sizes, limit)}; its size depends on the weights (sparse storage, ranks by energy), and the plan was an estimate: ask for more`,
    { details: { ...limit, bytesAfter: sizes.bytesAfter, bitsPerWeight: sizes.bitsPerWeight } },
  );
}

function limitOf({ size, bitsPerWeight }: RecipeBudget): BudgetChoice {
  return size === undefined ? { bitsPerWeight: bitsPerWeight! } : { bytes: parseByteSize(String(size)) };
}

function fits({ bytesAfter, bitsPerWeight }: Sizes, limit: BudgetChoice): boolean {
  return bytesAfter <= (limit.bytes ?? Infinity) && bitsPerWeight <= (limit.bitsPerWeight ?? Infinity);
}

function limitText({ bytes, bitsPerWeight }: BudgetChoice): string {
  return bytes === undefined ? `${bitsPerWeight} bits per weight` : `${formatBytes(bytes)} (${bytes} bytes)`;
}

function sizeText({ bytesAfter, bitsPerWeight }: Sizes, { bytes }: BudgetChoice): string {
  if (bytes === undefined) return `${significant(bitsPerWeight, 4)} bits per weight`;
  return `${formatBytes(bytesAfter)} (${bytesAfter} bytes)`;
}

function isFit({ prepared: { plan } }: Trial, limit: BudgetChoice): boolean {
  return plan.problems.length === 0 && fits(plan, limit);
}

interface Trials {
  readonly trials: readonly Trial[];
  readonly chosen: Trial | undefined;
}

function firstThatFits(
  values: readonly (string | number)[],
  attempt: (value: string | number) => Trial,
  limit: BudgetChoice,
): Trials {
  const trials: Trial[] = [];
  for (const value of values) {
    const trial = attempt(value);
    trials.push(trial);
    if (isFit(trial, limit)) return { trials, chosen: trial };
  }
  return { trials, chosen: undefined };
}

/** Shares in hundredths: sizes fall as the share grows, so that half of them can be left out each time. */
function smallestShare(attempt: (value: number) => Trial, limit: BudgetChoice): Trials {
  const trials: Trial[] = [];
  const at = (hundredths: number): Trial => {
    const trial = attempt(hundredths / 100);
    trials.push(trial);
    return trial;
  };
  let enough = 99;
  let chosen = at(enough);
  // The harshest share may leave nothing of a narrow model: a little less may still do.
  while (chosen.prepared.plan.problems.length > 0 && enough > 50) chosen = at(--enough);
  if (!isFit(chosen, limit)) return { trials, chosen: undefined };
  let tooGentle = 0;
  while (enough - tooGentle > 1) {
    const middle = Math.floor((tooGentle + enough) / 2);
    const trial = at(middle);
    if (isFit(trial, limit)) [enough, chosen] = [middle, trial];
    else tooGentle = middle;
  }
  return { trials, chosen };
}

function fewestProblems(trials: readonly Trial[]): Trial {
  return trials.reduce((best, trial) =>
    trial.prepared.plan.problems.length < best.prepared.plan.problems.length ? trial : best,
  );
}

function choiceText({ value, prepared }: Trial, trials: readonly Trial[], where: string, limit: BudgetChoice): string {
  // Of shares the next gentler one, of listed values those before it.
  const before =
    typeof value === 'number'
      ? trials.filter((trial) => Number(trial.value) < value).sort(byShare)
      : trials.slice(0, -1);
  const others = before
    .slice(-2)
    .map(({ value: other, prepared: { plan } }) =>
      plan.problems.length > 0
        ? `${other} does not go: ${plan.problems[0]!.message}`
        : `${other} takes ${sizeText(plan, limit)}`,
    );
  return (
    `budget of ${limitText(limit)}: ${where} is ${value}, with ${sizeText(prepared.plan, limit)}` +
    (others.length === 0 ? '' : `; ${others.join('; ')}`)
  );
}

function byShare(a: Trial, b: Trial): number {
  return Number(a.value) - Number(b.value);
}

function withProblem(prepared: PreparedRecipe, problem: PlanProblem): PreparedRecipe {
  return { ...prepared, plan: { ...prepared.plan, problems: [...prepared.plan.problems, problem] } };
}

function withNotice(prepared: PreparedRecipe, notice: string): PreparedRecipe {
  return { ...prepared, plan: { ...prepared.plan, notices: [...prepared.plan.notices, notice] } };
}
