// A model in a format that some runtime reads: planned from headers, written aside, hashed, named.
import { availableParallelism } from 'node:os';
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { modelFromCheckpoint, type OpenModel } from '@pith/model/node';
import { PithError, throwIfStopped, type RunOptions } from '@pith/tensor-core';
import { createKernelPool, type KernelPool } from '@pith/tensor-core/node';
import { canonicalJson } from '../canonical-json.ts';
import type { Plan } from '../plan/types.ts';
import { runReceipt } from '../receipt/build-receipt.ts';
import { receiptText, sealReceipt } from '../receipt/receipt.ts';
import type { FileHash, Receipt, TensorHash } from '../receipt/types.ts';
import type { CalibrationOptions, EvaluationOptions } from '../recipe/types.ts';
import { refuseChangedSource, refuseProblems } from '../run/guards.ts';
import { hashFile } from '../run/hash-file.ts';
import { sha256, treeHash } from '../run/hash-tree.ts';
import { LEAF_BYTES, runLeaves } from '../run/leaves.ts';
import { peakMemoryBytes } from '../run/peak-memory.ts';
import { kvCacheNotices } from '../source/kv-cache-notice.ts';
import { localModel, placeOfHeaders, type ModelPlace } from '../source/locate-model.ts';
import { locationOf, openSource, type Source } from '../source/open-source.ts';
import { formatBytes } from '../format.ts';
import { packageVersions } from '../versions.ts';
import { openExportOutput } from './export-output.ts';
import type { ExportFormat, ExportRequest, PreparedExport, WrittenContent } from './format.ts';
import { parseFormat } from './formats.ts';

/** What an export is asked for. */
export interface ExportPlanOptions {
  /** `NAME[:VARIANT]`: `gguf:q8_0`, `safetensors`. */
  readonly format: string;
  /** File or directory to create, as the format is; only its name matters to a plan. */
  readonly output?: string;
  /** Most bytes of tensors in a file; the format's own default when left out. */
  readonly shardBytes?: number;
  /** Text that statistics of inputs are measured on, for formats that use them. */
  readonly calibration?: CalibrationOptions;
  /** File with statistics of inputs (llama.cpp's imatrix), for formats that use them. */
  readonly importance?: string;
  /** Seed of everything random; 0 when left out. */
  readonly seed?: number;
  /** Memory that may be used, in bytes; a plan that needs more has a problem. */
  readonly memoryBytes?: number;
  /** Threads; one for each processor when left out. The result does not depend on it. */
  readonly threads?: number;
}

/** What {@link exportModel} is asked for. */
export interface ExportModelOptions extends ExportPlanOptions, RunOptions {
  /** File or directory to create, as the format is. */
  readonly output: string;
  /** Replaces a file, or a directory that Pith has written; false when left out. */
  readonly overwrite?: boolean;
  /** Measures quality before and after on a text, into the receipt; for formats that Pith reads. */
  readonly evaluate?: EvaluationOptions;
  /** Called once, before any work, with the plan. */
  readonly onPlan?: (plan: Plan) => void;
}

/** What an export has done. */
export interface ExportResult {
  /** The file (the first of several) or directory. */
  readonly output: string;
  /** Bytes of the source's tensor files. */
  readonly bytesBefore: number;
  /** Bytes of all files that were written, the receipt not counted. */
  readonly bytesAfter: number;
  /** See `Plan.bitsPerWeight`. */
  readonly bitsPerWeight: number;
  /** Wall time. */
  readonly seconds: number;
  /** Most resident memory of this process so far. */
  readonly peakMemoryBytes: number;
  /** Path of the receipt. */
  readonly receipt: string;
  /** Names of the files that were written. */
  readonly files: readonly string[];
  /** Present with an evaluation. */
  readonly quality: Receipt['quality'] | null;
}

/**
 * Says what {@link exportModel} would write; reads headers only.
 *
 * @param model directory of a checkpoint.
 * @throws PithError `FORMAT_UNKNOWN`, `FORMAT_VARIANT_UNKNOWN`, and those of opening a model. What does not fit is listed in
 * `problems`.
 */
export async function planExport(model: string, options: ExportPlanOptions & RunOptions): Promise<Plan> {
  const job = await prepare(await placeOfHeaders(model, options), options);
  await job.close();
  return job.plan;
}

/**
 * Writes a model in another format.
 *
 * The output appears under its name when it is complete, in one atomic step for each file; a receipt lies beside a file
 * (`x.gguf.receipt.json`) and inside a directory. An export that was stopped starts anew.
 *
 * @param name directory of a checkpoint.
 * @throws PithError `FORMAT_UNKNOWN`, `FORMAT_VARIANT_UNKNOWN`, `PLAN_PROBLEMS` (nothing was written; details list all),
 * `OUTPUT_EXISTS`, `OUTPUT_LOCKED`, `OUTPUT_DISK_FULL`, `OUTPUT_NOT_WRITABLE`, `SOURCE_CHANGED`, `STOPPED`, and those of
 * opening a model.
 */
