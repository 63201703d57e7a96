// What factorization will make of the selected linears, from headers alone.
import { selectLinears } from '@pith/model';
import type {
  LinearSpec,
  PlannedModel,
  PlannedWeight,
  TechniquePlan,
  TechniqueProblem,
  WeightChange,
} from '@pith/model';
import { largestUsefulRank, rankByRatio } from '../factors/rank.ts';
import type { FactorizeConfig } from './factorize-config.ts';

/** Bytes of a value of each dtype that factors are stored in. */
export const FACTOR_BYTES = { f32: 4, f16: 2, bf16: 2 } as const;

/** Dtypes that factors are stored in. */
export type FactorDType = keyof typeof FACTOR_BYTES;

/** Whether factors can be stored in this dtype. */
export function isFactorDType(dtype: string): dtype is FactorDType {
  return dtype in FACTOR_BYTES;
}

/** What becomes of one linear, as far as it is known without data. */
export type LinearIntent =
  | { readonly kind: 'keep'; readonly reason: string }
  | { readonly kind: 'factorize'; readonly rank: number | null; readonly reason: string };

/** What the configuration asks of a linear; a rank of null depends on its singular values. */
export function intentOf(
  { path, outFeatures: rows, inFeatures: columns }: LinearSpec,
  config: FactorizeConfig,
): LinearIntent {
  const { ratio, rank, ranks, energy, budget } = config;
  if (energy !== undefined)
    return { kind: 'factorize', rank: null, reason: `as many triplets as keep ${energy} of the energy` };
  if (budget !== undefined)
    return { kind: 'factorize', rank: null, reason: 'rank by what each triplet saves in all linears together' };
  const wanted = ratio !== undefined ? rankByRatio(rows, columns, ratio) : (rank ?? ranks?.[path]);
  if (wanted === undefined) return { kind: 'keep', reason: 'no rank is given for it' };
  if (wanted === null) return { kind: 'keep', reason: 'it is to stay dense' };
  const most = largestUsefulRank(rows, columns);
  if (wanted > most) {
    const reason = `at rank ${wanted} two factors have ${wanted * (rows + columns)} parameters, the weight has ${rows * columns}`;
    return { kind: 'keep', reason };
  }
  return { kind: 'factorize', rank: wanted, reason: `rank ${wanted} of ${Math.min(rows, columns)}` };
}

/** Plans factorization. */
export function planFactorize(model: PlannedModel, config: FactorizeConfig): TechniquePlan {
  const selected = selectLinears(model, config);
  const problems: TechniqueProblem[] = [...selected.problems];
  const changes: WeightChange[] = [];
  const notices: string[] = [];
  const paths = new Set(selected.linears.map(({ path }) => path));
  for (const path of Object.keys(config.ranks ?? {})) {
    if (!paths.has(path)) {
      const message = `plan: ranks names ${path}, which is no selected linear layer; modules are named like ${selected.linears[0]?.path}`;
      problems.push({ code: 'RANKS_UNKNOWN_MODULE', name: path, message });
    }
  }
  for (const linear of selected.linears) {
    if (config.ranks && !(linear.path in config.ranks)) continue;
    const weight = model.weights.get(linear.name);
    const found = problemsOf(linear, weight, config);
    problems.push(...found);
    if (weight === undefined || found.length > 0) continue;
    const intent = intentOf(linear, config);
    if (intent.kind === 'keep') {
      if (config.ranks?.[linear.path] !== null) notices.push(`${linear.path} stays dense: ${intent.reason}`);
      continue;
    }
    const most = largestUsefulRank(linear.outFeatures, linear.inFeatures);
    const reason = `${config.method}, ${intent.reason}${intent.rank === null ? ', dense where that is no smaller' : ''}`;
    changes.push({
      name: linear.name,
      action: 'factorize',
      reason,
      after: planned(weight, intent.rank ?? most, config),
    });
  }
  if (config.budget !== undefined) problems.push(...budgetProblems(selected.linears, config.budget));
  if (selected.linears.length === 0 && problems.length === 0) {
    notices.push('no linear layer is selected: nothing changes');
  } else if (config.energy !== undefined || config.budget !== undefined) {
    notices.push('ranks depend on the singular values; the sizes of this plan are the largest that can come');
  }
  return { changes, problems, notices };
}

