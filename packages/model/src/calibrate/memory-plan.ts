// How much of a calibration is in memory at once. Everything that is held at the same time is counted here, so that a
// limit given by the user is a limit that holds; the same plan for the same input on every machine.
import { PithError } from '@pith/tensor-core';
import type { Architecture, BlockSpec, LinearSpec } from '../architecture/architecture.ts';
import { blockBytes } from '../run/linear-form.ts';
import { BASE_BYTES, DEFAULT_MEMORY_BYTES, scratchBytes } from '../run/memory-plan.ts';
import { gradientNeeds } from './kept-gradients.ts';
import { HEAD_SLICE_BYTES } from './loss-slopes.ts';
import type { BlockPass } from './pass.ts';
import { batchSize, CALIBRATION_BATCH_TOKENS } from './window-batches.ts';

/** What {@link planCalibrationMemory} needs to know: what `runBlocks` will be given. */
export interface CalibrationMemoryRequest {
  /** Table of the model. */
  readonly architecture: Architecture;
  /** Calibration windows. */
  readonly windows: number;
  /** Positions of a window. */
  readonly context: number;
  /** The passes that share the run. */
  readonly passes: readonly Pick<BlockPass, 'needs' | 'needsGradients' | 'workspaceBytes'>[];
  /** See `BlockRunOptions.order`. */
  readonly order?: 'block' | 'groups';
  /** See `BlockRunOptions.inputs`. */
  readonly inputs?: 'compressed' | 'original';
  /** Bytes that may be used; 3 GiB when left out. */
  readonly limitBytes?: number;
}

/** How a calibration runs within a limit. */
export interface CalibrationMemoryPlan {
  /** What `runBlocks` is to be given as `batchTokens`. */
  readonly batchTokens: number;
  /** Whether activations have to wait on disk: `runBlocks` is to be given `spilledActivations`. */
  readonly spill: boolean;
  /** Estimated peak, bytes. */
  readonly peakBytes: number;
  /** What the peak is made of, bytes. */
  readonly parts: Readonly<Record<CalibrationMemoryPart, number>>;
}

/** Parts of a calibration's memory. */
export type CalibrationMemoryPart =
  'runtime' | 'weights' | 'programs' | 'activations' | 'statistics' | 'gradients' | 'pass';

const product = ({ inFeatures, outFeatures }: LinearSpec) => inFeatures * outFeatures;
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
const most = (values: readonly number[]) => values.reduce((a, b) => Math.max(a, b), 0);

/**
 * Cuts a calibration into pieces that fit a limit. Activations go to disk before batches become smaller: the first changes
 * no result, the second the last bits of sums.
 *
 * @throws PithError `MEMORY_TOO_SMALL` when the smallest pieces do not fit, with the bytes that would.
 */
export function planCalibrationMemory(request: CalibrationMemoryRequest): CalibrationMemoryPlan {
  const { context, limitBytes = DEFAULT_MEMORY_BYTES } = request;
  const windows = Math.max(1, request.windows);
  let size = Math.min(windows, Math.max(1, Math.floor(CALIBRATION_BATCH_TOKENS / context)));
  let smallest = Infinity;
  for (;;) {
    for (const spill of [false, true]) {
      const parts = needed({ ...request, windows }, size, spill);
      const peakBytes = sum(Object.values(parts));
      smallest = Math.min(smallest, peakBytes);
      if (peakBytes <= limitBytes) {
        return Object.freeze({ batchTokens: size * context, spill, peakBytes, parts: Object.freeze(parts) });
      }
    }
    if (size === 1) break;
    size = Math.floor(size / 2);
  }
  throw new PithError(
    'MEMORY_TOO_SMALL',
    `calibration: one block with its statistics takes ${smallest} bytes, ${limitBytes} are allowed; allow ${smallest} bytes, ` +
      'or shorten the context, or rewrite the linears in the order of groups',
    { details: { neededBytes: smallest, limitBytes, windows, context } },
  );
}

function needed(
  request: CalibrationMemoryRequest,
  size: number,
  spill: boolean,
): Record<CalibrationMemoryPart, number> {
  const { architecture, windows, context, passes, order = 'block', inputs = 'compressed' } = request;
  const { blocks, config } = architecture;
  const batch = batchSize(windows, size);
  const scratch = batch * scratchBytes(architecture, context);
  const window = 4 * context * config.hiddenSize;
  // One program collects, one advances; a smaller last batch has its own two.
  const shapes = windows % batch === 0 ? 1 : 1 + (windows % batch) / batch;
  const statistics = most(blocks.map((block) => statisticBytes(block, passes, order)));
  const widest = most(blocks.map((block) => most(gramWidths(block, passes))));
  const weights = most(blocks.map((block) => blockBytes(block)));
  const parts: Record<CalibrationMemoryPart, number> = {
    runtime: BASE_BYTES,
    weights,
    // In the graph a Gram matrix takes its input transposed and a part of it.
    programs: shapes * (2 * scratch + 2 * 4 * batch * context * widest),
    activations: spill ? 5 * batch * window : (windows + batch) * window * (inputs === 'original' ? 2 : 1),
    statistics,
    gradients: 0,
    pass: most(blocks.flatMap(({ linears }) => linears.map((linear) => most(passes.map(workspace(linear)))))),
  };
  const wanted = gradientNeeds(passes);
  const kept = sum(blocks.flatMap(({ linears }) => linears.map((l) => 4 * product(l) * wanted(l).length)));
  if (kept === 0) return parts;
  const ofBlock = most(blocks.map(({ linears }) => sum(linears.map((l) => 4 * product(l) * wanted(l).length))));
  const stored = spill ? 0 : kept;
  const before: Record<CalibrationMemoryPart, number> = {
    ...parts,
    // Forward and backward program of one window, and a slice of the head with its logits three times.
    programs: 4 * scratchBytes(architecture, context) + 4 * HEAD_SLICE_BYTES,
    activations: spill ? 6 * window : (blocks.length + 3) * windows * window,
    statistics: 0,
    gradients: stored + ofBlock + weights,
    pass: 0,
  };
  parts.gradients = stored + ofBlock;
  return sum(Object.values(before)) > sum(Object.values(parts)) ? before : parts;
}

/** Columns of the Gram matrices of a block, by input group. */
function gramWidths(block: BlockSpec, passes: CalibrationMemoryRequest['passes']): number[] {
  const widths = new Map<string, number>();
  for (const linear of block.linears) {
    if (passes.some((pass) => pass.needs(linear).includes('gram'))) widths.set(linear.inputGroup, linear.inFeatures);
  }
  return [...widths.values()];
}

/** Gram matrices: the sums of a stage in f64, the panels of all its inputs in f32. Vectors are not counted. */
function statisticBytes(
  block: BlockSpec,
  passes: CalibrationMemoryRequest['passes'],
  order: 'block' | 'groups',
): number {
  const sums = gramWidths(block, passes).map((columns) => 8 * columns * columns);
  const panels = sum(sums) * (9 / 32);
  // The sums of one group may still be there when those of the next are made.
  const [first = 0, second = 0] = [...sums].sort((a, b) => b - a);
  return panels + (order === 'groups' ? first + second : sum(sums));
}

/** What a pass takes for a linear, where it does not say so itself: its values three times, its Gram matrix twice in f64. */
const workspace = (linear: LinearSpec) => (pass: CalibrationMemoryRequest['passes'][number]) => {
  if (pass.workspaceBytes) return pass.workspaceBytes(linear);
  const gram = pass.needs(linear).includes('gram') ? 2 * 8 * linear.inFeatures ** 2 : 0;
  return 3 * 4 * product(linear) + gram;
};
