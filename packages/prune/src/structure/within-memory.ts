// How calibration keeps within the memory that a transform may use.
import { planCalibrationMemory } from '@pith/model';
import type { BlockPass, BlockRunOptions, LanguageModel, TransformContext } from '@pith/model';
import { PithError } from '@pith/tensor-core';

/** What of `runBlocks` and `blockInfluences` depends on the memory limit. */
export type MemoryOptions = Pick<BlockRunOptions, 'batchTokens' | 'activations'>;

/**
 * Batches, and a place on disk for hidden states where they do not fit. Nothing without a limit.
 *
 * @throws PithError `MEMORY_TOO_SMALL`; `DIRECTORY_MISSING` where they must go to disk and the context has no directory.
 */
export async function withinMemory(
  { architecture }: LanguageModel,
  passes: readonly BlockPass[],
  { windows, memoryBytes: limitBytes, directory }: TransformContext,
): Promise<MemoryOptions> {
  const [first] = windows;
  if (limitBytes === undefined || first === undefined) return {};
  const request = { architecture, windows: windows.length, context: first.length, passes, limitBytes };
  const { batchTokens, spill } = planCalibrationMemory(request);
  if (!spill) return { batchTokens };
  if (directory === undefined) {
    throw new PithError(
      'DIRECTORY_MISSING',
      `calibration: within ${limitBytes} bytes hidden states must go to disk, got no directory; give one, or more memory`,
      { details: { limitBytes } },
    );
  }
  const { spilledActivations } = await import('@pith/model/node');
  return { batchTokens, activations: spilledActivations({ directory: `${directory}/activations` }) };
}
