// Scales for the inputs of linear layers, from the largest and smallest values that they take on a text.
import { calibrationWindows, runBlocks, type BlockPass, type LanguageModel, type StaticInputs } from '@pith/model';
import { spilledActivations } from '@pith/model/node';
import { activationQuantization, defineScheme } from '@pith/quant';
import type { ActivationQuantization } from '@pith/tensor-core';
import { cpuDevice } from '@pith/tensor-core/node';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { readTextOrIds } from '../../evaluate/read-text.ts';
import type { ExportContext, ExportRequest } from '../format.ts';

/** Integer inputs with one scale and one zero point for all tokens. */
const SCHEME = defineScheme({
  weights: { kind: 'int', bits: 8, symmetric: true, granularity: { kind: 'channel' } },
  activations: { dtype: 'i8', granularity: 'tensor', dynamic: false, symmetric: false },
});

/**
 * Measures the inputs of all linears of the blocks on the calibration text.
 *
 * @returns By checkpoint name of the weight.
 */
export async function measureInputs(
  model: LanguageModel,
  { calibration, threads, seed }: ExportRequest,
  { directory, pool, signal, progress }: ExportContext,
): Promise<StaticInputs> {
  const { samples, context, choose = 'first', text } = calibration!;
  const { content } = await readTextOrIds(text);
  const { windows } = calibrationWindows(model, {
    ...content,
    ...(samples !== undefined && { samples }),
    ...(context !== undefined && { context }),
    choose,
    ...(choose === 'random' && { seed }),
  });
  const inputs = new Map<string, ActivationQuantization>();
  const device = cpuDevice({ threads });
  const spill = join(directory, '.activations');
  try {
    await runBlocks(model, {
      device,
      pool,
      windows,
      passes: [measuring(inputs)],
      inputs: 'original',
      activations: spilledActivations({ directory: spill }),
      onBlock: () => Promise.resolve(),
      ...(signal && { signal }),
      ...(progress && { progress }),
    });
  } finally {
    await device.dispose();
    await rm(spill, { recursive: true, force: true });
  }
  return inputs;
}

/** Looks at the range of every input and changes nothing. */
function measuring(inputs: Map<string, ActivationQuantization>): BlockPass {
  return {
    name: 'input-range',
    config: {},
    plan: () => ({ changes: [], problems: [], notices: [] }),
    needs: () => ['range'],
    apply: (stage) => {
      for (const { name, inputGroup } of stage.linears) {
        inputs.set(name, activationQuantization(SCHEME, 'f32', stage.statistics.get(inputGroup))!);
      }
      return Promise.resolve({ weights: new Map(), records: {}, interventions: [] });
    },
  };
}
