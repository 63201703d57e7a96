// Tucker and CP decompositions of stacks of matrices. Each slice of a decomposed tensor is a product of two matrices, one of
// which is the same for all slices: it is stored as a factored weight, both factors with each matrix, since checkpoints
// have no tensors that two modules share. Where that is no smaller, the approximation is stored as a dense matrix.
import { denseWeight, fromF32, memoryBytes, PithError, Products, throwIfStopped } from '@pith/tensor-core';
import type { WeightTensor } from '@pith/tensor-core';
import { selectLinears } from '@pith/model';
import type {
  Intervention,
  LanguageModel,
  LinearSpec,
  ModelTransform,
  PlannedModel,
  TechniquePlan,
  TechniqueProblem,
  TransformContext,
  TransformResult,
  WeightChange,
} from '@pith/model';
import { cp, type Cp } from '../cp/cp.ts';
import { balance, type Factors } from '../factors/project.ts';
import { factoredOf } from '../factorize/factorize-pass.ts';
import { FACTOR_BYTES, weightProblems, type FactorDType } from '../factorize/plan-factorize.ts';
import type { Tensor3 } from '../tensor/tensor3.ts';
import { tucker, type Tucker } from '../tucker/tucker.ts';
import { decomposeConfig, type DecomposeConfig, type DecomposeOptions } from './decompose-config.ts';
import { stackIntent, stacksOf, type Stack, type StackIntent } from './stacks.ts';

/** f64 copies of a stack that exist at a time: the tensor, an unfolding, a product. */
const COPIES = 4;

/**
 * Decomposition of matrices together: `tucker` or `cp`, of the same matrix in all layers or of the heads of each matrix.
 *
 * Records per weight: ranks, relative error of the stack, parameters before and after, parameters of the decomposition itself.
 *
 * @throws PithError `DECOMPOSE_OPTIONS`; its `apply` throws `WEIGHT_NOT_FINITE`, `MEMORY_LIMIT`, `NOT_CONVERGED`, `STOPPED`.
 */
export function decomposeTransform(options: DecomposeOptions): ModelTransform {
  const config = decomposeConfig(options);
  return {
    name: config.method,
    config,
    calibrated: false,
    plan: (model) => planDecompose(model, config),
    apply: (model, context) => applyTo(model, context, config),
  };
}

function planDecompose(model: PlannedModel, config: DecomposeConfig): TechniquePlan {
  const selected = selectLinears(model, config);
  const problems: TechniqueProblem[] = [...selected.problems];
  const changes: WeightChange[] = [];
  const { stacks, alone } = stacksOf(selected.linears, config.stack);
  const notices = alone.map(({ linear, reason }) => `${linear.path} is left alone: ${reason}`);
  for (const stack of stacks) {
    const intent = stackIntent(stack, config);
    problems.push(...rankProblems(stack, intent, config));
    for (const linear of stack.linears) {
      const weight = model.weights.get(linear.name);
      const found = weightProblems(linear, weight, config.dtype);
      problems.push(...found);
      if (weight === undefined || found.length > 0) continue;
      const { outFeatures: rows, inFeatures: columns, name } = linear;
      const dtype = config.dtype ?? (weight.dtype as FactorDType);
      const size = FACTOR_BYTES[dtype];
      const common = { name, shape: weight.shape, dtype };
      const after = intent.factored
        ? { ...common, kind: 'factored' as const, rank: intent.rank, byteLength: intent.rank * (rows + columns) * size }
        : { ...common, kind: 'dense' as const, byteLength: rows * columns * size };
      const how = intent.factored
        ? `stored with rank ${intent.rank} of ${Math.min(rows, columns)}`
        : `stored dense, as factors of rank ${intent.rank} would be no smaller`;
      changes.push({ name, action: 'factorize', reason: `${intent.text} of the stack ${stack.name}, ${how}`, after });
    }
  }
  if (stacks.length === 0 && problems.length === 0) notices.push('there is no stack: nothing changes');
  return { changes, problems, notices };
}