export async function exportModel(name: string, options: ExportModelOptions): Promise<ExportResult> {
  const begun = performance.now();
  const started = new Date().toISOString();
  const { output: target, overwrite = false, evaluate, onPlan, signal, progress } = options;
  throwIfStopped(signal, 'export');
  const model = await localModel(name, options);
  const job = await prepare(model, options);
  try {
    const { plan, prepared, format, request } = job;
    refuseProblems('export', plan);
    if (evaluate !== undefined) await checkEvaluation(model, format, evaluate);
    const output = await openExportOutput({
      output: target,
      kind: format.output,
      names: prepared.files ?? [request.name],
      overwrite,
    });
    const pool = createKernelPool({ threads: request.threads });
    try {
      onPlan?.(plan);
      const run: RunOptions = { ...(signal && { signal }), ...(progress && { progress }) };
      const written = await prepared.write({ ...run, directory: output.directory, pool });
      const files = await hashFiles(output.directory, await output.files(), written, run);
      const source = await hashSource(job.source, written.source ?? new Map(), pool, run);
      await pool.closeFiles();
      await refuseChangedSource('export', job.source);
      const quality =
        evaluate &&
        (await measure(join(output.directory, artefactName(job)), model, evaluate, {
          ...run,
          threads: request.threads,
        }));
      const seconds = (): number => (performance.now() - begun) / 1000;
      const receipt = sealReceipt({
        ...receiptContent(job, files, source, written),
        ...(quality && { quality }),
        run: runReceipt({ started, seconds: seconds(), threads: request.threads, resumedUnits: 0, units: 0 }),
      });
      throwIfStopped(signal, 'export');
      const published = await output.publish(receiptText(receipt));
      return {
        ...published,
        bytesBefore: plan.bytesBefore,
        bytesAfter: receipt.totals.bytesAfter,
        bitsPerWeight: plan.bitsPerWeight,
        seconds: seconds(),
        peakMemoryBytes: peakMemoryBytes(),
        files: files.map(({ name }) => name),
        quality: quality ?? null,
      };
    } finally {
      await pool.dispose();
      await output.close();
    }
  } finally {
    await job.close();
  }
}

/** An export with all that is needed to carry it out. */
interface Job {
  readonly plan: Plan;
  readonly prepared: PreparedExport;
  readonly format: ExportFormat;
  readonly variant: string;
  readonly request: ExportRequest;
  readonly source: Source;
  readonly versions: Readonly<Record<string, string>>;
  readonly close: () => Promise<void>;
}