function budgetProblems(linears: readonly LinearSpec[], budget: number): TechniqueProblem[] {
  const sum = (of: (linear: LinearSpec) => number) => linears.reduce((total, linear) => total + of(linear), 0);
  const all = sum(({ outFeatures, inFeatures }) => outFeatures * inFeatures);
  const least = sum(({ outFeatures, inFeatures }) => outFeatures + inFeatures);
  const left = Math.floor((1 - budget) * all);
  if (least <= left) return [];
  const message = `plan: a budget of ${budget} leaves ${left} of ${all} parameters, and rank 1 everywhere takes ${least}; lower it`;
  return [{ code: 'BUDGET_TOO_SMALL', name: 'budget', message }];
}

function planned(weight: PlannedWeight, rank: number, { dtype }: FactorizeConfig): PlannedWeight {
  const [rows, columns] = weight.shape as [number, number];
  const stored = dtype ?? (weight.dtype as FactorDType);
  const { name, shape } = weight;
  return {
    name,
    shape,
    kind: 'factored',
    rank,
    dtype: stored,
    byteLength: rank * (rows + columns) * FACTOR_BYTES[stored],
  };
}

/** Why a weight cannot be taken apart; `dtype` is that of what is stored, where it was chosen. */
export function weightProblems(
  { path, name, outFeatures: rows, inFeatures: columns }: LinearSpec,
  weight: PlannedWeight | undefined,
  chosen: FactorDType | undefined,
): TechniqueProblem[] {
  const problem = (code: string, message: string): TechniqueProblem => ({ code, name, message: `plan: ${message}` });
  if (weight === undefined) {
    const message = `${path} needs the tensor ${name}, the checkpoint has none of this name; fetch it again`;
    return [problem('TENSOR_MISSING', message)];
  }
  const { shape, kind, dtype } = weight;
  if (shape.length !== 2 || shape[0] !== rows || shape[1] !== columns) {
    const message =
      `${name} must be [${rows}, ${columns}] by config.json, got [${shape.join(', ')}]; config.json and the weights ` +
      'belong to different models: fetch both from one place';
    return [problem('SHAPE_UNEXPECTED', message)];
  }
  if (kind !== 'dense') {
    const message =
      `${name} must be dense to be factorized, got one that is ${kind}; ignore "${path}", or put this stage before the ` +
      'one that makes it so';
    return [problem('REPRESENTATION_NOT_FACTORIZABLE', message)];
  }
  if (chosen !== undefined || isFactorDType(dtype)) return [];
  const message = `the factors of ${name} would be ${dtype}; give the option dtype, or ignore "${path}"`;
  return [problem('DTYPE_NOT_FACTORIZABLE', message)];
}

function problemsOf(
  linear: LinearSpec,
  weight: PlannedWeight | undefined,
  config: FactorizeConfig,
): TechniqueProblem[] {
  const found = weightProblems(linear, weight, config.dtype);
  const { path, name, outFeatures: rows, inFeatures: columns } = linear;
  const problem = (code: string, message: string) => found.push({ code, name, message: `plan: ${message}` });
  const smaller = Math.min(rows, columns);
  const asked = config.rank ?? config.ranks?.[path] ?? undefined;
  if (asked !== undefined && asked > smaller) {
    const text = `the rank of ${name} must be at most ${smaller}, its smaller side, got ${asked}; lower it, or ignore "${path}"`;
    problem('RANK_TOO_LARGE', text);
  }
  if (config.ratio !== undefined && rankByRatio(rows, columns, config.ratio) < 1) {
    const text = `a ratio of ${config.ratio} leaves ${name} [${rows}, ${columns}] a rank of 0; lower it, or ignore "${path}"`;
    problem('RANK_ZERO', text);
  }
  return found;
}
