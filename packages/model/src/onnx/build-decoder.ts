// A decoder as an ONNX model: the traced program, its cache in and out.
import { OnnxModelBuilder } from '@pith/tensor-core';
import type { LanguageModel } from '../language-model.ts';
import { declareInputs } from './decoder-inputs.ts';
import { ModelTensors } from './model-tensors.ts';
import type { OnnxOptions } from './model-tensors.ts';
import { cachePorts, INPUTS, OUTPUTS } from './ports.ts';
import { cacheLengths, cacheNames, PAST, TOTAL, traceDecoder } from './trace-decoder.ts';
import { BATCH, SEQUENCE } from './trace-parts.ts';
import { castTo } from './write-linear.ts';
import { writeProgram } from './write-program.ts';
import type { OnnxPlan } from './write-program.ts';

/**
 * Builds a decoder; nothing of its weights is read.
 *
 * @throws PithError `DYNAMIC_TRACE` where its program depends on how many tokens there are.
 */
export function buildDecoder(model: LanguageModel, options: OnnxOptions): OnnxPlan {
  const { architecture, config } = model;
  const { blocks } = architecture;
  const lengths = cacheLengths(config);
  const builder = new OnnxModelBuilder(config.modelType);
  const tensors = new ModelTensors(model, builder, options);
  const program = traceDecoder(architecture);
  const results = writeProgram(builder, {
    architecture,
    program,
    tensors,
    inputs: declareInputs(builder, architecture, options.dtype),
    axes: {
      [BATCH]: { value: INPUTS.ids, axis: 0 },
      [SEQUENCE]: { value: INPUTS.ids, axis: 1 },
      [TOTAL]: { value: INPUTS.mask, axis: 1 },
      ...(blocks.length > 0 && { [PAST]: { value: cachePorts(0).past.keys, axis: 2 } }),
    },
  });
  builder.node('Identity', [results.get('logits')!], { outputs: [OUTPUTS.logits] });
  builder.output(OUTPUTS.logits, 'f32', [BATCH, SEQUENCE, config.vocabularySize]);
  for (const { index } of blocks) {
    const { present } = cacheNames(index);
    const ports = cachePorts(index).present;
    for (const part of ['keys', 'values'] as const) {
      const value = results.get(present[part])!;
      const stored = options.dtype === 'f16' ? castTo(builder, value, 'f16') : value;
      builder.node('Identity', [stored], { outputs: [ports[part]] });
      builder.output(ports[part], options.dtype, [BATCH, config.keyValueHeads, TOTAL, lengths[part]]);
    }
  }
  return { builder, weights: tensors.weights };
}