async function prepare(place: ModelPlace, options: ExportPlanOptions): Promise<Job> {
  const { format, variant } = parseFormat(options.format);
  const { output, shardBytes, calibration, importance, memoryBytes, seed = 0 } = options;
  const request: ExportRequest = {
    name: output === undefined ? 'model' : basename(output),
    threads: options.threads ?? availableParallelism(),
    seed,
    ...(shardBytes !== undefined && { shardBytes }),
    ...(calibration && { calibration }),
    ...(importance !== undefined && { importance }),
    ...(memoryBytes !== undefined && { memoryBytes }),
  };
  const source = await openSource(place);
  const close = (): Promise<void> => source.checkpoint.close();
  try {
    const model: OpenModel = {
      ...(await modelFromCheckpoint(source.checkpoint)),
      checkpoint: source.checkpoint,
      close,
    };
    const prepared = await format.prepare(model, variant, request);
    const plan = planOf(model, format, variant, request, prepared);
    return { plan, prepared, format, variant, request, source, versions: packageVersions(), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function planOf(
  model: OpenModel,
  format: ExportFormat,
  variant: string,
  request: ExportRequest,
  prepared: PreparedExport,
): Plan {
  const parameters = [...model.weights.values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  const problems = [...prepared.problems];
  if (request.memoryBytes !== undefined && prepared.peakMemoryBytes > request.memoryBytes) {
    problems.push({
      code: 'MEMORY_TOO_SMALL',
      name: 'memoryBytes',
      message: `the export needs up to ${formatBytes(prepared.peakMemoryBytes)} of memory, ${formatBytes(request.memoryBytes)} are allowed; allow more`,
    });
  }
  const { checkpoint } = model;
  const indexBytes = checkpoint.files.reduce(
    (sum, { role, byteLength }) => sum + (role === 'index' ? byteLength : 0),
    0,
  );
  const id = variant === '' ? format.name : `${format.name}:${variant}`;
  return {
    architecture: model.config.modelType,
    options: { format: id, ...prepared.options },
    stages: [],
    tensors: prepared.tensors,
    notices: [
      ...(checkpoint.notices ?? []),
      ...prepared.notices,
      ...kvCacheNotices(checkpoint, format.name === 'compressed-tensors'),
    ],
    bytesBefore: checkpoint.weightFileBytes + indexBytes,
    bytesAfter: prepared.bytesAfter,
    bitsPerWeight: parameters === 0 ? 0 : (8 * prepared.dataBytes) / parameters,
    quantizedBitsPerWeight: 0,
    parameters,
    peakMemoryBytes: prepared.peakMemoryBytes,
    secondsEstimate: 0,
    problems,
  };
}

function receiptContent(
  { plan, source, versions, format }: Job,
  files: readonly FileHash[],
  sourceTensors: readonly TensorHash[],
  written: WrittenContent,
): Omit<Receipt, 'seal' | 'run'> {
  const shapes = new Map([...source.checkpoint.weights].map(([name, { shape }]) => [name, shape]));
  const identity = { versions, options: plan.options, tensors: plan.tensors };
  return {
    receipt: 1,
    operation: 'export',
    versions: { ...versions },
    options: { ...plan.options },
    planSha256: sha256(canonicalJson(identity)),
    source: {
      architecture: plan.architecture,
      ...(source.hub && { hub: source.hub }),
      files: [...source.files],
      tensors: [...sourceTensors],
      sha256: sha256(canonicalJson({ files: source.files, tensors: sourceTensors })),
    },
    output: { format: format.name, files: [...files], tensors: [...(written.tensors ?? [])] },
    weights: plan.tensors.map(({ name, action, reason, bytesBefore, bytesAfter }) => ({
      name,
      action,
      reason,
      shape: [...(shapes.get(name) ?? [])],
      bytesBefore,
      bytesAfter,
      ...(written.errors?.has(name) === true && { error: written.errors.get(name)! }),
    })),
    interventions: [...(written.interventions ?? [])],
    notices: [...plan.notices],
    totals: {
      parameters: plan.parameters,
      bytesBefore: plan.bytesBefore,
      bytesAfter: files.reduce((sum, { bytes }) => sum + bytes, 0),
      bitsPerWeight: plan.bitsPerWeight,
    },
  };
}

/** Hashes of every file that was written; those of tensors as the format says. */
async function hashFiles(
  directory: string,
  names: readonly string[],
  written: WrittenContent,
  run: RunOptions,
): Promise<FileHash[]> {
  const known = new Map((written.files ?? []).map((file) => [file.name, file]));
  const files: FileHash[] = [];
  for (const name of names) {
    throwIfStopped(run.signal, 'export');
    const path = join(directory, name);
    const { size } = await stat(path);
    files.push(known.get(name) ?? { name, bytes: size, hashedBytes: size, sha256: await hashFile(path, size) });
  }
  return files;
}

/** Hashes of all tensors of the source: known ones, and those that nobody has hashed on the way. */
async function hashSource(
  { checkpoint }: Source,
  known: NonNullable<WrittenContent['source']>,
  pool: KernelPool,
  run: RunOptions,
): Promise<TensorHash[]> {
  const tensors = [...checkpoint.tensors.values()];
  const unknown = tensors.filter(({ name }) => !known.has(name));
  const jobs = unknown.map((tensor) => ({
    from: locationOf(tensor),
    byteLength: tensor.byteLength,
    leafBytes: LEAF_BYTES,
  }));
  const found = await runLeaves(pool, jobs, run.signal === undefined ? {} : { signal: run.signal });
  const read = new Map(unknown.map(({ name }, i) => [name, { leafBytes: LEAF_BYTES, sha256: treeHash(found[i]!) }]));
  return tensors.map(({ name, file, dtype, shape, byteLength: bytes }) => {
    return { name, file, dtype, shape: [...shape], bytes, ...(known.get(name) ?? read.get(name)!) };
  });
}

function artefactName({ format, prepared, request }: Job): string {
  return format.output === 'directory' ? '.' : (prepared.files?.[0] ?? request.name);
}

/** What would stop the evaluation at the end is found before the work. */
async function checkEvaluation(
  model: string,
  format: ExportFormat,
  { text, ...options }: EvaluationOptions,
): Promise<void> {
  if (!format.readable) {
    throw new PithError(
      'EVALUATION_OPTIONS',
      `export: --eval needs a format that Pith reads, ${format.name} is none; evaluate it in its runtime`,
      { details: { format: format.name } },
    );
  }
  const { checkText } = await import('../evaluate/quality.ts');
  await checkText(model, { data: text, ...options });
}

async function measure(
  artefact: string,
  model: string,
  { text, ...options }: EvaluationOptions,
  run: RunOptions & { readonly threads: number },
): Promise<Receipt['quality']> {
  const { measureQuality } = await import('../evaluate/quality.ts');
  return measureQuality(artefact, model, { data: text, ...options, ...run });
}
