// The plan of a recipe: every stage says from headers alone what it will do to the model that the stages before it leave.
import { formatBytes } from '../format.ts';
import type { WeightFormat } from '@pith/checkpoint';
import type { LinearSpec, PlannedModel, PlannedWeight, TechniquePlan } from '@pith/model';
import { afterPlan, storageDifferences } from '@pith/model';
import { isPithError } from '@pith/tensor-core';
import { canonicalJson } from '../canonical-json.ts';
import { otherCodes, outputFormat, type OutputFormat } from '../export/output-format.ts';
import { DEFAULT_SHARD_BYTES } from '../plan/quantize-config.ts';
import { runtimeNotices } from '../plan/runtime-notices.ts';
import type { Plan, PlannedStep, PlannedTensor, PlanProblem } from '../plan/types.ts';
import { orderStages, SOURCE } from '../recipe/order-stages.ts';
import type { Recipe } from '../recipe/types.ts';
import { sha256 } from '../run/hash-tree.ts';
import { packageVersions } from '../versions.ts';
import { kvCacheNotices } from '../source/kv-cache-notice.ts';
import { estimateStages, type StageEstimate } from './estimate.ts';
import { plannedLayout, storedOptions } from './layout.ts';
import { outsideCodes, type OutsideCodes } from './outside-codes.ts';
import { phasesOf, needsWindows, type Phase } from './phases.ts';
import type { StageSource } from './stage-source.ts';
import { configOf, makeSteps, titleOf, type Step, type TechniqueMaker } from './technique.ts';
import type { Text } from '../evaluate/read-text.ts';
import { keyValueProblems, plannedScales } from './key-values.ts';
import type { BudgetChoice } from './fit-budget.ts';

/** What {@link prepareRecipe} is given. */
export interface Recipes {
  readonly recipe: Recipe;
  /** The model that the recipe starts from, and others that it names. */
  readonly sources: ReadonlyMap<string, StageSource>;
  readonly make: TechniqueMaker;
  /** The calibration text, where the recipe names one. */
  readonly calibration?: Text;
  /** Texts of stages that train, by the id of the stage. */
  readonly data: ReadonlyMap<string, Text>;
  readonly threads: number;
  readonly memoryBytes?: number;
  /** What the recipe's budget came to. */
  readonly budget?: BudgetChoice;
}

/** A planned recipe with all that is needed to carry it out. */
export interface PreparedRecipe extends Recipes {
  readonly plan: Plan;
  /** The model that the result descends from: its files are carried over. */
  readonly source: StageSource;
  readonly steps: readonly Step[];
  readonly phases: readonly Phase[];
  readonly shardBytes: number;
  /** How quantized weights are stored. */
  readonly format: WeightFormat;
  /** What the format codes outside of the blocks. */
  readonly outside: OutsideCodes;
  readonly versions: Readonly<Record<string, string>>;
  /** What every model is before the steps have run, by the name that it is known by. */
  readonly planned: ReadonlyMap<string, PlannedModel>;
  /** What the stages planned, by step id. */
  readonly stagePlans: ReadonlyMap<string, TechniquePlan>;
  /** Over everything that the output's bytes depend on but the source's values. */
  readonly sha256: string;
}

