// An encoder as one program with dynamic axes: the very functions that evaluation runs, traced.
import { traceDynamic } from '@pith/tensor-core';
import type { DynamicProgram, DynamicSpec } from '@pith/tensor-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { Architecture } from '../architecture/architecture.ts';
import { expectedTensors } from '../architecture/expected-tensors.ts';
import { blockScope, modelScope } from '../architecture/scope.ts';
import { weightInput } from '../run/programs.ts';
import { OUTPUTS } from './ports.ts';
import {
  BATCH,
  IDS,
  linearTensors,
  LONGEST_TRACE,
  numbersOf,
  POSITIONS,
  recordLinear,
  SEQUENCE,
} from './trace-parts.ts';

/** Name of the program's input of segments, int32 [batch, sequence]. */
export const SEGMENTS = 'segments';
/** Name of the program's input that is added to the scores, f32 [batch, 1, 1, 1, sequence]. */
export const MASK = 'mask';

/** True for a checkpoint that has a head; the states of any encoder are an output. */
export function hasHead({ config }: Architecture): boolean {
  return !config.traits['headless'];
}

/**
 * Traces an encoder.
 *
 * Inputs: {@link IDS}, {@link POSITIONS}, {@link SEGMENTS} where the model has such, {@link MASK}, and `weight.<checkpoint name>` for
 * what no linear layer reads. Outputs: `last_hidden_state` f32 [batch, sequence, hidden], what the last block gives; with a head
 * `logits` f32 [batch, sequence, vocabulary] before it.
 *
 * @throws PithError as `traceDynamic` does.
 */
export function traceEncoder(architecture: Architecture): DynamicProgram {
  const { config, blocks, embedding, head, program, positions, tokenTypes } = architecture;
  const linears = linearTensors(architecture);
  const ids: DynamicSpec = { shape: [BATCH, SEQUENCE], dtype: 'int32' };
  const entries: (readonly [string, DynamicSpec])[] = [
    [IDS, ids],
    ...(positions ? [[POSITIONS, { shape: [SEQUENCE], dtype: 'int32' }] as const] : []),
    ...(tokenTypes ? [[SEGMENTS, ids] as const] : []),
    [MASK, { shape: [BATCH, 1, 1, 1, SEQUENCE] }],
    ...expectedTensors(architecture)
      .filter(({ name }) => name === embedding.name || !linears.has(name))
      .map(({ name, shape }) => [weightInput(name), { shape }] as const),
  ];
  return traceDynamic(
    (inputs) => {
      const find = (name: string): Tensor | undefined => inputs[weightInput(name)];
      const model = modelScope(architecture, find, recordLinear);
      let hidden = program.embed(model, inputs[IDS], inputs[POSITIONS], inputs[SEGMENTS]);
      for (const block of blocks) {
        hidden = program.block(blockScope(block, find, recordLinear), block, hidden, { mask: inputs[MASK] }).hidden;
      }
      const states = { [OUTPUTS.states]: hidden };
      if (!hasHead(architecture)) return states;
      const products = model.linear(head.path, program.finish(model, hidden));
      return { [OUTPUTS.logits]: program.logits(products), ...states };
    },
    Object.fromEntries(entries),
    {
      name: `${config.modelType}-encoder`,
      axes: { [BATCH]: {}, [SEQUENCE]: { largest: LONGEST_TRACE } },
      numbers: numbersOf(architecture),
    },
  );
}
