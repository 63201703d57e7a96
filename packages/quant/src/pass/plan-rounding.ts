// What rounding will make of the selected linears, from headers alone: the same for every method that ends in it.
import { quantizedByteLength, restoredDType, type QuantizationScheme } from '@pith/tensor-core';
import type { LinearSpec, PlannedModel, PlannedWeight, TechniqueProblem, WeightChange } from '@pith/model';
import type { RangeRule } from '../range/range.ts';
import { isQuantizable, resolveScheme } from '../scheme/resolve-scheme.ts';
import { needsCalibration, schemesOf } from '../scheme/scheme-rules.ts';
import type { Scheme } from '../scheme/scheme.ts';
import { countedActivations } from './input-scale.ts';
import { schemeOfLinears, selectionOf, type RoundingConfig } from './pass-options.ts';
import { groupRemedy, inputGroupProblem, rangeProblem } from './scheme-problems.ts';
import { selectLinears } from './select-linears.ts';

/** The part of a plan that rounding makes. */
export interface RoundingPlan {
  /** The linears that are selected. */
  readonly linears: readonly LinearSpec[];
  /** One for each of them that can be quantized. */
  readonly changes: readonly WeightChange[];
  /** Everything that does not fit. */
  readonly problems: readonly TechniqueProblem[];
  /** What people should know. */
  readonly notices: readonly string[];
}

/** Plans the rounding of the selected linears; `reason` says by what. */
export function planRounding(
  model: PlannedModel,
  config: RoundingConfig & { readonly range?: RangeRule },
  reason: string,
): RoundingPlan {
  const { linears, problems } = selectLinears(model, selectionOf(config));
  const { schemeFor = [] } = config;
  if (config.include.length === 0) {
    const include = schemeFor.map(({ pattern }) => pattern);
    problems.push(...selectLinears(model, { include, ignore: [] }).problems);
  }
  const schemeOf = schemeOfLinears(config);
  const changes: WeightChange[] = [];
  for (const linear of linears) {
    const weight = model.weights.get(linear.name);
    if (weight === undefined) {
      problems.push({
        code: 'TENSOR_MISSING',
        name: linear.name,
        message: `plan: ${linear.path} needs the tensor ${linear.name}, the checkpoint has none of this name; fetch it again`,
      });
      continue;
    }
    const scheme = schemeOf(linear);
    const found = problemsOf(linear, weight, scheme);
    problems.push(...found);
    if (found.length > 0) continue;
    const own = scheme === config.scheme ? reason : `${reason}; here ${scheme.name}`;
    changes.push({ name: linear.name, action: 'quantize', reason: own, after: after(weight, scheme) });
  }
  for (const scheme of schemesOf({ scheme: config.scheme, schemeFor })) {
    const unsupported = config.range && rangeProblem(scheme, config.range);
    if (unsupported) {
      const { code, name, message, remedy } = unsupported;
      problems.push({ code, name, message: `${message}; ${remedy}` });
    }
  }
  const notices = linears.length === 0 && problems.length === 0 ? ['no linear layer is selected: nothing changes'] : [];
  return { linears, changes, problems, notices };
}

function after(weight: PlannedWeight, scheme: Scheme): PlannedWeight {
  const { name, shape, rank } = weight;
  const [rows = 0, columns = 0] = shape;
  const resolved = resolveScheme(scheme, isQuantizable(weight.dtype) ? weight.dtype : 'f32');
  const activations = countedActivations(scheme);
  const bytes = (r: number, c: number) => quantizedByteLength(resolved, r, c, false, activations);
  const common = {
    name,
    shape,
    dtype: restoredDType(resolved),
    scheme: resolved satisfies QuantizationScheme,
    ...(activations && { activations }),
  };
  if (rank === undefined) return { ...common, kind: 'quantized', byteLength: bytes(rows, columns) };
  return { ...common, kind: 'factored', rank, byteLength: bytes(rows, rank) + bytes(rank, columns) };
}

function problemsOf(linear: LinearSpec, weight: PlannedWeight, scheme: Scheme): TechniqueProblem[] {
  const { name, shape, kind, dtype, rank } = weight;
  const found: TechniqueProblem[] = [];
  const problem = (code: string, message: string) => void found.push({ code, name, message });
  if (shape.length !== 2 || shape[0] !== linear.outFeatures || shape[1] !== linear.inFeatures) {
    problem(
      'SHAPE_UNEXPECTED',
      `plan: ${name} must be [${linear.outFeatures}, ${linear.inFeatures}] by config.json, got [${shape.join(', ')}]; ` +
        'config.json and the weights belong to different models: fetch both from one place',
    );
    return found;
  }
  if ((kind !== 'dense' && kind !== 'factored') || (kind === 'factored' && weight.scheme !== undefined)) {
    const what = kind === 'sparse' ? 'stored sparse' : 'quantized already';
    problem(
      'REPRESENTATION_NOT_QUANTIZABLE',
      `plan: ${name} must be dense, or factors that are, got one that is ${what}; ignore "${linear.path}", or ` +
        (kind === 'sparse' ? 'store it dense in the stage before' : 'start from the unquantized checkpoint'),
    );
  } else if (!isQuantizable(dtype)) {
    problem(
      'DTYPE_NOT_QUANTIZABLE',
      `plan: ${name} must be f32, f16 or bf16 to be quantized, got ${dtype}; ignore "${linear.path}", or start from ` +
        'the unquantized checkpoint',
    );
  }
  const { granularity } = scheme.weights;
  const sides = [
    [name, shape[1]!] as const,
    ...(rank === undefined ? [] : [[`the left factor of ${name}`, rank] as const]),
  ];
  for (const [what, columns] of sides) {
    if (granularity.kind === 'group' && columns % granularity.size !== 0) {
      problem(
        'GROUP_DOES_NOT_DIVIDE',
        `plan: ${what} has ${columns} columns, which groups of ${granularity.size} do not divide; ` +
          groupRemedy(scheme, columns, linear.path),
      );
    }
    const ofInputs = inputGroupProblem(scheme, what, columns, linear.path);
    if (ofInputs) problem(ofInputs.code, `${ofInputs.message}; ${ofInputs.remedy}`);
  }
  if (rank !== undefined && needsCalibration(scheme)) {
    problem(
      'STATIC_ACTIVATIONS_FACTORED',
      `plan: ${name} is factored, and what lies between its factors has no calibrated range; use dynamic activations, ` +
        `or ignore "${linear.path}"`,
    );
  }
  return found;
}
