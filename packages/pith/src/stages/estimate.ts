// Estimates of memory and time of staged runs, from headers: memory is an upper bound, time a rough guide.
import type { PlannedModel } from '@pith/model';
import type { Recipe } from '../recipe/recipe-schema.ts';
import { SOURCE } from '../recipe/order-stages.ts';
import { needsWindows, type Phase } from './phases.ts';

/** Node, the runtime of compiled programs and its threads. */
const BASE_BYTES = 300e6;
/** Tokens that run together, see `CALIBRATION_BATCH_TOKENS` of `@pith/model`. */
const BATCH_TOKENS = 2048;
/** Windows and positions where a recipe names none. */
const SAMPLES = 128;
const CONTEXT = 512;
/** Multiply-adds a second of one thread in matrix products. */
const PRODUCT_RATE = 50e9;
/** Bytes a second that are read, hashed and written. */
const DISK_RATE = 0.3e9;

interface EstimateInput {
  readonly recipe: Recipe;
  readonly phases: readonly Phase[];
  readonly models: ReadonlyMap<string, PlannedModel>;
  readonly threads: number;
}

/** What a run takes. */
export interface StageEstimate {
  readonly peakMemoryBytes: number;
  /** What takes most memory, in words. */
  readonly where: string;
  readonly seconds: number;
}

/** Estimates a staged run. */
export function estimateStages({ recipe, phases, models, threads }: EstimateInput): StageEstimate {
  let most = { bytes: 0, where: 'writing the artefact' };
  let seconds = 1;
  for (const phase of phases) {
    const model = models.get(phase.from);
    if (model === undefined) continue;
    const cost = phase.kind === 'blocks' ? blockCost(phase, model, recipe) : modelCost(model, recipe);
    if (cost.bytes > most.bytes) most = { bytes: cost.bytes, where: cost.where };
    seconds += cost.products / (PRODUCT_RATE * threads);
  }
  const source = models.get(SOURCE)!;
  const bytes = [...source.weights.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  seconds += ((2 + phases.length) * bytes) / DISK_RATE;
  return { peakMemoryBytes: Math.ceil(BASE_BYTES + most.bytes), where: most.where, seconds };
}

function tokensOf({ calibration }: Recipe): { windows: number; context: number } {
  return { windows: calibration?.samples ?? SAMPLES, context: calibration?.context ?? CONTEXT };
}

function blockCost(phase: Extract<Phase, { kind: 'blocks' }>, { architecture }: PlannedModel, recipe: Recipe) {
  const { blocks, config } = architecture;
  const largest = blocks.reduce((a, b) => (blockValues(b) >= blockValues(a) ? b : a), blocks[0]!);
  const values = largest === undefined ? 0 : blockValues(largest);
  const linears = largest?.linears ?? [];
  if (!needsWindows(phase, linears)) {
    return { bytes: 12 * values, where: 'the values of a block', products: 0 };
  }
  const { windows, context } = tokensOf(recipe);
  const tokens = windows * context;
  // Every group's statistics as f64, and one Gram matrix as f32 leaving the graph.
  const grams = new Map<string, number>();
  for (const linear of linears) {
    const gram = phase.steps.some(({ technique }) => technique.pass.needs(linear).includes('gram'));
    grams.set(linear.inputGroup, gram ? linear.inFeatures ** 2 : linear.inFeatures);
  }
  const gramValues = [...grams.values()].reduce((a, b) => a + b, 0);
  const largestGram = Math.max(0, ...grams.values());
  const batch = Math.max(context, Math.min(tokens, BATCH_TOKENS));
  const scratch =
    4 * batch * (8 * config.hiddenSize + 4 * config.intermediateSize) + 12 * config.heads * batch * context;
  const hidden = 4 * tokens * config.hiddenSize;
  const products =
    blocks.length * (2 * tokens * values + (tokens / 2) * gramValues + 2 * largestGram * config.hiddenSize);
  return {
    bytes: 16 * values + 8 * gramValues + 32 * largestGram + scratch + hidden,
    where: 'a block with its statistics and the hidden states of the calibration text',
    products,
  };
}

function modelCost({ weights }: PlannedModel, recipe: Recipe) {
  let values = 0;
  for (const { shape } of weights.values()) values += shape.reduce((a, b) => a * b, 1);
  const { windows, context } = tokensOf(recipe);
  return { bytes: 32 * values, where: 'the whole model at work', products: 3 * values * windows * context };
}

function blockValues(block: {
  readonly linears: readonly { readonly inFeatures: number; readonly outFeatures: number }[];
}): number {
  return block.linears.reduce((sum, { inFeatures, outFeatures }) => sum + inFeatures * outFeatures, 0);
}
