// The main job: plan, run with a journal, read back, receipt, final name.
import { openOutput, type CheckpointOutput } from '@pith/checkpoint/node';
import { throwIfStopped, type RunOptions } from '@pith/tensor-core';
import { createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { carriedFiles } from '../source/carried-files.ts';
import { ownRounding, withVariantScheme } from '../plan/own-rounding.ts';
import { exportLimits, preparePlan, type PreparedPlan } from '../plan/plan.ts';
import { defaultScheme, requireKnown } from '../plan/quantize-config.ts';
import { streamsFiles } from '../plan/streams-files.ts';
import type { Plan, QuantizeOptions } from '../plan/types.ts';
import { buildReceipt } from '../receipt/build-receipt.ts';
import { readReceipt, RECEIPT_NAME, receiptText } from '../receipt/receipt.ts';
import { saveReport } from '../report/save-report.ts';
import type { QualityReceipt, Receipt } from '../receipt/types.ts';
import { headerOf, refuseChangedSource, refuseDifferences, refuseProblems } from './guards.ts';
import { resultOf, type CompressResult } from './run-result.ts';
import { acceptEarlierUnits } from './resume.ts';
import { runUnits } from './run-units.ts';
import type { StageRunOptions } from './stage-commands.ts';
import type { EvaluationOptions } from '../recipe/types.ts';
import { openWork, type WorkDirectory } from './work-directory.ts';
import { localModel } from '../source/locate-model.ts';

/** What {@link quantize} is asked for. */
export interface QuantizeRunOptions extends QuantizeOptions, RunOptions {
  /** Directory to create. */
  readonly output: string;
  /** Replaces an artefact of Pith at the output, and an unfinished run with other options; false when left out. */
  readonly overwrite?: boolean;
  /** Measures quality before and after on a text, into the receipt. */
  readonly evaluate?: EvaluationOptions;
  /** Called once, before any work, with the plan and the number of units that an earlier run has finished. */
  readonly onPlan?: (plan: Plan, finishedUnits: number) => void;
}

/**
 * Quantizes a checkpoint into a new directory.
 *
 * Round to nearest of dense weights streams from file to file on worker threads; every other method walks through the
 * model block by block ({@link compress}). Memory does not grow with the model. What is finished is journalled: when the
 * run is stopped or killed, the same call continues it and ends with the same bytes. The artefact is read back and checked
 * before it gets its name, in one atomic step.
 *
 * A format with a variant (`mlx:4`) and nothing of a method rounds as its own tools do: the files of {@link exportModel}, which
 * starts anew when it was stopped. With a method the variant stands for its scheme.
 *
 * @param name directory of a checkpoint, or a hub id.
 * @throws PithError `PLAN_PROBLEMS` (nothing was done; details list all), `OUTPUT_EXISTS`, `OUTPUT_LOCKED`,
 * `OUTPUT_UNFINISHED_DIFFERS`, `OUTPUT_DISK_FULL`, `OUTPUT_NOT_WRITABLE`, `SOURCE_CHANGED`, `WEIGHT_NOT_FINITE`,
 * `STOPPED`, `READ_BACK_FAILED`, `FORMAT_HOLDS_NO_CODES`, `FORMAT_SCHEME_DIFFERS`, and those of `plan`.
 */
export async function quantize(name: string, given: QuantizeRunOptions): Promise<CompressResult> {
  const own = ownRounding(given);
  if (own !== undefined) return roundByFormat(name, own, given);
  const options = withVariantScheme(given);
  const model = await localModel(name, options);
  if (!(await streamsFiles(model, options))) {
    // Loaded where it is needed: rounding from file to file takes less time than that.
    const { runStage } = await import('./stage-commands.ts');
    return runStage('quantize', model, stageOptions(options));
  }
  const begun = performance.now();
  const started = new Date().toISOString();
  const {
    output,
    overwrite = false,
    evaluate,
    onPlan,
    signal,
    progress,
    notice: _notice,
    ...quantizeOptions
  } = options;
  const run: RunOptions = { ...(signal && { signal }), ...(progress && { progress }) };
  throwIfStopped(signal, 'quantize');
  const prepared = await preparePlan(model, quantizeOptions);
  try {
    refuseProblems('quantize', prepared.plan);
    if (evaluate !== undefined) await checkEvaluation(model, evaluate);
    const header = headerOf(prepared, prepared.source.states, started);
    const opened = await openWork(output, { header, overwrite });
    const seconds = (): number => (performance.now() - begun) / 1000;
    if (opened.kind === 'finished') return resultOf(output, opened.receipt, seconds());
    const work = opened.directory;
    try {
      const receipt = await carryOut({ prepared, work, evaluate, onPlan, seconds, ...run });
      await work.finish();
      return resultOf(output, receipt, seconds());
    } catch (error) {
      await work.close();
      throw error;
    }
  } finally {
    await prepared.source.checkpoint.store.close();
  }
}

/** The format rounds by itself: an export. */
async function roundByFormat(name: string, format: string, options: QuantizeRunOptions): Promise<CompressResult> {
  const { exportModel } = await import('../export/export-model.ts');
  const { output, overwrite, evaluate, onPlan, signal, progress, notice } = options;
  const done = await exportModel(name, {
    ...exportLimits(options),
    format,
    output,
    ...(overwrite !== undefined && { overwrite }),
    ...(evaluate && { evaluate }),
    ...(onPlan && { onPlan: (made: Plan) => onPlan(made, 0) }),
    ...(signal && { signal }),
    ...(progress && { progress }),
    ...(notice && { notice }),
  });
  const result = resultOf(output, await readReceipt(done.output), done.seconds);
  return { ...result, output: done.output, receipt: done.receipt };
}

interface Job extends RunOptions {
  readonly prepared: PreparedPlan;
  readonly work: WorkDirectory;
  readonly evaluate: QuantizeRunOptions['evaluate'];
  readonly onPlan: QuantizeRunOptions['onPlan'];
  readonly seconds: () => number;
}

async function carryOut(job: Job): Promise<Receipt> {
  const { prepared, work, onPlan } = job;
  if (work.published) {
    // Killed between the two last renames: the artefact was checked and has its receipt.
    onPlan?.(prepared.plan, prepared.units.length);
    return readReceipt(work.paths.artefact);
  }
  const output = await openOutput(work.paths.artefact, prepared.layout, { mode: 'either' });
  const pool = createKernelPool({ threads: prepared.config.threads });
  try {
    return await writeArtefact(job, output, pool);
  } finally {
    await pool.dispose();
    await output.close();
  }
}

async function writeArtefact(job: Job, output: CheckpointOutput, pool: KernelPool): Promise<Receipt> {
  const { prepared, work, signal, progress } = job;
  const { source, units } = prepared;
  const run: RunOptions = { ...(signal && { signal }), ...(progress && { progress }) };
  const finished = await acceptEarlierUnits({ prepared, journal: work.journal, output, pool, ...run });
  job.onPlan?.(prepared.plan, finished.size);
  const { format, context } = prepared;
  const done = await runUnits(units, { pool, output, journal: work.journal, finished, format, context, ...run });
  await pool.closeFiles();
  await refuseChangedSource('quantize', prepared.source);
  for (const [name, bytes] of Object.entries(await carriedFiles(source.checkpoint)))
    await output.writeFile(name, bytes);
  await output.writeFile('config.json', prepared.configText);
  for (const [name, text] of Object.entries(prepared.formatFiles)) await output.writeFile(name, text);
  await output.finish(run);
  const quality = job.evaluate === undefined ? undefined : await measureQuality(job, output.workingDirectory);
  const receipt = await buildReceipt({
    prepared,
    directory: output.workingDirectory,
    units: done,
    resumedUnits: finished.size,
    quality,
    started: work.journal.header.started,
    seconds: job.seconds(),
  });
  await refuseDifferences('quantize', output.workingDirectory, receipt, pool, run);
  await output.writeFile(RECEIPT_NAME, receiptText(receipt));
  await saveReport(receipt, output, { output: work.paths.output, config: source.checkpoint.config });
  throwIfStopped(signal, 'quantize');
  await output.publish();
  return receipt;
}

/** The options of a staged run. */
function stageOptions({
  format,
  method = 'rtn',
  scheme = defaultScheme(method),
  generic: _generic,
  ...options
}: QuantizeRunOptions): StageRunOptions {
  requireKnown({ method, ...(format !== undefined && { format }) });
  return { method, scheme, ...options, ...(format !== undefined && { format }) } as StageRunOptions;
}

/** What would stop the evaluation at the end is found before the work. */
async function checkEvaluation(model: string, { text, ...options }: NonNullable<Job['evaluate']>): Promise<void> {
  const { checkText } = await import('../evaluate/quality.ts');
  await checkText(model, { data: text, ...options });
}

async function measureQuality(job: Job, artefact: string): Promise<QualityReceipt> {
  const { measureQuality: measure } = await import('../evaluate/quality.ts');
  const { prepared, signal, progress } = job;
  const { text, ...options } = job.evaluate!;
  return measure(artefact, prepared.source.directory, {
    data: text,
    ...options,
    threads: prepared.config.threads,
    ...(signal && { signal }),
    ...(progress && { progress }),
  });
}
