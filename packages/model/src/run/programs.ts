// The compiled programs of a model: one per kind and shape, made when first asked for. Weights are inputs, so that one
// block program serves all blocks of a variant.
import { compile } from '@pith/tensor-core';
import type { Device, HostTensor, Program, Signature } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Architecture, AttentionInputs, BlockSpec, KeptPart } from '../architecture/architecture.ts';
import { attentionShapes } from '../architecture/attention-tensors.ts';
import { embeddingTensors } from '../architecture/expected-tensors.ts';
import { BLOCK_GROUP, reduceBlock, reducingHook } from '../calibrate/reduce-inputs.ts';
import type { StatisticPiece } from '../calibrate/statistic.ts';
import { blockScope, modelScope, type InputRounding } from '../architecture/scope.ts';
import type { LanguageModel } from '../language-model.ts';
import { fakeQuantizeActivations, hasStaticScale } from './fake-activations.ts';
import { fakeQuantizeKept, keyValueInputs, keyValueScaleNames, keyValueScales } from './key-value-form.ts';
import type { KeyValueForm } from './key-value-form.ts';
import { blockInputs, DENSE_FORMS, inputScaleNames, staticScales } from './linear-form.ts';
import type { BlockForms } from './linear-form.ts';
import { localName } from './restore.ts';

/** Static lengths of a block program. */
export interface BlockShape {
  readonly batch: number;
  /** New tokens of each sequence. */
  readonly tokens: number;
  /** Slots for keys and values of earlier tokens; 0 for none. */
  readonly past: number;
}

/** Input of a program that takes the tensor of this name. */
export const weightInput = (name: string) => `weight.${name}`;

/** Prefixes the weights of a block as its program names them. */
export function blockFeeds(weights: Readonly<Record<string, HostTensor>>): Record<string, HostTensor> {
  return Object.fromEntries(Object.entries(weights).map(([name, tensor]) => [weightInput(name), tensor]));
}

/** Static scales of a block's inputs, and of the keys and values that it keeps, as its program names them. */
export function scaleFeeds(
  block: BlockSpec,
  { weights, keyValueCache, config }: Pick<LanguageModel, 'weights' | 'keyValueCache' | 'config'>,
): Record<string, HostTensor> {
  return blockFeeds({ ...staticScales(block, weights), ...keyValueScales(block, keyValueCache, config) });
}

/** What the program of a block is made for. */
export interface BlockProgramOptions {
  readonly device: Device;
  readonly shape: BlockShape;
  /** How the linears run; all dense when left out. */
  readonly forms?: BlockForms;
  /** How keys and values are rounded before attention reads them; not at all when left out. */
  readonly kept?: KeyValueForm | null | undefined;
  /** Gives keys and values of the tokens as well. */
  readonly keepKeys?: boolean;
  /** Reductions of the linears' inputs by local input group. */
  readonly wanted?: ReadonlyMap<string, readonly StatisticPiece[]>;
}

/**
 * Compiles the program of one block.
 *
 * Inputs: `hidden` f32 [batch, tokens, hidden], what attention reads (see `attentionShapes`), with a past also
 * `past.keys` f32 [batch, keyValueHeads, past, headDim] and `past.values` [.., valueDim], and `weight.<name>` for each tensor of
 * `blockInputs` and of `keyValueInputs`. Outputs: `output` f32 [batch, tokens, hidden], with `keepKeys` also `keys`
 * f32 [batch, keyValueHeads, tokens, headDim] and `values` [.., valueDim], and the reductions that are wanted.
 */
export function compileBlock(
  architecture: Architecture,
  block: BlockSpec,
  { device, shape, forms = DENSE_FORMS, kept = null, keepKeys = false, wanted = new Map() }: BlockProgramOptions,
): Promise<Program> {
  const { hiddenSize, keyValueHeads, headDim, valueDim } = architecture.config;
  const { batch, tokens, past } = shape;
  const pastShape = (length: number) => ({ shape: [batch, keyValueHeads, past, length] });
  const tensors = [...blockInputs(block, forms), ...keyValueInputs(block, kept, architecture.config)];
  const signature: Signature = {
    hidden: { shape: [batch, tokens, hiddenSize] },
    ...attentionSignature(architecture, block, shape),
    ...(past > 0 && { 'past.keys': pastShape(headDim), 'past.values': pastShape(valueDim) }),
    ...Object.fromEntries(
      tensors.map(({ name, shape: dims }) => [weightInput(localName(block, name)), { shape: dims }]),
    ),
  };
  return compile(
    (inputs) => {
      const reduced: Record<string, tf.Tensor> = {};
      const hook = reducingHook(block, wanted, reduced);
      const find = (name: string): tf.Tensor | undefined => inputs[weightInput(localName(block, name))];
      const scope = blockScope(block, find, hook, activationRounding(block, forms, find));
      const { hidden } = inputs;
      const rounding = keptRounding(block, kept, find);
      const attention = { ...attentionInputs(inputs), ...(rounding && { kept: rounding }) };
      const output = architecture.program.block(scope, block, hidden, attention);
      reduceBlock(wanted.get(BLOCK_GROUP) ?? [], hidden, output, reduced);
      const next = { output: output.hidden, ...reduced };
      return keepKeys ? { ...next, keys: output.keys, values: output.values } : next;
    },
    signature,
    device,
    { name: `${architecture.config.modelType}-block-${block.variant}` },
  );
}