function rankProblems(stack: Stack, { ranks, rank }: StackIntent, config: DecomposeConfig): TechniqueProblem[] {
  const { name, shape } = stack;
  const problem = (code: string, message: string): TechniqueProblem[] => [{ code, name, message: `plan: ${message}` }];
  if (rank < 1) {
    return problem(
      'RANK_ZERO',
      `a ratio of ${config.ratio} leaves the stack ${name} a rank of 0; lower it, or ignore its modules`,
    );
  }
  if (ranks?.some((value, axis) => value > shape[axis])) {
    return problem(
      'RANK_TOO_LARGE',
      `ranks of the stack ${name} must be at most ${shape.join(', ')}, got ${ranks.join(', ')}; lower them`,
    );
  }
  // A tensor is a sum of at most so many outer products.
  const most = Math.min(shape[0] * shape[1], shape[0] * shape[2], shape[1] * shape[2]);
  if (config.method === 'cp' && rank > most) {
    return problem('RANK_TOO_LARGE', `the rank of the stack ${name} must be at most ${most}, got ${rank}; lower it`);
  }
  return [];
}

async function applyTo(
  model: LanguageModel,
  context: TransformContext,
  config: DecomposeConfig,
): Promise<TransformResult> {
  const { device, seed, signal, progress, memoryBytes: limit } = context;
  const weights = new Map(model.weights);
  const records: Record<string, Readonly<Record<string, unknown>>> = {};
  const interventions: Intervention[] = [];
  const { stacks } = stacksOf(selectLinears(model, config).linears, config.stack);
  for (const [done, stack] of stacks.entries()) {
    throwIfStopped(signal, config.method);
    progress?.({ phase: config.method, item: stack.name, done, total: stacks.length, unit: 'stack' });
    requireMemory(stack, limit);
    const intent = stackIntent(stack, config);
    const tensor = await readStack(stack, weights);
    const common = {
      ...(config.tolerance !== undefined && { tolerance: config.tolerance }),
      ...(signal && { signal }),
    };
    let slices: Factors[];
    let found: Tucker | Cp;
    let own: number;
    if (config.method === 'tucker') {
      const made = await tucker(tensor, device, { ranks: intent.ranks!, iterations: config.iterations, ...common });
      slices = await tuckerSlices(made, config.stack, device);
      own = made.core.data.length + made.factors.reduce((sum, { data }) => sum + data.length, 0);
      found = made;
    } else {
      const { iterations, starts } = config;
      const made = await cp(tensor, device, { rank: intent.rank, iterations, starts, seed, ...common });
      slices = cpSlices(made, config.stack);
      own = made.factors.reduce((sum, { data }) => sum + data.length, 0);
      found = made;
      if (!made.converged) interventions.push(notConverged(stack, made));
    }
    for (const [i, linear] of stack.linears.entries()) {
      const factors = stack.transposed ? transposed(slices[i], linear) : slices[i];
      const { outFeatures: rows, inFeatures: columns, name } = linear;
      const before = weights.get(name)!;
      const dtype = config.dtype ?? (before.kind === 'dense' ? (before.dtype as FactorDType) : 'f32');
      const rank = factors.left.length / rows;
      const made = factoredOf(name, factors, [rows, rank, columns], dtype);
      weights.set(name, intent.factored ? made : await multipliedOut(name, factors, [rows, rank, columns], dtype));
      records[name] = {
        stack: stack.name,
        rank: intent.factored ? rank : null,
        ...(intent.ranks && { ranks: intent.ranks }),
        relativeError: found.relativeError,
        parametersBefore: rows * columns,
        parametersAfter: intent.factored ? rank * (rows + columns) : rows * columns,
        stackParameters: own,
      };
    }
  }
  return { weights, config: {}, records, interventions };
}

function requireMemory({ name, shape }: Stack, limit: number | undefined): void {
  const neededBytes = 8 * COPIES * shape[0] * shape[1] * shape[2];
  if (limit === undefined || neededBytes <= limit) return;
  throw new PithError(
    'MEMORY_LIMIT',
    `decompose: the stack ${name} [${shape.join(', ')}] needs ${neededBytes} bytes, the limit is ${limit}; raise the memory ` +
      'limit, or include fewer layers',
    { details: { neededBytes, limitBytes: limit, stack: name } },
  );
}

