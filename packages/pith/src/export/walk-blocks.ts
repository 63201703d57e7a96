// A walk over the blocks of a model that looks at the inputs of its linears on the calibration text, for formats that need
// to know them: what it reads, what it needs, and the walk.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  calibrationWindows,
  DEFAULT_CALIBRATION_SAMPLES,
  DEFAULT_CONTEXT,
  planCalibrationMemory,
  runBlocks,
  type BlockPass,
  type CalibrationMemoryPlan,
  type InputStatistic,
  type LanguageModel,
  type Stage,
} from '@pith/model';
import { spilledActivations } from '@pith/model/node';
import { cpuDevice } from '@pith/tensor-core/node';
import { readTextOrIds } from '../evaluate/read-text.ts';
import type { ExportContext, ExportRequest } from './format.ts';

/** A pass that looks at statistics of the inputs and changes nothing. */
export const lookingPass = (name: string, needs: InputStatistic, look: (stage: Stage) => void): BlockPass => ({
  name,
  config: {},
  plan: () => ({ changes: [], problems: [], notices: [] }),
  needs: () => [needs],
  apply: (stage) => {
    look(stage);
    return Promise.resolve({ weights: new Map(), records: {}, interventions: [] });
  },
});

/** Memory of the walk. @throws PithError `MEMORY_TOO_SMALL`. */
export function walkMemory(
  { architecture }: LanguageModel,
  request: ExportRequest,
  pass: BlockPass,
): CalibrationMemoryPlan {
  const { samples, context } = request.calibration!;
  return planCalibrationMemory({
    architecture,
    windows: samples ?? DEFAULT_CALIBRATION_SAMPLES,
    context: context ?? Math.min(DEFAULT_CONTEXT, architecture.config.maxPositions),
    passes: [pass],
    limitBytes: request.memoryBytes ?? Infinity,
  });
}

/** What the receipt says of the calibration: the text by its hash, not by its path. @throws PithError those of `readTextOrIds`. */
export async function calibrationFacts({
  calibration,
  seed,
}: ExportRequest): Promise<Readonly<Record<string, unknown>>> {
  const { text, samples, context, choose = 'first' } = calibration!;
  const { sha256 } = await readTextOrIds(text);
  return {
    sha256,
    ...(samples !== undefined && { samples }),
    ...(context !== undefined && { context }),
    choose,
    ...(choose === 'random' && { seed }),
  };
}

/**
 * Runs a pass that changes nothing over all blocks, within {@link walkMemory}. Activations wait on disk, in the directory of the output.
 */
export async function walkBlocks(
  model: LanguageModel,
  request: ExportRequest,
  { directory, pool, signal, progress }: ExportContext,
  pass: BlockPass,
): Promise<void> {
  const { calibration, threads, seed } = request;
  const { batchTokens } = walkMemory(model, request, pass);
  const { samples, context, choose = 'first', text } = calibration!;
  const { content } = await readTextOrIds(text);
  const { windows } = calibrationWindows(model, {
    ...content,
    ...(samples !== undefined && { samples }),
    ...(context !== undefined && { context }),
    choose,
    ...(choose === 'random' && { seed }),
  });
  const device = cpuDevice({ threads });
  const spill = join(directory, '.activations');
  try {
    await runBlocks(model, {
      device,
      pool,
      windows,
      passes: [pass],
      inputs: 'original',
      activations: spilledActivations({ directory: spill }),
      onBlock: () => Promise.resolve(),
      batchTokens,
      ...(signal && { signal }),
      ...(progress && { progress }),
    });
  } finally {
    await device.dispose();
    await rm(spill, { recursive: true, force: true });
  }
}
