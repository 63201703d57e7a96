// The compiled programs of a model: one per kind and shape, made when first asked for. Weights are inputs, so that one
// block program serves all blocks of a variant.
import { compile } from '@pith/tensor-core';
import type { Device, HostTensor, Program, Signature, WeightTensor } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Architecture, BlockSpec } from '../architecture/architecture.ts';
import { rotaryTable } from '../architecture/ops/rotary.ts';
import { causalMask } from '../architecture/ops/masks.ts';
import { BLOCK_GROUP, cosineSum, outputNames, reducingHook } from '../calibrate/reduce-inputs.ts';
import type { StatisticPiece } from '../calibrate/statistic.ts';
import { blockScope, modelScope, type InputRounding } from '../architecture/scope.ts';
import { fakeQuantizeActivations } from './fake-activations.ts';
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

/** Attention inputs of new tokens at positions `pastUsed` onwards, see {@link causalMask}. */
export function attentionFeeds(
  architecture: Architecture,
  window: number | null,
  { tokens, past }: BlockShape,
  pastUsed: number,
): Record<'cos' | 'sin' | 'mask', HostTensor<'f32'>> {
  const { cos, sin } = rotaryTable(architecture.config, pastUsed, pastUsed + tokens);
  const half = architecture.config.headDim / 2;
  const tensor = (shape: number[], data: Float32Array) => ({ dtype: 'f32' as const, shape, data });
  return {
    cos: tensor([tokens, half], cos),
    sin: tensor([tokens, half], sin),
    mask: tensor([tokens, past + tokens], causalMask(tokens, past, pastUsed, window)),
  };
}

/** Static scales of a block's inputs as its program names them. */
export function scaleFeeds(block: BlockSpec, weights: ReadonlyMap<string, WeightTensor>): Record<string, HostTensor> {
  return blockFeeds(staticScales(block, weights));
}

/** What the program of a block is made for. */
export interface BlockProgramOptions {
  readonly device: Device;
  readonly shape: BlockShape;
  /** How the linears run; all dense when left out. */
  readonly forms?: BlockForms;
  /** Gives keys and values of the tokens as well. */
  readonly keepKeys?: boolean;
  /** Reductions of the linears' inputs by local input group. */
  readonly wanted?: ReadonlyMap<string, readonly StatisticPiece[]>;
}

/**
 * Compiles the program of one block.
 *
 * Inputs: `hidden` f32 [batch, tokens, hidden], `cos`, `sin`, `mask` (see `AttentionInputs`), with a past also
 * `past.keys` and `past.values` f32 [batch, keyValueHeads, past, headDim], and `weight.<name>` for each tensor of
 * `blockInputs`. Outputs: `output` f32 [batch, tokens, hidden], with `keepKeys` also `keys` and `values`
 * f32 [batch, keyValueHeads, tokens, headDim], and the reductions that are wanted.
 */
export function compileBlock(
  architecture: Architecture,
  block: BlockSpec,
  { device, shape, forms = DENSE_FORMS, keepKeys = false, wanted = new Map() }: BlockProgramOptions,
): Promise<Program> {
  const { hiddenSize, keyValueHeads, headDim } = architecture.config;
  const { batch, tokens, past } = shape;
  const pastShape = { shape: [batch, keyValueHeads, past, headDim] };
  const signature: Signature = {
    hidden: { shape: [batch, tokens, hiddenSize] },
    cos: { shape: [tokens, headDim / 2] },
    sin: { shape: [tokens, headDim / 2] },
    mask: { shape: [tokens, past + tokens] },
    ...(past > 0 && { 'past.keys': pastShape, 'past.values': pastShape }),
    ...Object.fromEntries(
      blockInputs(block, forms).map(({ name, shape: dims }) => [weightInput(localName(block, name)), { shape: dims }]),
    ),
  };
  return compile(
    (inputs) => {
      const reduced: Record<string, tf.Tensor> = {};
      const hook = reducingHook(block, wanted, reduced);
      const find = (name: string): tf.Tensor | undefined => inputs[weightInput(localName(block, name))];
      const scope = blockScope(block, find, hook, activationRounding(block, forms, find));
      const { hidden, cos, sin, mask } = inputs;
      const earlier = past > 0 ? { past: { keys: inputs['past.keys'], values: inputs['past.values'] } } : {};
      const output = architecture.program.block(scope, block, hidden, { cos, sin, mask, ...earlier });
      if (wanted.has(BLOCK_GROUP)) reduced[outputNames(BLOCK_GROUP, 'cosine', 1)[0]] = cosineSum(hidden, output.hidden);
      const next = { output: output.hidden, ...reduced };
      return keepKeys ? { ...next, keys: output.keys, values: output.values } : next;
    },
    signature,
    device,
    { name: `${architecture.config.modelType}-block-${block.variant}` },
  );
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
    if (activations.kind === 'tensor-static') {
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
 * Input: `rows` f32 [batch * tokens, hidden], one row of the embedding matrix per token. Output: `hidden`
 * f32 [batch, tokens, hidden].
 */
export function compileEmbedding(
  architecture: Architecture,
  { batch, tokens }: Pick<BlockShape, 'batch' | 'tokens'>,
  device: Device,
): Promise<Program> {
  const { embedding, program } = architecture;
  return compile(
    ({ rows }) => {
      const scope = modelScope(architecture, (name) => (name === embedding.name ? rows : undefined));
      const ids = tf.tensor2d(
        Int32Array.from({ length: batch * tokens }, (_, row) => row),
        [batch, tokens],
        'int32',
      );
      return { hidden: program.embed(scope, ids) };
    },
    { rows: { shape: [batch * tokens, embedding.columns] } },
    device,
    { name: `${architecture.config.modelType}-embedding` },
  );
}
