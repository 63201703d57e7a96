// The main job: plan, run with a journal, read back, receipt, final name.
import { join } from 'node:path';
import { openOutput, type CheckpointOutput } from '@pith/checkpoint/node';
import { throwIfStopped, type RunOptions } from '@pith/tensor-core';
import { createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { preparePlan, type PreparedPlan } from '../plan/plan.ts';
import type { Plan, QuantizeOptions } from '../plan/types.ts';
import { buildReceipt } from '../receipt/build-receipt.ts';
import { readReceipt, RECEIPT_NAME, receiptText } from '../receipt/receipt.ts';
import type { QualityReceipt, Receipt } from '../receipt/types.ts';
import { headerOf, refuseChangedSource, refuseDifferences, refuseProblems } from './guards.ts';
import { peakMemoryBytes } from './peak-memory.ts';
import { acceptEarlierUnits } from './resume.ts';
import { runUnits } from './run-units.ts';
import { openWork, type WorkDirectory } from './work-directory.ts';

/** What {@link quantize} is asked for. */
export interface QuantizeRunOptions extends QuantizeOptions, RunOptions {
  /** Directory to create. */
  readonly output: string;
  /** Replaces an artefact of Pith at the output, and an unfinished run with other options; false when left out. */
  readonly overwrite?: boolean;
  /** Measures quality before and after on a text, into the receipt. */
  readonly evaluate?: {
    /** Text file in UTF-8. */
    readonly data: string;
    /** Tokens of a window; 512 when left out. */
    readonly context?: number;
  };
  /** Called once, before any work, with the plan and the number of units that an earlier run has finished. */
  readonly onPlan?: (plan: Plan, finishedUnits: number) => void;
}

/** The weight that lost most. */
export interface WorstWeight {
  /** Name in the source. */
  readonly name: string;
  /** Signal-to-noise ratio in dB. */
  readonly snrDb: number;
}

/** What {@link quantize} has done. */
export interface QuantizeResult {
  /** Directory of the artefact, as it was named. */
  readonly output: string;
  /** Bytes of the source's tensor files. */
  readonly bytesBefore: number;
  /** Bytes of the artefact's tensor files. */
  readonly bytesAfter: number;
  /** See {@link Plan.bitsPerWeight}. */
  readonly bitsPerWeight: number;
  /** Wall time of this process's run. */
  readonly seconds: number;
  /** Most resident memory of this process so far. */
  readonly peakMemoryBytes: number;
  /** Path of the receipt. */
  readonly receipt: string;
  /** The weight with the lowest signal-to-noise ratio; null where nothing was lost. */
  readonly worst: WorstWeight | null;
  /** Present with `evaluate`. */
  readonly quality: QualityReceipt | null;
}

/**
 * Quantizes a checkpoint into a new directory.
 *
 * Weights stream from file to file on worker threads; memory does not grow with the model. What is finished is
 * journalled: when the run is stopped or killed, the same call continues it and ends with the same bytes. The artefact
 * is read back and checked before it gets its name, in one atomic step.
 *
 * @param model directory of a checkpoint with dense weights.
 * @throws PithError `PLAN_PROBLEMS` (nothing was done; details list all), `OUTPUT_EXISTS`, `OUTPUT_LOCKED`,
 * `OUTPUT_UNFINISHED_DIFFERS`, `OUTPUT_DISK_FULL`, `OUTPUT_NOT_WRITABLE`, `SOURCE_CHANGED`, `WEIGHT_NOT_FINITE`,
 * `STOPPED`, `READ_BACK_FAILED`, and those of `plan`.
 */
export async function quantize(model: string, options: QuantizeRunOptions): Promise<QuantizeResult> {
  const begun = performance.now();
  const started = new Date().toISOString();
  const { output, overwrite = false, evaluate, onPlan, signal, progress, ...quantizeOptions } = options;
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
  const done = await runUnits(units, { pool, output, journal: work.journal, finished, ...run });
  await pool.closeFiles();
  await refuseChangedSource('quantize', prepared.source);
  for (const { name, carried } of source.checkpoint.files) {
    if (carried) await output.copyFile(await source.checkpoint.store.path(name), name);
  }
  await output.writeFile('config.json', prepared.configText);
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
  throwIfStopped(signal, 'quantize');
  await output.publish();
  return receipt;
}

/** What would stop the evaluation at the end is found before the work. */
async function checkEvaluation(model: string, options: NonNullable<Job['evaluate']>): Promise<void> {
  const { checkText } = await import('../evaluate/quality.ts');
  await checkText(model, options);
}

async function measureQuality(job: Job, artefact: string): Promise<QualityReceipt> {
  const { measureQuality: measure } = await import('../evaluate/quality.ts');
  const { prepared, signal, progress } = job;
  return measure(artefact, prepared.source.directory, {
    ...job.evaluate!,
    threads: prepared.config.threads,
    ...(signal && { signal }),
    ...(progress && { progress }),
  });
}

function resultOf(output: string, receipt: Receipt, seconds: number): QuantizeResult {
  const worst = receipt.weights.reduce<WorstWeight | null>((least, { name, error }) => {
    const snrDb = error?.snrDb ?? null;
    return snrDb === null || (least !== null && least.snrDb <= snrDb) ? least : { name, snrDb };
  }, null);
  const { bytesBefore, bytesAfter, bitsPerWeight } = receipt.totals;
  return {
    output,
    bytesBefore,
    bytesAfter,
    bitsPerWeight,
    seconds,
    peakMemoryBytes: peakMemoryBytes(),
    receipt: join(output, RECEIPT_NAME),
    worst,
    quality: receipt.quality ?? null,
  };
}
