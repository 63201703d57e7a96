// Gathers what a staged run knows into its receipt.
import type { OutputLayout, StoredWeightsOptions } from '@pith/checkpoint';
import type { CalibrationWindows } from '@pith/model';
import { Products, type Device, type WeightTensor } from '@pith/tensor-core';
import { canonicalJson } from '../canonical-json.ts';
import { sha256, treeHash } from '../run/hash-tree.ts';
import type { TensorLeaves } from '../run/journal.ts';
import { storedBytesOf } from '../stages/layout.ts';
import type { PreparedRecipe } from '../stages/prepare-recipe.ts';
import type { FinishedPhases } from '../stages/run-phases.ts';
import { weightError } from '../stages/weight-error.ts';
import { outputFiles, runReceipt } from './build-receipt.ts';
import { sealReceipt } from './receipt.ts';
import type {
  CalibrationReceipt,
  Intervention,
  QualityReceipt,
  Receipt,
  SampleReceipt,
  StageReceipt,
  TensorHash,
  WeightReceipt,
} from './types.ts';

/** What a receipt of a staged run is made of. */
export interface StagedReceiptInput {
  readonly prepared: PreparedRecipe;
  readonly calibration: CalibrationWindows | undefined;
  readonly finished: FinishedPhases;
  /** Weights of the artefact. */
  readonly weights: readonly WeightTensor[];
  /** How they are stored. */
  readonly options: StoredWeightsOptions;
  /** Names of further files of the format. */
  readonly formatFiles: readonly string[];
  readonly layout: OutputLayout;
  /** Where the artefact lies, files under their final names. */
  readonly directory: string;
  /** Leaves of the source's tensors. */
  readonly hashes: readonly TensorLeaves[];
  /** Leaves of the artefact's tensors. */
  readonly wrote: readonly TensorLeaves[];
  readonly quality?: QualityReceipt;
  readonly samples?: readonly SampleReceipt[];
  /** Multiplies factors, where weights are compared. */
  readonly device: Device;
  /** When the first of the runs that made it began, ISO 8601. */
  readonly started: string;
  /** Wall time of this process so far. */
  readonly seconds: number;
}

/** Makes the receipt of a staged run; hashes the artefact's small files and headers, compares weights with the source's. */
export async function buildStagedReceipt(input: StagedReceiptInput): Promise<Receipt> {
  const { prepared, finished, layout, quality, samples } = input;
  const { plan, source, steps } = prepared;
  const { checkpoint, files } = source.source;
  const sourceTensors = input.hashes.map((entry) => tensorHash(entry, checkpoint.tensors.get(entry.name)!));
  const parameters = plan.parameters;
  const calibration = calibrationReceipt(input);
  return sealReceipt({
    receipt: 1,
    operation: new Set(steps.map(({ kind }) => kind)).size === 1 ? steps[0]!.kind : 'compress',
    versions: { ...prepared.versions },
    options: { ...plan.options },
    planSha256: prepared.sha256,
    source: {
      architecture: plan.architecture,
      ...(source.source.hub && { hub: source.source.hub }),
      files: [...files],
      tensors: sourceTensors,
      sha256: sha256(canonicalJson({ files, tensors: sourceTensors })),
    },
    output: {
      format: formatOf(input),
      files: await outputFiles({ layout, checkpoint, files: input.formatFiles }, input.directory),
      tensors: input.wrote.map((entry) => tensorHash(entry, layout.places.get(entry.name)!)),
    },
    weights: await weightsOf(input),
    stages: stagesOf(input),
    ...(calibration && { calibration }),
    interventions: interventionsOf(input),
    notices: [...plan.notices],
    totals: {
      parameters,
      bytesBefore: plan.bytesBefore,
      bytesAfter: layout.totalBytes,
      bitsPerWeight: parameters === 0 ? 0 : (8 * layout.dataBytes) / parameters,
    },
    ...(quality && { quality }),
    ...(samples && samples.length > 0 && { samples: [...samples] }),
    run: runReceipt({
      started: input.started,
      seconds: input.seconds,
      threads: prepared.threads,
      resumedUnits: finished.units.resumed,
      units: finished.units.total,
    }),
  });
}

function tensorHash(
  { name, leafBytes, leaves }: TensorLeaves,
  { file, dtype, shape, byteLength }: { file: string; dtype: string; shape: readonly number[]; byteLength: number },
): TensorHash {
  return { name, file, dtype, shape: [...shape], bytes: byteLength, leafBytes, sha256: treeHash(leaves) };
}

/** What readers must know of the weights. */
function formatOf({ weights, options }: StagedReceiptInput): string {
  const kinds = new Set(
    weights.flatMap((weight) => (weight.kind === 'factored' ? ['factored', weight.left.kind] : [weight.kind])),
  );
  const own = kinds.has('quantized') ? options.format?.name : undefined;
  const said = kinds.has('quantized') || kinds.has('sparse') || options.kvCache !== undefined;
  const coded = own ?? (said ? 'compressed-tensors' : 'safetensors');
  return kinds.has('factored') ? `${coded}, low rank` : coded;
}

function stagesOf({ prepared, finished }: StagedReceiptInput): StageReceipt[] {
  const facts = new Map(finished.facts.map((entry) => [entry.id, entry]));
  return prepared.plan.stages.map((stage) => ({
    ...stage,
    teachers: [...stage.teachers],
    records: { ...facts.get(stage.id)!.records },
  }));
}

function interventionsOf({ calibration, finished }: StagedReceiptInput): Intervention[] {
  const before = (calibration?.interventions ?? []).map((entry) => ({ stage: 'calibration', ...entry }));
  return [
    ...before,
    ...finished.facts.flatMap(({ id, interventions }) => interventions.map((entry) => ({ stage: id, ...entry }))),
  ];
}

function calibrationReceipt({ prepared, calibration }: StagedReceiptInput): CalibrationReceipt | undefined {
  if (calibration === undefined || prepared.calibration === undefined) return undefined;
  const { textTokens, windows, context, choose, seed } = calibration;
  return { textSha256: prepared.calibration.sha256, textTokens, windows: windows.length, context, choose, seed };
}

/** Actions after which a weight can still be compared with that of the source, value by value. */
const COMPARABLE: ReadonlySet<string> = new Set(['quantize', 'prune', 'prune and quantize', 'factorize']);

async function weightsOf({ prepared, weights, options, device }: StagedReceiptInput): Promise<WeightReceipt[]> {
  const { plan, source } = prepared;
  const made = new Map(weights.map((weight) => [weight.name, weight]));
  const products = new Products(device, 'f32');
  const receipts: WeightReceipt[] = [];
  for (const planned of plan.tensors) {
    const { name, action, reason, bytesBefore, steps } = planned;
    const before = source.model.weights.get(name);
    const present = steps === undefined ? name : steps.at(-1)!.name;
    const after = present === null ? undefined : made.get(present);
    const comparable =
      (steps === undefined ? COMPARABLE.has(action) : steps.every((step) => COMPARABLE.has(step.action))) &&
      before !== undefined &&
      after !== undefined &&
      after.shape.join() === before.shape.join();
    receipts.push({
      name,
      action,
      reason,
      shape: [...(before ?? after)!.shape],
      bytesBefore,
      bytesAfter: after === undefined ? 0 : storedBytesOf(after, options),
      ...(steps && { steps: steps.map((step) => ({ ...step, shape: [...step.shape] })) }),
      ...(comparable && { error: await weightError(before, after, products) }),
    });
  }
  return receipts;
}
