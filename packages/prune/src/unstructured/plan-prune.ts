// What pruning will make of the selected linears, from headers alone, with everything that does not fit at once.
import { byteLengthOf, quantizedByteLength, type ColumnRounding } from '@pith/tensor-core';
import {
  selectLinears,
  type LinearSpec,
  type PlannedModel,
  type PlannedWeight,
  type TechniquePlan,
  type TechniqueProblem,
  type WeightChange,
} from '@pith/model';
import { formatPattern, sparsityOf, type SparsityPattern } from '../pattern/pattern.ts';
import { PRUNABLE_DTYPES } from '../streaming/prune-into.ts';
import type { PruneConfig } from './prune-options.ts';

/** Plans the pruning of a model. Nothing is thrown for a model that does not fit: `problems` has every reason. */
export function planPrune(model: PlannedModel, config: PruneConfig, rounding?: ColumnRounding): TechniquePlan {
  const { linears, problems } = selectLinears(model, config);
  const changes: WeightChange[] = [];
  for (const linear of linears) {
    const weight = model.weights.get(linear.name);
    const found = weight === undefined ? [missing(linear)] : problemsOf(linear, weight, config, rounding);
    problems.push(...found);
    if (weight === undefined || found.length > 0) continue;
    changes.push({
      name: linear.name,
      action: rounding ? 'prune and quantize' : 'prune',
      reason: `${config.method}, ${formatPattern(config.pattern)}`,
      after: after(weight, config, rounding),
    });
  }
  const notices = linears.length === 0 && problems.length === 0 ? ['no linear layer is selected: nothing changes'] : [];
  return { changes, problems, notices };
}

function after(weight: PlannedWeight, { pattern }: PruneConfig, rounding: ColumnRounding | undefined): PlannedWeight {
  const sparsity = Math.max(sparsityOf(pattern), weight.sparsity ?? 0);
  const { name, shape } = weight;
  if (rounding === undefined) {
    if (weight.kind !== 'sparse') return { ...weight, sparsity };
    const byteLength = byteLengthOf(weight.dtype, shape[0]! * shape[1]!);
    return { ...weight, kind: 'dense', byteLength, sparsity };
  }
  const scheme = rounding.scheme(weight.dtype);
  const byteLength = quantizedByteLength(scheme, shape[0]!, shape[1]!, false);
  return { name, shape, kind: 'quantized', byteLength, dtype: scheme.scaleDType, scheme, sparsity };
}

function missing({ path, name }: LinearSpec): TechniqueProblem {
  return {
    code: 'TENSOR_MISSING',
    name,
    message: `plan: ${path} needs the tensor ${name}, the checkpoint has none of this name; fetch it again`,
  };
}

function problemsOf(
  { path, outFeatures, inFeatures }: LinearSpec,
  { name, shape, kind, dtype, rank, scheme }: PlannedWeight,
  { method, pattern }: PruneConfig,
  rounding: ColumnRounding | undefined,
): TechniqueProblem[] {
  const found: TechniqueProblem[] = [];
  const problem = (code: string, message: string) => void found.push({ code, name, message });
  if (shape.length !== 2 || shape[0] !== outFeatures || shape[1] !== inFeatures) {
    problem(
      'SHAPE_UNEXPECTED',
      `plan: ${name} must be [${outFeatures}, ${inFeatures}] by config.json, got [${shape.join(', ')}]; config.json and ` +
        'the weights belong to different models: fetch both from one place',
    );
    return found;
  }
  const factors = kind === 'factored' && scheme === undefined && rounding === undefined;
  const takesFactors = method === 'magnitude' || method === 'sparsegpt';
  if (kind !== 'dense' && kind !== 'sparse' && !(factors && takesFactors)) {
    problem('REPRESENTATION_NOT_PRUNABLE', `plan: ${name} ${whyNot(kind, method)}, or ignore "${path}"`);
  } else if (!(PRUNABLE_DTYPES as readonly string[]).includes(dtype)) {
    problem(
      'DTYPE_NOT_PRUNABLE',
      `plan: ${name} must be f32, f16 or bf16 to be pruned, got ${dtype}; ignore "${path}", or start from the ` +
        'unquantized checkpoint',
    );
  }
  checkPattern(pattern, shape[1]!, name, problem);
  if (rank !== undefined) checkPattern(pattern, rank, `the left factor of ${name}`, problem);
  if (rounding) checkGroups(rounding, pattern, { name, dtype, columns: shape[1]! }, problem);
  return found;
}

type Problem = (code: string, message: string) => void;

function whyNot(kind: PlannedWeight['kind'], method: string): string {
  if (kind === 'quantized') return 'is quantized already; prune in a stage before quantization';
  return `is factored, which ${method} does not score; prune before factorizing, or with magnitude or sparsegpt`;
}

function checkPattern(pattern: SparsityPattern, columns: number, what: string, problem: Problem): void {
  if (pattern.kind !== 'n:m' || columns % pattern.of === 0) return;
  const { kept, of } = pattern;
  problem(
    'PATTERN_DOES_NOT_DIVIDE',
    `plan: ${what} has ${columns} columns, which runs of ${of} (pattern ${kept}:${of}) do not divide; choose a pattern ` +
      'whose runs do, or a share without a pattern',
  );
}

function checkGroups(
  rounding: ColumnRounding,
  pattern: SparsityPattern,
  { name, dtype, columns }: { name: string; dtype: PlannedWeight['dtype']; columns: number },
  problem: Problem,
): void {
  const { granularity } = rounding.scheme(dtype);
  if (granularity.kind !== 'group') return;
  const { size } = granularity;
  if (columns % size !== 0) {
    problem('GROUP_DOES_NOT_DIVIDE', `plan: ${name} has ${columns} columns, which groups of ${size} do not divide`);
  } else if (pattern.kind === 'n:m' && size % pattern.of !== 0) {
    problem(
      'PATTERN_GROUP_MISMATCH',
      `plan: runs of ${pattern.of} must divide the groups of ${size} that ${name} is quantized in`,
    );
  }
}
