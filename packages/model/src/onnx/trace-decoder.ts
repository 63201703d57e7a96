// A decoder as one program with dynamic axes: the very functions that evaluation runs, traced.
import { traceDynamic } from '@pith/tensor-core';
import type { DynamicProgram, DynamicSpec } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { Architecture } from '../architecture/architecture.ts';
import type { ModelConfig, RopeConfig } from '../config/model-config.ts';
import { expectedTensors } from '../architecture/expected-tensors.ts';
import { blockScope, modelScope } from '../architecture/scope.ts';
import { weightInput } from '../run/programs.ts';
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

/** Name of a dynamic axis: tokens in the cache. */
export const PAST = 'past_sequence_length';
/** See {@link PAST}: tokens in the cache and new ones together. */
export const TOTAL = 'total_sequence_length';

/** The different rotary embeddings of the blocks, in order of their first block. */
export function ropesOf({ blocks }: Architecture): RopeConfig[] {
  const known = new Map(blocks.flatMap(({ rope }) => (rope ? [[JSON.stringify(rope), rope] as const] : [])));
  return [...known.values()];
}

/** Names of the program's inputs of the angles of one of {@link ropesOf}, f32 [batch, 1, sequence, dim / 2]. */
export const rotaryInputs = (index: number) => ({ cos: `cos.${index}`, sin: `sin.${index}` });

/**
 * Name of the program's input that is added to the scores of blocks with this window: f32 [batch, 1, 1, sequence, total], or
 * [batch, keyValueHeads, heads / keyValueHeads, sequence, total] of models with linear biases, which it holds.
 */
export const maskInput = (window: number | null): string => (window === null ? 'mask' : `mask.${window}`);

/** Length of one vector of each half of the cache. */
export const cacheLengths = ({ headDim, valueDim }: ModelConfig) => ({ keys: headDim, values: valueDim });

/** Names of the cache of one block, f32 [batch, keyValueHeads, past or total, length of a vector], in and out. */
export const cacheNames = (block: number) => ({
  past: { keys: `past.${block}.keys`, values: `past.${block}.values` },
  present: { keys: `present.${block}.keys`, values: `present.${block}.values` },
});

/**
 * Traces a decoder.
 *
 * Inputs: {@link IDS}, {@link POSITIONS}, {@link rotaryInputs} for each rotary embedding, {@link maskInput} for each window,
 * {@link cacheNames} for each block, and `weight.<checkpoint name>` for what no linear layer reads. Outputs: `logits` f32 [batch, sequence, vocabulary], and the cache
 * with the new tokens behind the earlier ones.
 *
 * @throws PithError as `traceDynamic` does.
 */
export function traceDecoder(architecture: Architecture): DynamicProgram {
  const { config, blocks, head, program } = architecture;
  const { keyValueHeads } = config;
  const lengths = cacheLengths(config);
  const linears = linearTensors(architecture);
  const ropes = ropesOf(architecture);
  const cache = (length: number): DynamicSpec => ({ shape: [BATCH, keyValueHeads, PAST, length] });
  const ofHeads = config.alibi ? [keyValueHeads, config.heads / keyValueHeads] : [1, 1];
  const mask: DynamicSpec = { shape: [BATCH, ...ofHeads, SEQUENCE, TOTAL] };
  const entries: (readonly [string, DynamicSpec])[] = [
    [IDS, { shape: [BATCH, SEQUENCE], dtype: 'int32' }],
    [POSITIONS, { shape: [BATCH, SEQUENCE], dtype: 'int32' }],
    ...ropes.flatMap(({ dim }, index) =>
      Object.values(rotaryInputs(index)).map((name) => [name, { shape: [BATCH, 1, SEQUENCE, dim / 2] }] as const),
    ),
    ...[...new Set(blocks.map(({ window }) => maskInput(window)))].map((name) => [name, mask] as const),
    ...blocks.flatMap(({ index }) => {
      const { keys, values } = cacheNames(index).past;
      return [[keys, cache(lengths.keys)] as const, [values, cache(lengths.values)] as const];
    }),
    ...expectedTensors(architecture)
      .filter(({ name }) => name === architecture.embedding.name || !linears.has(name))
      .map(({ name, shape }) => [weightInput(name), { shape }] as const),
  ];
  const ropeIndex = new Map(ropes.map((rope, index) => [JSON.stringify(rope), index]));
  return traceDynamic(
    (inputs) => {
      const find = (name: string): Tensor | undefined => inputs[weightInput(name)];
      const model = modelScope(architecture, find, recordLinear);
      let hidden = program.embed(model, inputs[IDS], inputs[POSITIONS]);
      const results: Record<string, Tensor> = {};
      for (const block of blocks) {
        const { past, present } = cacheNames(block.index);
        const earlier = { keys: inputs[past.keys], values: inputs[past.values] };
        const scope = blockScope(block, find, recordLinear);
        const angles = block.rope && rotaryInputs(ropeIndex.get(JSON.stringify(block.rope))!);
        const output = program.block(scope, block, hidden, {
          ...(angles && { cos: inputs[angles.cos], sin: inputs[angles.sin] }),
          mask: inputs[maskInput(block.window)],
          past: earlier,
        });
        hidden = output.hidden;
        results[present.keys] = tf.concat([earlier.keys, output.keys], 2);
        results[present.values] = tf.concat([earlier.values, output.values], 2);
      }
      const products = model.linear(head.path, program.finish(model, hidden));
      return { logits: program.logits(products), ...results };
    },
    Object.fromEntries(entries),
    {
      name: `${config.modelType}-decoder`,
      axes: {
        [BATCH]: {},
        [SEQUENCE]: { largest: LONGEST_TRACE },
        [TOTAL]: {},
        [PAST]: { difference: [TOTAL, SEQUENCE] },
      },
      numbers: numbersOf(architecture),
    },
  );
}