/** Plans a recipe. What does not fit is listed in the plan's `problems`. */
export function prepareRecipe(inputs: Recipes): PreparedRecipe {
  const { recipe, sources } = inputs;
  const problems: PlanProblem[] = [];
  const stored = outputFormat(recipe.output?.format);
  const { format } = stored;
  const make = withScaleDType(inputs.make, format);
  const steps = makeSteps(orderStages(recipe.stages, Object.keys(recipe.models ?? {})), make);
  const source = sources.get(rootOf(steps))!;
  const notices: string[] = [...sourceNotices(source)];
  const phases = phasesOf(steps);
  const models = new Map<string, PlannedModel>([...sources].map(([name, { planned }]) => [name, planned]));
  const traces = new Map<string, Trace>([...sources].map(([name, { planned }]) => [name, startTrace(planned)]));
  const stagePlans = new Map<string, TechniquePlan>();
  const label = (step: Step): string => (steps.length === 1 ? '' : `${step.id} (${titleOf(step)}): `);
  for (const step of steps) {
    const before = models.get(step.from);
    // The stage before could not be planned, which was said.
    if (before === undefined) break;
    const { technique } = step;
    const planned =
      technique.kind === 'pass' ? technique.pass.plan(before) : technique.transform.plan(before, step.teachers.length);
    stagePlans.set(step.id, planned);
    problems.push(
      ...planned.problems.map(({ code, name, message }) => ({
        code,
        name,
        message: label(step) + message.replace(/^plan: /, ''),
      })),
    );
    notices.push(...planned.notices.map((notice) => label(step) + notice));
    try {
      models.set(step.id, afterPlan(before, planned));
    } catch (error) {
      if (!isPithError(error) || error.kind !== 'input') throw error;
      problems.push({ code: error.code, name: step.id, message: label(step) + error.message });
      break;
    }
    traces.set(step.id, extendTrace(traces.get(step.from)!, step, planned));
  }
  const last = steps.at(-1)!;
  const result = models.get(last.id) ?? source.planned;
  if ([...result.weights.values()].some(({ kind }) => kind === 'quantized')) {
    notices.push(...runtimeNotices(format.name, source.model.config.modelType));
  }
  const shardBytes = recipe.output?.shardBytes ?? DEFAULT_SHARD_BYTES;
  problems.push(...calibrationProblems(inputs, phases, models), ...keyValueProblems(steps, format));
  const made = summarize({
    ...inputs,
    source,
    steps,
    phases,
    models,
    result,
    trace: traces.get(last.id) ?? startTrace(source.planned),
    problems,
    notices,
    shardBytes,
    stored,
    outside: outsideCodes(stored, result.architecture),
  });
  const versions = packageVersions();
  const identity = {
    versions,
    seed: recipe.seed ?? 0,
    calibration: recipe.calibration && { ...recipe.calibration, text: inputs.calibration?.sha256 ?? null },
    steps: steps.map((step) => ({
      id: step.id,
      from: step.from,
      teachers: step.teachers,
      kind: step.kind,
      config: configOf(step),
      data: step.data && { ...step.data, text: inputs.data.get(step.id)!.sha256 },
    })),
    models: modelHashes(sources),
    shardBytes,
    ...(recipe.output?.format !== undefined && { format: stored.text }),
    sparse: recipe.output?.sparse ?? false,
    ...(inputs.budget && { budget: inputs.budget }),
    evaluate: recipe.evaluate && { context: recipe.evaluate.context ?? null },
    config: source.source.checkpoint.configText,
    weights: [...source.planned.weights.values()].map(({ name, kind, shape, dtype }) => [name, kind, dtype, shape]),
  };
  return {
    ...inputs,
    plan: made,
    source,
    steps,
    phases,
    shardBytes,
    format,
    outside: outsideCodes(stored, result.architecture),
    versions,
    planned: models,
    stagePlans,
    sha256: sha256(canonicalJson(identity)),
  };
}

/** Quantizing stages store scales in the dtype of the format, where it has one and nothing else is asked for. */
function withScaleDType(make: TechniqueMaker, { scaleDType }: WeightFormat): TechniqueMaker {
  if (scaleDType === undefined) return make;
  return (kind, options) => {
    if (kind === 'quantize' && options['method'] === 'kv-cache') return make(kind, options);
    if (kind === 'quantize') return make(kind, { scaleDType, ...options });
    const { quantize } = options;
    if (kind !== 'prune' || typeof quantize !== 'object') return make(kind, options);
    return make(kind, { ...options, quantize: { scaleDType, ...quantize } });
  };
}

/** The model that the last step descends from. */
function rootOf(steps: readonly Step[]): string {
  const byId = new Map(steps.map((step) => [step.id, step]));
  let id = steps.at(-1)!.id;
  for (let step = byId.get(id); step !== undefined; step = byId.get(id)) id = step.from;
  return id;
}

/** What the models that a recipe names are, by the hashes of their files. */
export function modelHashes(sources: ReadonlyMap<string, StageSource>): Readonly<Record<string, string>> {
  const others = [...sources].filter(([name]) => name !== SOURCE);
  return Object.fromEntries(others.map(([name, { source }]) => [name, sha256(canonicalJson(source.files))]));
}

function sourceNotices({ restored, model, source }: StageSource): string[] {
  const { method, schemes = [] } = source.checkpoint.quantization ?? {};
  const how = method === undefined ? '' : ` (${[method, ...schemes].join(' ')})`;
  const kinds = [...new Set(restored.values())];
  const stored = storageDifferences(model.architecture, source.checkpoint.weights.keys());
  const again = kinds.map((kind) => {
    const count = [...restored.values()].filter((other) => other === kind).length;
    const coded = kind === 'quantized' ? how : '';
    return (
      `the source holds ${count} ${kind === 'factored' ? 'factored weights with quantized factors' : `${kind} weights`}${coded}: where a stage works on one it starts from its restored values, ` +
      (kind !== 'sparse'
        ? 'so that it is quantized again; the model before quantization gives better results'
        : 'zeros included')
    );
  });
  return [...(source.checkpoint.notices ?? []), ...stored, ...again, ...kvCacheNotices(source.checkpoint, false)];
}

