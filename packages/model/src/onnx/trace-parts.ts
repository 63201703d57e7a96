// What the traces of decoders and encoders share: names of axes and inputs, and linear layers as nodes of their own, so that an
// exporter can put whatever stores their weights in their place.
import { recordNode } from '@pith/tensor-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { Architecture, LinearSpec } from '../architecture/architecture.ts';
import { outerLinears } from '../architecture/scope.ts';

/** Names of the dynamic axes, as onnxruntime-genai and transformers.js know them. */
export const BATCH = 'batch_size';
/** See {@link BATCH}: new tokens. */
export const SEQUENCE = 'sequence_length';

/** Domain and operator of a linear layer in the program; its attribute `path` names the layer. */
export const LINEAR = { domain: 'pith', opType: 'Linear' } as const;

/** Name of the program's input of token ids, int32 [batch, sequence]. */
export const IDS = 'ids';

/** Name of the program's input of rows of the table of positions, int32 [batch, sequence] or [sequence]. */
export const POSITIONS = 'positions';

/** Attention is not cut into stretches up to so many tokens; the trace must not see cuts. */
export const LONGEST_TRACE = 61;

/** Records a linear layer as one node. */
export function recordLinear(spec: LinearSpec, x: Tensor): Tensor {
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

/** Names of the weights and biases that linear layers alone read. */
export function linearTensors(architecture: Architecture): ReadonlySet<string | null> {
  return new Set(allLinears(architecture).flatMap(({ name, biasName }) => [name, biasName]));
}

/** Every number that lengths of the program are made of. */
export function numbersOf(architecture: Architecture): number[] {
  const { config, blocks } = architecture;
  const { experts, latentAttention } = config;
  const facts = [config, experts ?? {}, latentAttention ?? {}]
    .flatMap((part) => Object.values(part))
    .concat(experts ? [experts.count / experts.groups] : [])
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
