// An encoder as an ONNX model: states for embeddings, and the logits of masked words where the checkpoint has that head. Texts of a
// batch are padded on the right; padding is hidden by `attention_mask`.
import { OnnxModelBuilder } from '@pith/tensor-core';
import type { LanguageModel } from '../language-model.ts';
import { ModelTensors } from './model-tensors.ts';
import type { OnnxOptions } from './model-tensors.ts';
import { HIDDEN, INPUTS, OUTPUTS } from './ports.ts';
import { hasHead, MASK, SEGMENTS, traceEncoder } from './trace-encoder.ts';
import { BATCH, IDS, POSITIONS, SEQUENCE } from './trace-parts.ts';
import { castTo } from './write-linear.ts';
import { writeProgram } from './write-program.ts';
import type { OnnxPlan } from './write-program.ts';

/**
 * Builds an encoder; nothing of its weights is read.
 *
 * @throws PithError `DYNAMIC_TRACE` where its program depends on how many tokens there are.
 */
export function buildEncoder(model: LanguageModel, options: OnnxOptions): OnnxPlan {
  const { architecture, config } = model;
  const builder = new OnnxModelBuilder(config.modelType);
  const tensors = new ModelTensors(model, builder, options);
  const program = traceEncoder(architecture);
  const shape = [BATCH, SEQUENCE] as const;
  builder.input(INPUTS.ids, 'i64', shape);
  builder.input(INPUTS.mask, 'i64', shape);
  if (architecture.tokenTypes !== null) builder.input(INPUTS.segments, 'i64', shape);
  const made: Readonly<Record<string, () => string>> = {
    [IDS]: () => castTo(builder, INPUTS.ids, 'i32'),
    [SEGMENTS]: () => castTo(builder, INPUTS.segments, 'i32'),
    [POSITIONS]: () => writePositions(builder, architecture.positions!.offset),
    [MASK]: () => writeMask(builder),
  };
  const results = writeProgram(builder, {
    architecture,
    program,
    tensors,
    inputs: (name) => made[name]?.(),
    axes: { [BATCH]: { value: INPUTS.ids, axis: 0 }, [SEQUENCE]: { value: INPUTS.ids, axis: 1 } },
  });
  const outputs = [
    ...(hasHead(architecture) ? [[OUTPUTS.logits, config.vocabularySize] as const] : []),
    [OUTPUTS.states, config.hiddenSize] as const,
  ];
  for (const [name, width] of outputs) {
    builder.node('Identity', [results.get(name)!], { outputs: [name] });
    builder.output(name, 'f32', [BATCH, SEQUENCE, width]);
  }
  return { builder, weights: tensors.weights };
}

/** Rows of the table of positions, int32 [sequence]: they are counted from the first token, padding or not. */
function writePositions(builder: OnnxModelBuilder, offset: number): string {
  const lengths = builder.op('Shape', [INPUTS.ids], { attributes: { start: { int: 1 }, end: { int: 2 } } });
  const scalar = (value: number): string => builder.constant('i64', [], BigInt64Array.of(BigInt(value)));
  const end = builder.op('Add', [builder.op('Squeeze', [lengths]), scalar(offset)]);
  return castTo(builder, builder.op('Range', [scalar(offset), end, scalar(1)]), 'i32');
}

/** f32 [batch, 1, 1, 1, sequence]: 0 for a real token, a very negative number for padding. */
function writeMask(builder: OnnxModelBuilder): string {
  const real = castTo(builder, INPUTS.mask, 'bool');
  const mask = builder.op('Where', [real, builder.float(0), builder.float(HIDDEN)]);
  return builder.op('Unsqueeze', [mask, builder.ints([1, 2, 3])]);
}