async function readStack(stack: Stack, weights: ReadonlyMap<string, WeightTensor>): Promise<Tensor3> {
  const size = stack.shape[1] * stack.shape[2];
  const data = new Float64Array(stack.shape[0] * size);
  for (const [i, linear] of stack.linears.entries()) {
    const values = await weights.get(linear.name)!.toF32();
    const at = values.findIndex((value) => !Number.isFinite(value));
    if (at >= 0) {
      throw new PithError(
        'WEIGHT_NOT_FINITE',
        `decompose ${linear.name}: every value must be finite, got ${values[at]}; the checkpoint is damaged, get it again`,
        { details: { tensor: linear.name, index: at } },
      );
    }
    const { outFeatures: rows, inFeatures: columns } = linear;
    if (!stack.transposed) data.set(values, i * size);
    else for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) data[c * rows + r] = values[r * columns + c];
  }
  return { shape: stack.shape, data };
}

/** Factors of each matrix of the stack: for layers one pair each, for heads one pair with all heads below each other. */
async function tuckerSlices(
  { core, factors }: Tucker,
  stack: 'layers' | 'heads',
  device: TransformContext['device'],
): Promise<Factors[]> {
  const [first, second, third] = factors;
  const [r1, r2, r3] = core.shape;
  const products = new Products(device, 'f64');
  try {
    // Slice l of the core in the space of the other two axes: [n1, r2 r3].
    const cores = await products.multiply(first, { data: core.data, rows: r1, columns: r2 * r3 });
    const slices: Factors[] = [];
    const lefts: Float64Array[] = [];
    const transposeThird = transposeOf(third.data, third.rows, r3);
    for (let l = 0; l < first.rows; l++) {
      const slice = { data: cores.slice(l * r2 * r3, (l + 1) * r2 * r3), rows: r2, columns: r3 };
      if (stack === 'heads' || r3 < r2) {
        const left = await products.multiply(second, slice);
        lefts.push(left);
        if (stack === 'layers') slices.push(balance(left, transposeThird, second.rows, r3, third.rows));
        continue;
      }
      const right = await products.multiply(slice, { ...third, transpose: true });
      slices.push(balance(second.data, right, second.rows, r2, third.rows));
    }
    if (stack === 'layers') return slices;
    const all = new Float64Array(first.rows * second.rows * r3);
    for (const [l, left] of lefts.entries()) all.set(left, l * left.length);
    return [balance(all, transposeThird, first.rows * second.rows, r3, third.rows)];
  } finally {
    await products.dispose();
  }
}

function cpSlices({ weights, factors: [first, second, third] }: Cp, stack: 'layers' | 'heads'): Factors[] {
  const rank = weights.length;
  const right = transposeOf(third.data, third.rows, rank);
  const left = (l: number) =>
    second.data.map((value, i) => value * weights[i % rank] * first.data[l * rank + (i % rank)]);
  const lefts = Array.from({ length: first.rows }, (_, l) => left(l));
  if (stack === 'layers') return lefts.map((values) => balance(values, right, second.rows, rank, third.rows));
  const all = new Float64Array(first.rows * second.rows * rank);
  for (const [l, values] of lefts.entries()) all.set(values, l * values.length);
  return [balance(all, right, first.rows * second.rows, rank, third.rows)];
}

function transposeOf<T extends Float32Array | Float64Array>(data: T, rows: number, columns: number): T {
  const result = data.slice() as T;
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result[j * rows + i] = data[i * columns + j];
  return result;
}

/** Factors of the transposed matrix, which is [in, out]. */
function transposed({ left, right }: Factors, { outFeatures, inFeatures }: LinearSpec): Factors {
  const rank = left.length / inFeatures;
  return { left: transposeOf(right, rank, outFeatures), right: transposeOf(left, inFeatures, rank) };
}

async function multipliedOut(
  name: string,
  factors: Factors,
  [rows, rank, columns]: readonly [number, number, number],
  dtype: FactorDType,
): Promise<WeightTensor> {
  const whole = await factoredOf(name, factors, [rows, rank, columns], 'f32').toF32();
  return denseWeight({ name, dtype, shape: [rows, columns], source: memoryBytes(fromF32(dtype, whole)) });
}

function notConverged({ name }: Stack, { iterations, relativeError }: Cp): Intervention {
  return {
    code: 'ALS_STOPPED',
    where: name,
    message: `alternating least squares was stopped after ${iterations} rounds, still improving; allow more iterations`,
    details: { iterations, relativeError },
  };
}
