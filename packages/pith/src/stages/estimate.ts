// Estimates of memory and time of staged runs, from headers: memory is an upper bound, time a rough guide.
import type { PlannedModel } from '@pith/model';
import type { Recipe } from '../recipe/types.ts';
import { calibrationMemory, plannedWindows } from './calibration-memory.ts';
import { methodOf } from '../recipe/recipe-schema.ts';
import { orderStages, SOURCE } from '../recipe/order-stages.ts';
import type { BlockPhase, ModelPhase, Phase } from './phases.ts';

/** Node, the runtime of compiled programs and its threads. */
const BASE_BYTES = 300e6;
/** Multiply-adds a second of one thread in matrix products. */
const PRODUCT_RATE = 50e9;
/** Bytes a second that are read, hashed and written. */
const DISK_RATE = 0.3e9;

interface EstimateInput {
  readonly recipe: Recipe;
  readonly phases: readonly Phase[];
  readonly models: ReadonlyMap<string, PlannedModel>;
  readonly threads: number;
  readonly memoryBytes?: number;
}

/** What a run takes. */
export interface StageEstimate {
  readonly peakMemoryBytes: number;
  /** What takes most memory, in words. */
  readonly where: string;
  readonly seconds: number;
}

/**
 * Estimates a staged run.
 *
 * @throws PithError `MEMORY_TOO_SMALL` when a calibration does not fit the limit however it is cut.
 */
export function estimateStages({ recipe, phases, models, threads, memoryBytes }: EstimateInput): StageEstimate {
  let most = { bytes: BASE_BYTES, where: 'writing the artefact' };
  let seconds = 1;
  for (const phase of phases) {
    const model = models.get(phase.from);
    if (model === undefined) continue;
    const cost =
      phase.kind === 'blocks' ? blockCost(phase, model, recipe, memoryBytes) : modelCost(phase, model, recipe);
    if (cost.bytes > most.bytes) most = { bytes: cost.bytes, where: cost.where };
    seconds += cost.products / (PRODUCT_RATE * threads);
  }
  const source = models.get(SOURCE)!;
  const bytes = [...source.weights.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  seconds += ((2 + phases.length) * bytes) / DISK_RATE;
  return { peakMemoryBytes: Math.ceil(most.bytes), where: most.where, seconds };
}

function blockCost(phase: BlockPhase, model: PlannedModel, recipe: Recipe, limit: number | undefined) {
  const { blocks } = model.architecture;
  const values = Math.max(0, ...blocks.map(blockValues));
  const count = plannedWindows(recipe, model);
  const memory = calibrationMemory(phase, model, recipe, count, limit);
  if (memory === null) return { bytes: BASE_BYTES + 12 * values, where: 'the values of a block', products: 0 };
  const tokens = count.windows * count.context;
  const grams = blocks
    .flatMap(({ linears }) => linears)
    .map((linear) => {
      const gram = phase.steps.some(({ technique }) => technique.pass.needs(linear).includes('gram'));
      return gram ? linear.inFeatures ** 2 * (tokens / 2 + 2 * linear.outFeatures) : 0;
    });
  return {
    bytes: memory.peakBytes,
    where: 'a block with its statistics and the hidden states of the calibration text',
    products: 2 * tokens * values * blocks.length + grams.reduce((a, b) => a + b, 0),
  };
}

/** Bytes for each value of a model that is trained: values, gradients and moments, as the runtime and the host hold them. */
const TRAINED_BYTES = 60;
/** Windows of a batch where a stage names none. */
const DEFAULT_BATCH = 4;

/** Windows that a stage which trains has at work at once, and their length; null for one that does not train. */
function trainingBatch({ steps: [step] }: ModelPhase, model: PlannedModel, recipe: Recipe) {
  const found = orderStages(recipe.stages, Object.keys(recipe.models ?? {})).find(({ id }) => id === step.id);
  const { options } = methodOf(found!.stage);
  const training = (options['fineTune'] ?? options) as { readonly steps?: number; readonly batchSize?: number };
  if (training.steps === undefined) return null;
  const context = step.data?.context ?? plannedWindows(recipe, model).context;
  return { windows: training.batchSize ?? DEFAULT_BATCH, context };
}

/**
 * What a step of training holds beside the model: logits with their gradients and those of a teacher, and of each block what its
 * slope is made of. The numbers of copies bound what runs of docs6m took.
 */
function activationBytes({ architecture: { config } }: PlannedModel, windows: number, context: number): number {
  const { vocabularySize, hiddenSize, intermediateSize, heads, layers } = config;
  const block = 12 * hiddenSize + 4 * intermediateSize + 3 * heads * context;
  return 4 * windows * context * (8 * vocabularySize + layers * block);
}

function modelCost(phase: ModelPhase, model: PlannedModel, recipe: Recipe) {
  let values = 0;
  for (const { shape } of model.weights.values()) values += shape.reduce((a, b) => a * b, 1);
  const { windows, context } = plannedWindows(recipe, model);
  const batch = trainingBatch(phase, model, recipe);
  if (batch !== null) {
    return {
      bytes: BASE_BYTES + TRAINED_BYTES * values + activationBytes(model, batch.windows, batch.context),
      where: `training on ${batch.windows} windows of ${batch.context} at once; fewer (batchSize, with more microBatches) or shorter ones take less`,
      products: 3 * values * windows * context,
    };
  }
  return {
    bytes: BASE_BYTES + 32 * values,
    where: 'the whole model at work',
    products: 3 * values * windows * context,
  };
}

function blockValues(block: {
  readonly linears: readonly { readonly inFeatures: number; readonly outFeatures: number }[];
}): number {
  return block.linears.reduce((sum, { inFeatures, outFeatures }) => sum + inFeatures * outFeatures, 0);
}
