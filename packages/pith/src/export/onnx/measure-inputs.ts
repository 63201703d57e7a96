// Scales for the inputs of linear layers, from the largest and smallest values that they take on a text.
import type { BlockPass, CalibrationMemoryPlan, LanguageModel, StaticInputs } from '@pith/model';
import { activationQuantization, defineScheme } from '@pith/quant';
import type { ActivationQuantization } from '@pith/tensor-core';
import type { ExportContext, ExportRequest } from '../format.ts';
import { lookingPass, walkBlocks, walkMemory } from '../walk-blocks.ts';

/** Integer inputs with one scale and one zero point for all tokens. */
const SCHEME = defineScheme({
  weights: { kind: 'int', bits: 8, symmetric: true, granularity: { kind: 'channel' } },
  activations: { dtype: 'i8', granularity: 'tensor', dynamic: false, symmetric: false },
});

/** Memory of the walk over the blocks. @throws PithError `MEMORY_TOO_SMALL`. */
export function inputsMemory(model: LanguageModel, request: ExportRequest): CalibrationMemoryPlan {
  return walkMemory(model, request, measuring(new Map()));
}

/**
 * Measures the inputs of all linears of the blocks on the calibration text.
 *
 * @returns By checkpoint name of the weight.
 */
export async function measureInputs(
  model: LanguageModel,
  request: ExportRequest,
  context: ExportContext,
): Promise<StaticInputs> {
  const inputs = new Map<string, ActivationQuantization>();
  await walkBlocks(model, request, context, measuring(inputs));
  return inputs;
}

/** Looks at the range of every input. */
const measuring = (inputs: Map<string, ActivationQuantization>): BlockPass =>
  lookingPass('input-range', 'range', ({ linears, statistics }) => {
    for (const { name, inputGroup } of linears) {
      inputs.set(name, activationQuantization(SCHEME, 'f32', statistics.get(inputGroup))!);
    }
  });
