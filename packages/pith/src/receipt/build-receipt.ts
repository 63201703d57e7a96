// Gathers what a run knows into its receipt.
import { stat } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Checkpoint, OutputLayout } from '@pith/checkpoint';
import { canonicalJson } from '../canonical-json.ts';
import type { PreparedPlan } from '../plan/plan.ts';
import { sha256, treeHash } from '../run/hash-tree.ts';
import type { JournalUnit, TensorLeaves } from '../run/journal.ts';
import { peakMemoryBytes } from '../run/peak-memory.ts';
import { readStart } from '../source/open-source.ts';
import { sealReceipt } from './receipt.ts';
import type { FileHash, QualityReceipt, Receipt, RunReceipt, TensorHash, WeightReceipt } from './types.ts';

/** What a receipt is made of. */
export interface ReceiptInput {
  readonly prepared: PreparedPlan;
  /** Where the artefact lies, files under their final names. */
  readonly directory: string;
  /** Every unit of the plan, finished. */
  readonly units: readonly JournalUnit[];
  readonly resumedUnits: number;
  readonly quality: QualityReceipt | undefined;
  /** When the first of the runs that made it began, ISO 8601. */
  readonly started: string;
  /** Wall time of this process so far. */
  readonly seconds: number;
}

/** Makes the receipt of a run; hashes the artefact's small files and headers. */
export async function buildReceipt(input: ReceiptInput): Promise<Receipt> {
  const { prepared, units, quality } = input;
  const { plan, source } = prepared;
  const sourceTensors = units.map(({ read }) => sourceTensor(prepared, read));
  return sealReceipt({
    receipt: 1,
    operation: 'quantize',
    versions: { ...prepared.versions },
    options: { ...plan.options },
    planSha256: prepared.sha256,
    source: {
      architecture: plan.architecture,
      ...(source.hub && { hub: source.hub }),
      files: [...source.files],
      tensors: sourceTensors,
      sha256: sha256(canonicalJson({ files: source.files, tensors: sourceTensors })),
    },
    output: {
      format: prepared.config.format,
      files: await outputFiles(
        { layout: prepared.layout, checkpoint: source.checkpoint, files: Object.keys(prepared.formatFiles) },
        input.directory,
      ),
      tensors: units.flatMap(({ wrote }) => wrote.map((leaves) => outputTensor(prepared, leaves))),
    },
    weights: weightsOf(prepared, units),
    stages: plan.stages.map((stage) => ({ ...stage, teachers: [...stage.teachers], records: {} })),
    interventions: [],
    totals: {
      parameters: plan.parameters,
      bytesBefore: plan.bytesBefore,
      bytesAfter: plan.bytesAfter,
      bitsPerWeight: plan.bitsPerWeight,
    },
    ...(quality === undefined ? {} : { quality }),
    run: runReceipt({
      started: input.started,
      seconds: input.seconds,
      threads: prepared.config.threads,
      resumedUnits: input.resumedUnits,
      units: units.length,
    }),
  });
}

/** The part of a receipt that differs from run to run; it ends now. */
export function runReceipt(run: Omit<RunReceipt, 'finished' | 'peakMemoryBytes' | 'host'>): RunReceipt {
  return {
    ...run,
    finished: new Date().toISOString(),
    peakMemoryBytes: peakMemoryBytes(),
    host: {
      node: process.versions.node,
      platform: process.platform,
      architecture: process.arch,
      processors: availableParallelism(),
    },
  };
}

function sourceTensor({ source }: PreparedPlan, { name, leafBytes, leaves }: TensorLeaves): TensorHash {
  const { file, dtype, shape, byteLength } = source.checkpoint.tensors.get(name)!;
  return { name, file, dtype, shape: [...shape], bytes: byteLength, leafBytes, sha256: treeHash(leaves) };
}

function outputTensor({ layout }: PreparedPlan, { name, leafBytes, leaves }: TensorLeaves): TensorHash {
  const { file, dtype, shape, byteLength } = layout.places.get(name)!;
  return { name, file, dtype, shape: [...shape], bytes: byteLength, leafBytes, sha256: treeHash(leaves) };
}

/** Hashes of an artefact's files: small ones whole, those of tensors by their headers. */
export async function outputFiles(
  {
    layout,
    checkpoint,
    files: further,
  }: { readonly layout: OutputLayout; readonly checkpoint: Checkpoint; readonly files: readonly string[] },
  directory: string,
): Promise<FileHash[]> {
  const small = [
    'config.json',
    ...further,
    ...checkpoint.files.filter(({ carried }) => carried).map(({ name }) => name),
    ...(layout.index === undefined ? [] : [layout.index.name]),
  ];
  const files: FileHash[] = [];
  for (const name of small) {
    const path = join(directory, name);
    const { size } = await stat(path);
    files.push({ name, bytes: size, hashedBytes: size, sha256: sha256(await readStart(path, size)) });
  }
  for (const { name, head, byteLength } of layout.files) {
    files.push({ name, bytes: byteLength, hashedBytes: head.length, sha256: sha256(head) });
  }
  return files.sort((a, b) => (a.name < b.name ? -1 : 1));
}

function weightsOf({ plan, source }: PreparedPlan, units: readonly JournalUnit[]): WeightReceipt[] {
  const errors = new Map(units.map(({ unit, error }) => [unit, error]));
  return plan.tensors.map(({ name, action, reason, bytesBefore, bytesAfter }) => {
    const error = errors.get(name);
    const shape = [...source.checkpoint.tensors.get(name)!.shape];
    return { name, action, reason, shape, bytesBefore, bytesAfter, ...(error === undefined ? {} : { error }) };
  });
}