function calibrationProblems(
  { recipe }: Recipes,
  phases: readonly Phase[],
  models: ReadonlyMap<string, PlannedModel>,
): PlanProblem[] {
  const looking = phases.filter((phase) => needsWindows(phase, linearsOf(models.get(phase.from))));
  const calibrated = looking.filter(({ steps }) => steps.some(({ data }) => data === undefined));
  if (calibrated.length > 0 && recipe.calibration === undefined) {
    const names = calibrated.flatMap(({ steps }) => steps.map(titleOf)).join(', ');
    return [
      {
        code: 'CALIBRATION_MISSING',
        name: 'calibration',
        message: `${names}: a calibration text is needed, none was given; name one (--calibration FILE, or calibration.text in a recipe)`,
      },
    ];
  }
  if (calibrated.length === 0 && recipe.calibration !== undefined) {
    const names = phases.flatMap(({ steps }) => steps.map(titleOf)).join(', ');
    return [
      {
        code: 'CALIBRATION_UNUSED',
        name: 'calibration',
        message: `${names}: nothing is calibrated, yet a calibration text was given; leave it out, or choose a method that looks at text`,
      },
    ];
  }
  return [];
}

function linearsOf(model: PlannedModel | undefined): LinearSpec[] {
  return model === undefined ? [] : model.architecture.blocks.flatMap(({ linears }) => linears);
}

/** What became of each weight of the source, stage by stage. */
interface Trace {
  /** Steps by name in the source. */
  readonly steps: ReadonlyMap<string, readonly PlannedStep[]>;
  /** Present name by name in the source; null where it is gone. */
  readonly names: ReadonlyMap<string, string | null>;
}

function startTrace({ weights }: PlannedModel): Trace {
  const names = [...weights.keys()];
  return { steps: new Map(names.map((name) => [name, []])), names: new Map(names.map((name) => [name, name])) };
}

function extendTrace(trace: Trace, step: Step, { changes }: TechniquePlan): Trace {
  const steps = new Map(trace.steps);
  const names = new Map(trace.names);
  const byName = new Map(changes.map((change) => [change.name, change]));
  for (const [source, present] of trace.names) {
    const change = present === null ? undefined : byName.get(present);
    if (change === undefined) continue;
    const { action, reason, after } = change;
    steps.set(source, [
      ...steps.get(source)!,
      {
        stage: step.id,
        action,
        reason,
        bytesAfter: after?.byteLength ?? 0,
        shape: after?.shape ?? [],
        name: after?.name ?? null,
      },
    ]);
    names.set(source, after?.name ?? null);
  }
  return { steps, names };
}

interface Summary extends Recipes {
  readonly source: StageSource;
  readonly steps: readonly Step[];
  readonly phases: readonly Phase[];
  readonly models: ReadonlyMap<string, PlannedModel>;
  readonly result: PlannedModel;
  readonly trace: Trace;
  readonly problems: PlanProblem[];
  readonly notices: readonly string[];
  readonly shardBytes: number;
  readonly stored: OutputFormat;
  readonly outside: OutsideCodes;
}