/** Signature of what a block's attention reads. */
export function attentionSignature(architecture: Architecture, block: BlockSpec, shape: BlockShape): Signature {
  const shapes = Object.entries(attentionShapes(architecture, block, shape));
  return Object.fromEntries(shapes.map(([name, dims]) => [name, { shape: dims }]));
}

/** The inputs of a program that its attention reads. */
export function attentionInputs(inputs: Readonly<Record<string, tf.Tensor>>): AttentionInputs {
  const { cos, sin, mask, bias, 'past.keys': keys, 'past.values': values } = inputs;
  return {
    mask,
    ...(cos && sin && { cos, sin }),
    ...(bias && { bias }),
    ...(keys && values && { past: { keys, values } }),
  };
}

/** Rounds keys and values as they are kept; undefined where they stay as they are. */
function keptRounding(
  block: BlockSpec,
  kept: KeyValueForm | null,
  find: (name: string) => tf.Tensor | undefined,
): AttentionInputs['kept'] {
  const names = kept ? keyValueScaleNames(block) : undefined;
  if (kept === null || names === undefined) return undefined;
  return (part: KeptPart, x) => fakeQuantizeKept(x, find(names[part])!, kept);
}

/** Rounds the inputs of linears as their forms say; linears that share a dynamically rounded input share the result. */
function activationRounding(
  block: BlockSpec,
  forms: BlockForms,
  find: (name: string) => tf.Tensor | undefined,
): InputRounding | undefined {
  if (![...forms.values()].some(({ activations }) => activations)) return undefined;
  const known = new Map<tf.Tensor, Map<string, tf.Tensor>>();
  return ({ path }, x) => {
    const activations = forms.get(localName(block, path))?.activations;
    if (activations === undefined) return x;
    if (hasStaticScale(activations)) {
      const names = inputScaleNames(path);
      const scale = find(names.scale)!;
      return fakeQuantizeActivations(x, activations, { scale, zeroPoint: find(names.zeroPoint) ?? scale });
    }
    const key = JSON.stringify(activations);
    const rounded = known.get(x)?.get(key) ?? fakeQuantizeActivations(x, activations);
    known.set(x, (known.get(x) ?? new Map<string, tf.Tensor>()).set(key, rounded));
    return rounded;
  };
}

/**
 * Compiles the embedding of token rows that were gathered on the host.
 *
 * Inputs: `rows` f32 [batch * tokens, width], one row of the embedding matrix per token; with learned positions `positions` f32
 * [tokens, hidden], one row of their table per token; with segments `segments` f32 [batch * tokens, hidden] alike; `weight.<name>` for each of `embeddingTensors`. Output: `hidden`
 * f32 [batch, tokens, hidden].
 */
export function compileEmbedding(
  architecture: Architecture,
  { batch, tokens }: Pick<BlockShape, 'batch' | 'tokens'>,
  device: Device,
): Promise<Program> {
  const { embedding, positions, tokenTypes, program, config } = architecture;
  const signature: Signature = {
    rows: { shape: [batch * tokens, embedding.columns] },
    ...(positions && { positions: { shape: [tokens, positions.columns] } }),
    ...(tokenTypes && { segments: { shape: [batch * tokens, tokenTypes.columns] } }),
    ...Object.fromEntries(
      embeddingTensors(architecture).map(({ name, shape }) => [weightInput(name), { shape: [...shape] }]),
    ),
  };
  return compile(
    (inputs) => {
      const find = (name: string): tf.Tensor | undefined => {
        if (name === embedding.name) return inputs['rows'];
        if (name === positions?.name) return inputs['positions'];
        return name === tokenTypes?.name ? inputs['segments'] : inputs[weightInput(name)];
      };
      const counted = (length: number) => Int32Array.from({ length }, (_, row) => row);
      const ids = tf.tensor2d(counted(batch * tokens), [batch, tokens], 'int32');
      const at = tf.tensor1d(counted(tokens), 'int32');
      return { hidden: program.embed(modelScope(architecture, find), ids, at, ids) };
    },
    signature,
    device,
    { name: `${config.modelType}-embedding` },
  );
}
