// A recipe from plan to artefact: stages with everything finished kept on the disk, then the checkpoint, read back, with
// its receipt, under its final name.
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import {
  parseJsonObject,
  QUANTIZATION_KEYS,
  setMembers,
  storedMembers,
  type JsonValue,
  type Checkpoint,
} from '@pith/checkpoint';
import { openOutput } from '@pith/checkpoint/node';
import { openModel } from '@pith/model/node';
import { keyValueWeights, storedWeightOf, type CalibrationMemoryPlan, type CalibrationWindows } from '@pith/model';
import { compactWeights, PithError, throwIfStopped, type Device, type RunOptions } from '@pith/tensor-core';
import { cpuDevice, createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { canonicalJson } from '../canonical-json.ts';
import { readText, readTextOrIds, type Text } from '../evaluate/read-text.ts';
import type { Plan } from '../plan/types.ts';
import { orderStages, SOURCE } from '../recipe/order-stages.ts';
import { readRecipe, checkRecipe } from '../recipe/read-recipe.ts';
import type { Recipe } from '../recipe/types.ts';
import { readReceipt, RECEIPT_NAME, receiptText } from '../receipt/receipt.ts';
import { saveReport } from '../report/save-report.ts';
import type { Receipt } from '../receipt/types.ts';
import { buildStagedReceipt } from '../receipt/build-staged-receipt.ts';
import { localModel, placeOfHeaders, type ModelPlace } from '../source/locate-model.ts';
import { carriedFiles } from '../source/carried-files.ts';
import { openSource } from '../source/open-source.ts';
import { calibrationMemory, plannedWindows } from '../stages/calibration-memory.ts';
import { requireSameVocabularies } from '../stages/check-vocabularies.ts';
import { layoutOf, storedOptions } from '../stages/layout.ts';
import { prepareWithinBudget, requireWithinBudget } from '../stages/fit-budget.ts';
import type { PreparedRecipe } from '../stages/prepare-recipe.ts';
import { runPhases, type FinishedPhases } from '../stages/run-phases.ts';
import { stageSource, type StageSource } from '../stages/stage-source.ts';
import { makeTechnique } from '../stages/make-technique.ts';
import { dataWindows, windowsOf } from '../stages/texts.ts';
import { writeWeights } from '../stages/write-artefact.ts';
import { headerOf, refuseChangedSource, refuseDifferences, refuseProblems } from './guards.ts';
import type { SourceFileState, TensorLeaves } from './journal.ts';
import { sha256 } from './hash-tree.ts';
import { resultOf, type CompressResult } from './run-result.ts';
import { sourceHashes } from './source-hashes.ts';
import { openWork, type WorkDirectory } from './work-directory.ts';

/** What {@link compress} and `planRecipe` are asked for. */
export interface RecipeOptions {
  /** A recipe, or the path of one (YAML). */
  readonly recipe: Recipe | string;
  /** Memory that may be used, in bytes; a plan that needs more has a problem. */
  readonly memoryBytes?: number;
  /** Threads; one for each processor when left out. The result does not depend on it. */
  readonly threads?: number;
}

/** What {@link compress} is asked for. */
export interface CompressOptions extends RecipeOptions, RunOptions {
  /** Directory to create. */
  readonly output: string;
  /** Replaces an artefact of Pith at the output, and an unfinished run with other options; false when left out. */
  readonly overwrite?: boolean;
  /** Called once, before any work, with the plan and the number of units that an earlier run has finished. */
  readonly onPlan?: (plan: Plan, finishedUnits: number) => void;
}

/**
 * Says what {@link compress} would do with the same recipe; reads headers and the calibration text only.
 *
 * @param model directory of a checkpoint.
 * @throws PithError those of reading a recipe and of opening a checkpoint. What does not fit is not thrown but listed in
 * `problems`.
 */
export function planRecipe(model: string, options: RecipeOptions & RunOptions): Promise<Plan> {
  return planRecipeAt(model, options);
}

/** The same of a model that was looked up already. */
export async function planRecipeAt(place: ModelPlace, options: RecipeOptions & RunOptions): Promise<Plan> {
  const { prepared, close } = await prepare(place, options, placeOfHeaders);
  await close();
  return prepared.plan;
}

/**
 * Carries out a recipe of stages.
 *
 * Blocks and models that are finished are kept beside the output: when the run is stopped or killed, the same call
 * continues it and ends with the same bytes. The artefact is read back and checked before it gets its name, in one
 * atomic step.
 *
 * @param model directory of a checkpoint: dense, quantized, sparse or factored.
 * @throws PithError `RECIPE_...`, `PLAN_PROBLEMS` (nothing was done; details list all), `CALIBRATION_...`, `OUTPUT_EXISTS`,
 * `OUTPUT_LOCKED`, `OUTPUT_UNFINISHED_DIFFERS`, `OUTPUT_DISK_FULL`, `OUTPUT_NOT_WRITABLE`, `SOURCE_CHANGED`, `STOPPED`,
 * `READ_BACK_FAILED`, `BUDGET_MISSED`, and those of the methods.
 */
export async function compress(model: string, options: CompressOptions): Promise<CompressResult> {
  const begun = performance.now();
  const started = new Date().toISOString();
  const { output, overwrite = false, onPlan, signal, progress, notice, ...recipeOptions } = options;
  const run: RunOptions = { ...(signal && { signal }), ...(progress && { progress }), ...(notice && { notice }) };
  throwIfStopped(signal, 'compress');
  const { prepared: planned, close } = await prepare(model, { ...recipeOptions, ...run }, localModel);
  try {
    refuseProblems('compress', planned.plan);
    const { evaluate } = planned.recipe;
    if (evaluate !== undefined) await checkEvaluation(planned.source.source.directory, evaluate);
    const calibration = planned.calibration && windowsOf(planned.source.model, planned.calibration, planned.recipe);
    const data = new Map(
      planned.steps.flatMap(({ id, data: own }) =>
        own ? [[id, dataWindows(planned.source.model, planned.data.get(id)!, own)] as const] : [],
      ),
    );
    requireSameVocabularies(planned, (id) => data.get(id) ?? calibration?.windows ?? []);
    const evaluationWindows = await windowsToJudge(planned);
    const memory = memoryOf(planned, calibration);
    // Batches of another size change the last bits of sums: a run goes on only with those that it was begun with.
    const batches = memory.map((one) => one?.batchTokens ?? null);
    const prepared = { ...planned, sha256: sha256(canonicalJson([planned.sha256, batches])) };
    const header = headerOf(prepared, statesOf(prepared), started);
    const opened = await openWork(output, { header, overwrite });
    const seconds = (): number => (performance.now() - begun) / 1000;
    if (opened.kind === 'finished') return resultOf(output, opened.receipt, seconds());
    const work = opened.directory;
    try {
      const receipt = await carryOut({
        prepared,
        work,
        calibration,
        data,
        memory,
        evaluationWindows,
        onPlan,
        seconds,
        ...run,
      });
      await work.finish();
      return resultOf(output, receipt, seconds());
    } catch (error) {
      await work.close();
      throw error;
    }
  } finally {
    await close();
  }
}

/** Opens and plans; `locate` finds the models, `close` closes them. */
async function prepare(
  model: ModelPlace,
  { recipe: given, memoryBytes, threads = availableParallelism(), ...run }: RecipeOptions & RunOptions,
  locate: (model: string, run: RunOptions) => Promise<ModelPlace>,
): Promise<{ readonly prepared: PreparedRecipe; readonly close: () => Promise<void> }> {
  const recipe = await withStudents(typeof given === 'string' ? await readRecipe(given) : checkRecipe(given));
  const calibration = recipe.calibration && (await readTextOrIds(recipe.calibration.text));
  const data = new Map<string, Text>();
  for (const { id, stage } of orderStages(recipe.stages, Object.keys(recipe.models ?? {}))) {
    if (stage.data) data.set(id, await readTextOrIds(stage.data.text));
  }
  const sources = new Map<string, StageSource>();
  const close = async (): Promise<void> => {
    for (const { source } of sources.values()) await source.checkpoint.store.close();
  };
  try {
    const models: readonly (readonly [string, ModelPlace])[] = [
      [SOURCE, model],
      ...Object.entries(recipe.models ?? {}),
    ];
    for (const [name, place] of models) {
      const located = typeof place === 'string' ? await locate(place, run) : place;
      sources.set(name, await stageSource(await openSource(located)));
    }
    const prepared = prepareWithinBudget({
      recipe,
      sources,
      data,
      make: makeTechnique,
      threads,
      ...(calibration && { calibration }),
      ...(memoryBytes !== undefined && { memoryBytes }),
    });
    return { prepared, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Students that are the path of a config.json, with what it says put in. */
async function withStudents(recipe: Recipe): Promise<Recipe> {
  const stages = await Promise.all(
    recipe.stages.map(async (stage) => {
      const student = stage.distill?.student;
      if (typeof student !== 'string' || !student.endsWith('.json')) return stage;
      const config = parseJsonObject(Buffer.from((await readText(student)).text), {
        codes: 'STUDENT',
        operation: 'read student',
        file: student,
      });
      return { ...stage, distill: { ...stage.distill!, student: { kind: 'random' as const, config: { ...config } } } };
    }),
  );
  return { ...recipe, stages };
}

/** The state of every model's files; those of models beside the first under their names. */
function statesOf({ sources }: PreparedRecipe): SourceFileState[] {
  return [...sources].flatMap(([name, { source }]) =>
    source.states.map((state) => (name === SOURCE ? state : { ...state, name: `${name}/${state.name}` })),
  );
}

interface Job extends RunOptions {
  readonly prepared: PreparedRecipe;
  readonly work: WorkDirectory;
  readonly calibration: CalibrationWindows | undefined;
  readonly data: ReadonlyMap<string, readonly Int32Array[]>;
  readonly memory: readonly (CalibrationMemoryPlan | null)[];
  readonly evaluationWindows: readonly Int32Array[] | undefined;
  readonly onPlan: CompressOptions['onPlan'];
  readonly seconds: () => number;
}

async function carryOut(job: Job): Promise<Receipt> {
  const { prepared, work, calibration, data, memory, evaluationWindows, onPlan, signal, progress } = job;
  if (work.published) {
    // Killed between the two last renames: the artefact was checked and has its receipt.
    onPlan?.(prepared.plan, 0);
    return readReceipt(work.paths.artefact);
  }
  const run: RunOptions = { ...(signal && { signal }), ...(progress && { progress }) };
  const pool = createKernelPool({ threads: prepared.threads });
  const device = cpuDevice({ threads: prepared.threads });
  try {
    onPlan?.(prepared.plan, finishedUnits(work.paths.stages));
    const hashes = await sourceHashes(prepared.source.source, statesOf(prepared), work, pool, run);
    const finished = await runPhases({
      prepared,
      directory: work.paths.stages,
      device,
      pool,
      windows: calibration?.windows ?? [],
      data,
      memory,
      ...(evaluationWindows && { evaluationWindows }),
      ...run,
    });
    try {
      return await writeArtefact(job, finished, hashes, pool, device);
    } finally {
      await finished.close();
    }
  } finally {
    await device.dispose();
    await pool.dispose();
  }
}

async function writeArtefact(
  job: Job,
  finished: FinishedPhases,
  hashes: readonly TensorLeaves[],
  pool: KernelPool,
  device: Device,
): Promise<Receipt> {
  const { prepared, work, signal, progress } = job;
  const run: RunOptions = { ...(signal && { signal }), ...(progress && { progress }) };
  const { source } = prepared.source;
  const { model, config } = finished.result;
  const made = [...model.weights.values()].map((weight) => prepared.outside.code(prepared.source.original(weight)));
  const compact = prepared.recipe.output?.sparse === true ? await compactWeights(made) : made;
  const own = compact.map(storedWeightOf(model.architecture));
  const { keyValueCache } = model;
  const weights = [...own, ...(keyValueCache ? keyValueWeights(keyValueCache) : [])];
  const options = storedOptions(
    model.architecture,
    new Map(own.map((weight) => [weight.name, weight])),
    prepared.format,
    keyValueCache ?? null,
  );
  const layout = layoutOf(weights, options, prepared.shardBytes);
  const { totalBytes, dataBytes } = layout;
  const { parameters } = prepared.plan;
  requireWithinBudget(prepared.recipe, { bytesAfter: totalBytes, bitsPerWeight: (8 * dataBytes) / parameters });
  const said = storedMembers(weights, options);
  const configText = setMembers(changedConfig(source.checkpoint, config), said.members);
  const output = await openOutput(work.paths.artefact, layout, { mode: 'either' });
  try {
    const wrote = await writeWeights(weights, output, options, run);
    for (const one of prepared.sources.values()) await refuseChangedSource('compress', one.source);
    for (const [name, bytes] of Object.entries(await carriedFiles(source.checkpoint))) {
      await output.writeFile(name, bytes);
    }
    await output.writeFile('config.json', configText);
    for (const [name, text] of Object.entries(said.files)) await output.writeFile(name, text);
    await output.finish(run);
    await refuseUnreadable(output.workingDirectory);
    const measured = await measure(job, output.workingDirectory);
    const receipt = await buildStagedReceipt({
      prepared,
      calibration: job.calibration,
      finished,
      weights,
      options,
      formatFiles: Object.keys(said.files),
      layout,
      device,
      directory: output.workingDirectory,
      hashes,
      wrote,
      ...measured,
      started: work.journal.header.started,
      seconds: job.seconds(),
    });
    await refuseDifferences('compress', output.workingDirectory, receipt, pool, run);
    await output.writeFile(RECEIPT_NAME, receiptText(receipt));
    await saveReport(receipt, output, { output: work.paths.output, config: source.checkpoint.config });
    throwIfStopped(signal, 'compress');
    await output.publish();
    return receipt;
  } finally {
    await output.close();
  }
}

/** The text of config.json with the members that stages changed; quantization is said when it is known. */
function changedConfig({ config, configText }: Checkpoint, made: Readonly<Record<string, unknown>>): string {
  const changes: Record<string, JsonValue | undefined> = {};
  for (const key of new Set([...Object.keys(config), ...Object.keys(made)])) {
    if (QUANTIZATION_KEYS.includes(key)) continue;
    if (canonicalJson(config[key] ?? null) !== canonicalJson(made[key] ?? null)) changes[key] = made[key] as JsonValue;
  }
  return setMembers(configText, changes);
}

/** The artefact must open as the model that its config says: shapes follow from it, nothing is missing or left over. */
async function refuseUnreadable(directory: string): Promise<void> {
  try {
    await (await openModel(directory)).close();
  } catch (cause) {
    throw new PithError(
      'READ_BACK_FAILED',
      `compress: the artefact must open as a model, it does not: ${(cause as Error).message}`,
      { kind: 'internal', cause },
    );
  }
}

/** Units of work that earlier runs have stored, as far as their names tell. */
function finishedUnits(stages: string): number {
  if (!existsSync(stages)) return 0;
  return readdirSync(stages).reduce((sum, stage) => {
    const names = readdirSync(join(stages, stage));
    return sum + names.filter((name) => /^(block-\d+|result)\.json$/.test(name)).length;
  }, 0);
}

/** How each phase keeps within the limit, now that the number of windows is known. */
function memoryOf(prepared: PreparedRecipe, calibration: CalibrationWindows | undefined) {
  const { phases, planned, recipe, memoryBytes } = prepared;
  return phases.map((phase) => {
    const model = planned.get(phase.from)!;
    const { windows, context } = plannedWindows(recipe, model);
    const count = calibration
      ? { windows: calibration.windows.length, context: calibration.context }
      : { windows, context };
    return calibrationMemory(phase, model, recipe, count, memoryBytes);
  });
}

/** Windows of the evaluation, for stages that go on until quality falls; only they need them before the end. */
async function windowsToJudge({ recipe, source, steps }: PreparedRecipe): Promise<readonly Int32Array[] | undefined> {
  if (recipe.evaluate === undefined || steps.every(({ technique }) => technique.kind === 'pass')) return undefined;
  const { text, context } = recipe.evaluate;
  const content = await readTextOrIds(text);
  return dataWindows(source.model, content, { text, ...(context !== undefined && { context }) });
}

/** What would stop the evaluation at the end is found before the work. */
async function checkEvaluation(model: string, { text, context }: NonNullable<Recipe['evaluate']>): Promise<void> {
  const { checkText } = await import('../evaluate/quality.ts');
  await checkText(model, { data: text, ...(context !== undefined && { context }) });
}

async function measure({ prepared, signal, progress }: Job, artefact: string) {
  const { evaluate } = prepared.recipe;
  if (evaluate === undefined) return {};
  const [{ measureQuality }, { takeSamples }] = [
    await import('../evaluate/quality.ts'),
    await import('../evaluate/samples.ts'),
  ];
  const run = { threads: prepared.threads, ...(signal && { signal }), ...(progress && { progress }) };
  const source = prepared.sources.get(SOURCE)!.source.directory;
  const quality = await measureQuality(artefact, source, {
    data: evaluate.text,
    ...(evaluate.context !== undefined && { context: evaluate.context }),
    ...(prepared.memoryBytes !== undefined && { memoryBytes: prepared.memoryBytes }),
    ...run,
  });
  return { quality, samples: await takeSamples(artefact, source, evaluate.text, run) };
}