function summarize(summary: Summary): Plan {
  const { source, result, trace, recipe, steps, problems, stored, outside } = summary;
  const { checkpoint } = source.source;
  const sparse = recipe.output?.sparse === true;
  const kept = result.keyValueCache ?? null;
  const scales = kept === null ? [] : plannedScales(kept, result.architecture.config);
  const weights = [...result.weights.values()].map((weight) => {
    const original = outside.plan(source.originalPlan(weight), problems);
    return sparse ? sparsePlan(original) : original;
  });
  const finals = [...weights, ...scales];
  const options = storedOptions(
    result.architecture,
    new Map(weights.map((weight) => [weight.name, weight])),
    stored.format,
    kept,
  );
  const { layout, bytes, problems: unfit } = plannedLayout(finals, options, summary.shardBytes);
  problems.push(...unfit, ...otherCodes(stored, finals));
  const coded = new Map(finals.flatMap((weight) => (weight.scheme === undefined ? [] : [[weight.name, weight]])));
  const tensors = [...source.planned.weights.values()].map((weight): PlannedTensor => {
    const before = source.bytesBefore(weight);
    const taken = trace.steps.get(weight.name)!;
    const name = trace.names.get(weight.name)!;
    const bytesAfter = name === null ? 0 : (bytes.get(name) ?? 0);
    if (taken.length === 0) {
      const made = coded.get(weight.name);
      const reason = made === undefined ? undefined : outside.reason(made);
      if (reason !== undefined)
        return { name: weight.name, action: 'quantize', reason, bytesBefore: before, bytesAfter };
      return {
        name: weight.name,
        action: 'keep',
        reason: 'kept: no stage works on it',
        bytesBefore: before,
        bytesAfter,
      };
    }
    return {
      name: weight.name,
      action: [...new Set(taken.map(({ action }) => action))].join('+'),
      reason: taken.map(({ reason }) => reason).join(', then '),
      bytesBefore: before,
      bytesAfter,
      steps: taken,
    };
  });
  for (const { name, byteLength } of scales) {
    tensors.push({
      name,
      action: 'add',
      reason: kept!.reasons.get(name)!,
      bytesBefore: 0,
      bytesAfter: byteLength,
    });
  }
  const dataBytes = sum(bytes.values());
  const parameters = valuesOf(source.planned.weights.values());
  const touched = finals.filter(({ kind }) => kind === 'quantized');
  const estimate = estimateOf(summary);
  if (summary.memoryBytes !== undefined && estimate.peakMemoryBytes > summary.memoryBytes) {
    problems.push({
      code: 'MEMORY_TOO_SMALL',
      name: 'memoryBytes',
      message:
        `the run needs up to ${formatBytes(estimate.peakMemoryBytes)} of memory (${estimate.where}), ` +
        `${formatBytes(summary.memoryBytes)} are allowed; allow more`,
    });
  }
  const indexBytes = checkpoint.files
    .filter((file) => file.role === 'index')
    .reduce((sum, file) => sum + file.byteLength, 0);
  return {
    architecture: source.model.config.modelType,
    options: recipeOptions(recipe, steps, summary),
    stages: steps.map((step) => ({
      id: step.id,
      kind: step.kind,
      method: step.method,
      from: step.from,
      teachers: step.teachers,
      config: configOf(step),
    })),
    tensors,
    notices: summary.notices,
    bytesBefore: checkpoint.weightFileBytes + indexBytes,
    bytesAfter: layout.totalBytes - layout.dataBytes + dataBytes,
    bitsPerWeight: parameters === 0 ? 0 : (8 * dataBytes) / parameters,
    quantizedBitsPerWeight:
      touched.length === 0 ? 0 : (8 * sum(touched.map(({ name }) => bytes.get(name) ?? 0))) / valuesOf(touched),
    parameters,
    peakMemoryBytes: estimate.peakMemoryBytes,
    secondsEstimate: estimate.seconds,
    problems,
  };
}

/** The estimate under the limit, or without one where nothing fits, which the plan then says. */
function estimateOf(summary: Summary): StageEstimate {
  try {
    return estimateStages(summary);
  } catch (error) {
    if (!isPithError(error) || error.code !== 'MEMORY_TOO_SMALL') throw error;
    const { neededBytes } = error.details as { neededBytes: number };
    return estimateStages({ ...summary, memoryBytes: neededBytes });
  }
}

/** About what a pruned weight takes with one bit for each value beside those that stay. */
function sparsePlan(weight: PlannedWeight): PlannedWeight {
  const { kind, sparsity = 0, shape, byteLength } = weight;
  if (kind !== 'dense' || sparsity === 0) return weight;
  const values = shape.reduce((a, b) => a * b, 1);
  const bytes = Math.ceil(byteLength * (1 - sparsity) + values / 8 + 8 * (shape[0] ?? 0));
  return bytes < byteLength ? { ...weight, byteLength: bytes } : weight;
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

function valuesOf(weights: Iterable<Pick<PlannedWeight, 'shape'>>): number {
  let sum = 0;
  for (const { shape } of weights) sum += shape.reduce((a, b) => a * b, 1);
  return sum;
}

/** What a receipt and a plan say was asked for. Paths are left out: they say more of the machine than of the work. */
export function recipeOptions(
  recipe: Recipe,
  steps: readonly Step[],
  { sources, budget }: Pick<Recipes, 'sources' | 'budget'>,
): Readonly<Record<string, unknown>> {
  const { text: _text, ...calibration } = recipe.calibration ?? {};
  return {
    seed: recipe.seed ?? 0,
    ...(recipe.models && { models: modelHashes(sources) }),
    ...(recipe.calibration && { calibration }),
    ...(budget && { budget }),
    stages: steps.map((step) => ({
      id: step.id,
      from: step.from,
      ...(step.teachers.length > 0 && { teachers: step.teachers }),
      [step.kind]: configOf(step),
    })),
    output: {
      ...(recipe.output?.format !== undefined && { format: recipe.output.format }),
      shardBytes: recipe.output?.shardBytes ?? DEFAULT_SHARD_BYTES,
      sparse: recipe.output?.sparse ?? false,
    },
  };
}
