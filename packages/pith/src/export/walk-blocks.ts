// A walk over the blocks of a model that looks at the inputs of its linears on the calibration text, for formats that need
// to know them.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { calibrationWindows, runBlocks, type BlockPass, type LanguageModel } from '@pith/model';
import { spilledActivations } from '@pith/model/node';
import { cpuDevice } from '@pith/tensor-core/node';
import { readTextOrIds } from '../evaluate/read-text.ts';
import type { ExportContext, ExportRequest } from './format.ts';

/**
 * Runs a pass that changes nothing over all blocks. Activations wait on disk, in the directory of the output.
 *
 * @param batchTokens tokens that are computed at once; as many as are fast when left out.
 */
export async function walkBlocks(
  model: LanguageModel,
  { calibration, threads, seed }: ExportRequest,
  { directory, pool, signal, progress }: ExportContext,
  pass: BlockPass,
  batchTokens?: number,
): Promise<void> {
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
      ...(batchTokens !== undefined && { batchTokens }),
      ...(signal && { signal }),
      ...(progress && { progress }),
    });
  } finally {
    await device.dispose();
    await rm(spill, { recursive: true, force: true });
  }
}
