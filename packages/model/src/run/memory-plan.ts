// How much is done at once. Everything that is held at the same time is counted here, so that a limit given by the user
// is a limit that holds; the same plan for the same input on every machine.
import { PithError } from '@pith/tensor-core';
import type { Architecture } from '../architecture/architecture.ts';
import { MOST_SCORES } from '../architecture/ops/attention.ts';
import type { LanguageModel } from '../language-model.ts';
import { blockBytes, blockForms } from './linear-form.ts';

/** Memory limit where none is given. */
export const DEFAULT_MEMORY_BYTES = 3 * 2 ** 30;

/** Rows of a matrix product: enough that restoring and packing a weight is small beside multiplying with it. */
const TARGET_ROWS = 1024;
/** Most bytes of activations kept between layers; more only saves restoring weights a little more seldom. */
const MOST_ACTIVATION_BYTES = 256 * 2 ** 20;
/** Most bytes of a restored slice of the output projection. */
const SLICE_BYTES = 64 * 2 ** 20;
/** Most bytes of the logits of one slice. */
const LOGIT_BYTES = 64 * 2 ** 20;
/** Runtime, programs, what is read from files and not yet widened. */
export const BASE_BYTES = 256 * 2 ** 20;

/** How an evaluation is cut into pieces. */
export interface MemoryPlan {
  /** Windows in one run of a program. */
  readonly batch: number;
  /** Runs of a program between two layers. */
  readonly batchesPerGroup: number;
  /** Rows of the output projection at once. */
  readonly vocabularySlice: number;
  /** The weights of the next block are restored while the current one computes. */
  readonly prefetch: boolean;
  /** Estimated peak, bytes. */
  readonly peakBytes: number;
}

/** What {@link planMemory} needs to know. */
export interface MemoryRequest {
  /** The models that run on the same windows, one after the other. */
  readonly models: readonly Pick<LanguageModel, 'architecture' | 'weights'>[];
  /** Tokens of a window. */
  readonly context: number;
  readonly windows: number;
  readonly limitBytes: number;
}

/** Bytes of what lives while one block runs on one window: projections, two copies of the gated width, attention. */
export function scratchBytes({ config }: Architecture, context: number): number {
  const { hiddenSize, intermediateSize, heads, keyValueHeads, headDim } = config;
  const row = 5 * hiddenSize + 3 * intermediateSize + 4 * (heads + keyValueHeads) * headDim;
  return 4 * context * row + 3 * 4 * Math.min(MOST_SCORES, heads * context * context) + 4 * context * context;
}

/**
 * Cuts an evaluation into pieces that fit the limit.
 *
 * @throws PithError `MEMORY_LIMIT` when even the smallest piece does not fit, with the bytes that would.
 */
export function planMemory({ models: given, context, windows, limitBytes }: MemoryRequest): MemoryPlan {
  const architectures = given.map(({ architecture }) => architecture);
  const most = (values: number[]) => Math.max(...values);
  const hidden = most(architectures.map(({ config }) => config.hiddenSize));
  const vocabulary = most(architectures.map(({ config }) => config.vocabularySize));
  // Buffers and the memory of programs are kept from layer to layer, for each model its own.
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
  const weights = sum(
    given.map(({ architecture: { blocks }, weights: stored }) =>
      most(blocks.map((block) => blockBytes(block, blockForms(block, stored)))),
    ),
  );
  const scratch = sum(architectures.map((architecture) => scratchBytes(architecture, context)));
  const models = architectures.length;
  const window = 4 * context * hidden * models;
  const wanted = Math.min(windows, Math.max(1, Math.floor(TARGET_ROWS / context)));
  const plan = (batch: number, batches: number, prefetch: boolean): MemoryPlan => {
    const rows = batch * context;
    const bySlice = Math.floor(SLICE_BYTES / (4 * hidden));
    const byLogits = Math.floor(LOGIT_BYTES / (4 * rows));
    const slices = Math.ceil(vocabulary / Math.max(1, Math.min(bySlice, byLogits, vocabulary)));
    const slice = Math.ceil(vocabulary / slices);
    const sets = prefetch ? 2 : 1;
    const head = models * 4 * slice * (sets * hidden + 3 * rows);
    const peakBytes = Math.ceil(BASE_BYTES + (batches + 1) * batch * window + sets * weights + batch * scratch + head);
    return { batch, batchesPerGroup: batches, vocabularySlice: slice, prefetch, peakBytes };
  };
  const batchesFor = (batch: number, prefetch: boolean): number => {
    const fixed = plan(batch, 0, prefetch).peakBytes;
    const room = Math.min(limitBytes - fixed, MOST_ACTIVATION_BYTES);
    return Math.min(Math.ceil(windows / batch), Math.floor(room / (batch * window)));
  };
  for (const prefetch of [true, false]) {
    for (let batch = wanted; batch >= 1; batch = Math.floor(batch / 2)) {
      const batches = batchesFor(batch, prefetch);
      if (batches < 1) continue;
      // Even groups: the last one is not left with a window or two.
      const runs = Math.ceil(windows / batch);
      const groups = Math.ceil(runs / batches);
      return Object.freeze(plan(Math.ceil(windows / runs), Math.ceil(runs / groups), prefetch));
    }
  }
  const neededBytes = plan(1, 1, false).peakBytes;
  throw new PithError(
    'MEMORY_LIMIT',
    `evaluate: one layer and one window of ${context} tokens need ${neededBytes} bytes, the limit is ${limitBytes}; ` +
      'raise the memory limit or shorten the context',
    { details: { neededBytes, limitBytes, context } },
  );
}
