// One technique at a time: recipes of one stage, as functions.
import type { RunOptions } from '@pith/tensor-core';
import { validate } from '@pith/tensor-core';
import { z } from 'zod';
import type { ModelPlace } from '../source/locate-model.ts';
import type { Plan } from '../plan/types.ts';
import { METHODS_BY_KIND } from '../recipe/method-schemas.ts';
import type { StageKind } from '../recipe/stage-kinds.ts';
import type {
  CalibrationOptions,
  DistillStage,
  EvaluationOptions,
  FactorizeStage,
  PruneStage,
  Recipe,
  TrainingText,
} from '../recipe/types.ts';
import { compress, planRecipeAt } from './compress.ts';
import type { CompressResult } from './run-result.ts';

/** What every command of one technique takes beside the options of its method. */
export interface StageRunOptions extends RunOptions {
  /** Directory to create. */
  readonly output: string;
  /** What calibrated methods look at. */
  readonly calibration?: CalibrationOptions;
  /** What methods that train read; the calibration text when left out. */
  readonly data?: TrainingText;
  /** Measures quality before and after on a text, into the receipt. */
  readonly evaluate?: EvaluationOptions;
  /** Replaces an artefact of Pith at the output, and an unfinished run with other options; false when left out. */
  readonly overwrite?: boolean;
  /** Seed of everything random; 0 when left out. */
  readonly seed?: number;
  /** Most bytes of tensors in a file; 5 GB when left out. */
  readonly shardBytes?: number;
  /** How quantized weights are stored; compressed-tensors when left out. See `RecipeOutput`. */
  readonly format?: string;
  /** Stores pruned weights as compressed-tensors stores sparse ones, where that is smaller; false when left out. */
  readonly sparse?: boolean;
  /** Memory that may be used, in bytes; a plan that needs more has a problem. */
  readonly memoryBytes?: number;
  /** Threads; one for each processor when left out. The result does not depend on it. */
  readonly threads?: number;
  /** Called once, before any work, with the plan and the number of units that an earlier run has finished. */
  readonly onPlan?: (plan: Plan, finishedUnits: number) => void;
}

/** What {@link prune} is asked for: the options of a method, and of the run. */
export type PruneOptions = PruneStage & StageRunOptions;
/** What {@link factorize} is asked for: the options of a method, and of the run. */
export type FactorizeOptions = FactorizeStage & StageRunOptions;
/** What {@link distill} is asked for: the options of a method, and of the run. */
export type DistillOptions = Omit<DistillStage, 'method'> & StageRunOptions & StudentOptions;

/** Models beside the teacher. */
export interface StudentOptions {
  /** A checkpoint to start from, where the student is neither the teacher itself nor made of it. */
  readonly studentModel?: string;
  /** Further checkpoints that teach beside the first. */
  readonly furtherTeachers?: readonly string[];
}

/** The option that puts a stage of its own behind the first. */
const KV_CACHE = 'kvCache';

/** Options of the run; all others are those of the method. */
const RUN_KEYS = [
  'output',
  'overwrite',
  'memoryBytes',
  'threads',
  'onPlan',
  'signal',
  'progress',
  'notice',
] as const satisfies readonly (keyof StageRunOptions)[];

/**
 * A recipe of one stage from flat options; of two where keys and values are coded as well.
 *
 * @throws PithError `OPTIONS_INVALID` that names every offending option of the method.
 */
export function singleStage(kind: StageKind, given: Readonly<Record<string, unknown>>): Recipe {
  const { [KV_CACHE]: kvCache, ...flat } = given;
  const { calibration, evaluate, seed, shardBytes, sparse, format, data, studentModel, furtherTeachers, ...method } =
    flat as Partial<StageRunOptions & DistillOptions>;
  const schema = z.discriminatedUnion('method', METHODS_BY_KIND[kind] as unknown as [z.ZodObject, ...z.ZodObject[]]);
  const operation = 'method' in method ? `${kind} ${String(method.method)}` : kind;
  const check = (options: unknown) => validate(schema, options, { operation, code: 'OPTIONS_INVALID' });
  const stage = check(method);
  const second = kvCache === undefined ? [] : [{ [kind]: check({ method: 'kv-cache', scheme: kvCache }) }];
  const teachers = new Map((furtherTeachers ?? []).map((path, index) => [`teacher-${index + 2}`, path]));
  const named = [...(studentModel === undefined ? [] : [['student', studentModel] as const]), ...teachers];
  const models = named.length > 0 ? Object.fromEntries(named) : undefined;
  const output = {
    ...(format !== undefined && { format }),
    ...(shardBytes !== undefined && { shardBytes }),
    ...(sparse !== undefined && { sparse }),
  };
  return {
    version: 1,
    ...(seed !== undefined && { seed }),
    ...(calibration && { calibration }),
    ...(models && { models }),
    stages: [
      {
        ...(studentModel !== undefined && { from: 'student' }),
        ...(kind === 'distill' && { teacher: ['source', ...teachers.keys()] }),
        ...(data && { data }),
        [kind]: stage,
      },
      ...second,
    ],
    ...(evaluate && { evaluate }),
    ...(Object.keys(output).length > 0 && { output }),
  } as Recipe;
}

/** Runs one technique. */
export function runStage(kind: StageKind, model: string, options: StageRunOptions): Promise<CompressResult> {
  const { run, stage } = split({ ...options });
  return compress(model, { ...(run as unknown as StageRunOptions), recipe: singleStage(kind, stage) });
}

/** Plans one technique. */
export function planStage(
  kind: StageKind,
  model: ModelPlace,
  options: Readonly<Record<string, unknown>>,
): Promise<Plan> {
  const { run, stage } = split(options);
  const { output: _output, overwrite: _overwrite, onPlan: _onPlan, ...limits } = run as Partial<StageRunOptions>;
  return planRecipeAt(model, { ...limits, recipe: singleStage(kind, stage) });
}

/** Options of the run, and those of recipe and method. */
function split(options: Readonly<Record<string, unknown>>) {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  const isRun = ([key]: readonly [string, unknown]): boolean => (RUN_KEYS as readonly string[]).includes(key);
  return {
    run: Object.fromEntries(entries.filter(isRun)),
    stage: Object.fromEntries(entries.filter((entry) => !isRun(entry))),
  };
}

/**
 * Removes weights, or whole layers, neurons and heads, of a checkpoint into a new directory.
 *
 * @param model directory of a checkpoint.
 * @throws PithError `OPTIONS_INVALID`, and those of {@link compress}.
 */
export function prune(model: string, options: PruneOptions): Promise<CompressResult> {
  return runStage('prune', model, options);
}

/**
 * Replaces the linear layers of a checkpoint by products of two smaller ones, into a new directory.
 *
 * @param model directory of a checkpoint.
 * @throws PithError `OPTIONS_INVALID`, and those of {@link compress}.
 */
export function factorize(model: string, options: FactorizeOptions): Promise<CompressResult> {
  return runStage('factorize', model, options);
}

/**
 * Trains a student by what a teacher says about a text, and writes the student to a new directory.
 *
 * @param teacher directory of a checkpoint.
 * @throws PithError `OPTIONS_INVALID`, and those of {@link compress}.
 */
export function distill(teacher: string, options: DistillOptions): Promise<CompressResult> {
  return runStage('distill', teacher, { method: 'offline', ...options } as StageRunOptions);
}
