// A decoder as one program with dynamic axes: the very functions that evaluation runs, traced. Linear layers are recorded as
// nodes of their own, so that an exporter can put whatever stores their weights in their place.
import { recordNode, traceDynamic } from '@pith/tensor-core';
import type { DynamicProgram, DynamicSpec } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { Architecture, LinearSpec } from '../architecture/architecture.ts';
import type { RopeConfig } from '../config/model-config.ts';
import { expectedTensors } from '../architecture/expected-tensors.ts';
import { blockScope, modelScope, outerLinears } from '../architecture/scope.ts';
import { weightInput } from '../run/programs.ts';

/** Names of the dynamic axes, as onnxruntime-genai and transformers.js know them. */
export const BATCH = 'batch_size';
/** See {@link BATCH}: new tokens. */
export const SEQUENCE = 'sequence_length';
/** See {@link BATCH}: tokens in the cache. */
export const PAST = 'past_sequence_length';
/** See {@link BATCH}: tokens in the cache and new ones together. */
export const TOTAL = 'total_sequence_length';

/** Domain and operator of a linear layer in the program; its attribute `path` names the layer. */
export const LINEAR = { domain: 'pith', opType: 'Linear' } as const;

/** Name of the program's input of token ids, int32 [batch, sequence]. */
export const IDS = 'ids';

/** Name of the program's input of rows of the table of positions, int32 [batch, sequence]. */
export const POSITIONS = 'positions';

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

/** Names of the cache of one block, f32 [batch, keyValueHeads, past or total, headDim], in and out. */
export const cacheNames = (block: number) => ({
  past: { keys: `past.${block}.keys`, values: `past.${block}.values` },
  present: { keys: `present.${block}.keys`, values: `present.${block}.values` },
});

/** Attention is not cut into stretches up to so many tokens; the trace must not see cuts. */
const LONGEST_TRACE = 61;

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
  const { keyValueHeads, headDim } = config;
  const linears = new Set(allLinears(architecture).flatMap(({ name, biasName }) => [name, biasName]));
  const ropes = ropesOf(architecture);
  const cache: DynamicSpec = { shape: [BATCH, keyValueHeads, PAST, headDim] };
  const ofHeads = config.alibi ? [keyValueHeads, config.heads / keyValueHeads] : [1, 1];
  const mask: DynamicSpec = { shape: [BATCH, ...ofHeads, SEQUENCE, TOTAL] };
  const entries: (readonly [string, DynamicSpec])[] = [
    [IDS, { shape: [BATCH, SEQUENCE], dtype: 'int32' }],
    [POSITIONS, { shape: [BATCH, SEQUENCE], dtype: 'int32' }],
    ...ropes.flatMap(({ dim }, index) =>
      Object.values(rotaryInputs(index)).map((name) => [name, { shape: [BATCH, 1, SEQUENCE, dim / 2] }] as const),
    ),
    ...[...new Set(blocks.map(({ window }) => maskInput(window)))].map((name) => [name, mask] as const),
    ...blocks.flatMap(({ index }) => Object.values(cacheNames(index).past).map((name) => [name, cache] as const)),
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

/** Records a linear layer as one node. */
function recordLinear(spec: LinearSpec, x: Tensor): Tensor {
  return recordNode([x], {
    ...LINEAR,
    attributes: { path: { string: spec.path } },
    output: { shape: [...x.shape.slice(0, -1), spec.outFeatures] },
  });
}

/** Every linear layer of a model. */
export function allLinears(architecture: Architecture): readonly LinearSpec[] {
  return [...architecture.blocks.flatMap((block) => block.linears), ...outerLinears(architecture)];
}

/** Every number that lengths of the program are made of. */
function numbersOf(architecture: Architecture): number[] {
  const { config, blocks } = architecture;
  const facts = [config, config.experts ?? {}]
    .flatMap((part) => Object.values(part))
    .filter((value) => typeof value === 'number');
  const windows = config.windows.filter((window) => window !== null);
  const features = allLinears(architecture).flatMap(({ inFeatures, outFeatures, parts }) => [
    inFeatures,
    outFeatures,
    ...parts.flatMap(({ rows }) => Object.values(rows)),
  ]);
  const rotated = blocks.flatMap(({ rope }) => (rope ? [rope.dim] : []));
  return [...new Set([...facts, ...windows, ...features, ...rotated])].filter((value) => Number.isSafeInteger(value));
}
