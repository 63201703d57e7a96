// The whole model as one function of its weights: what the trainer differentiates and what tests compare with. Long
// texts and large models are run block by block instead (`evaluate/`).
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import type { Architecture, AttentionInputs } from './architecture.ts';
import { attentionTensors } from './attention-tensors.ts';
import { blockScope, modelScope, type LinearHook } from './scope.ts';

/** Tensors by checkpoint name. Matrices are [out, in]. */
export type NamedTensors = Readonly<Record<string, Tensor>>;

/** Attention inputs of tokens 0 to `tokens` of a text, per block variant, as constants. */
function constants(architecture: Architecture, tokens: number): ReadonlyMap<string, AttentionInputs> {
  const known = new Map<string, AttentionInputs>();
  for (const block of architecture.blocks) {
    if (known.has(block.variant)) continue;
    const feeds = attentionTensors(architecture, block, { tokens, past: 0 }, 0);
    const made = Object.entries(feeds).map(([name, { shape, data }]) => [name, tf.tensor(data, [...shape])]);
    known.set(block.variant, Object.fromEntries(made) as unknown as AttentionInputs);
  }
  return known;
}

/** What attention works on in one block. */
export interface AttentionStates {
  /** Queries as they meet the keys, not yet scaled: f32 [batch, heads, tokens, headDim]. */
  readonly queries: Tensor4D;
  /** Keys, normalized and rotated, f32 [batch, keyValueHeads, tokens, headDim]; query head h reads key head `floor(h keyValueHeads / heads)`. */
  readonly keys: Tensor4D;
  /** Values, f32 [batch, keyValueHeads, tokens, valueDim]. */
  readonly values: Tensor4D;
  /** Added to the scores, f32 [tokens, tokens]: 0 where a token sees another, -Infinity where not. */
  readonly mask: Tensor2D;
  /** Multiplies products of queries and keys. */
  readonly scale: number;
  /** Scaled products become `cap tanh(product / cap)`; null for none. */
  readonly softCap: number | null;
  /** Added to the scaled products of each head, f32 [heads, tokens]; of models with linear biases. */
  readonly bias?: Tensor2D;
}

/** What a model computes on the way to its logits. */
export interface CausalStates {
  /** The embedding, then the output of each block, the last one after what stands before the head: f32 [batch, tokens, hidden]. */
  readonly hidden: readonly Tensor3D[];
  /** One for each block. */
  readonly attention: readonly AttentionStates[];
  /** f32 [batch, tokens, vocabulary]. */
  readonly logits: Tensor3D;
}

/**
 * Logits of the next token at every position, and the states behind them.
 *
 * A plain function over tfjs-core, as {@link causalLogits}; under `compile` what is not used is not computed.
 *
 * @param weights Tensors by checkpoint name, f32; in the place of a matrix there may be its two factors (`factorNames`).
 * @param ids Token ids int32 [batch, tokens].
 * @param hook Stands in for the linear layers.
 * @param segments Segments (token types) int32 [batch, tokens] of models that have such; the first for all when left out.
 */
export function causalStates(
  architecture: Architecture,
  weights: NamedTensors,
  ids: Tensor2D,
  hook?: LinearHook,
  segments?: Tensor2D,
): CausalStates {
  const { program, blocks, config, positions } = architecture;
  const find = (name: string) => weights[name];
  const model = modelScope(architecture, find, hook);
  const tokens = ids.shape[1];
  const inputs = constants(architecture, tokens);
  const rows = Int32Array.from({ length: tokens }, (_, position) => position + (positions?.offset ?? 0));
  const hidden = [program.embed(model, ids, tf.tensor1d(rows, 'int32'), segments)];
  const attention = blocks.map((block): AttentionStates => {
    const scope = blockScope(block, find, hook);
    const given = inputs.get(block.variant)!;
    const output = program.block(scope, block, hidden.at(-1)!, given);
    hidden.push(output.hidden);
    return {
      queries: output.queries as Tensor4D,
      keys: output.keys as Tensor4D,
      values: output.values as Tensor4D,
      mask: given.mask as Tensor2D,
      scale: config.attentionScale,
      softCap: config.attentionSoftCap,
      ...(given.bias && { bias: given.bias as Tensor2D }),
    };
  });
  hidden.push(program.finish(model, hidden.pop()!));
  const logits = program.logits(model.linear(architecture.head.path, hidden.at(-1)!)) as Tensor3D;
  return { hidden: hidden as Tensor3D[], attention, logits };
}

/**
 * Hidden states of every depth: the embedding, then the output of each block, the last one after the final norm.
 *
 * @param weights Tensors by checkpoint name, f32.
 * @param ids int32 [batch, tokens].
 * @returns `layers + 1` tensors f32 [batch, tokens, hidden].
 */
export function hiddenStates(architecture: Architecture, weights: NamedTensors, ids: Tensor2D): Tensor3D[] {
  return [...causalStates(architecture, weights, ids).hidden];
}

/**
 * Logits of the next token at every position.
 *
 * A plain function over tfjs-core: it runs eagerly, under `tf.grads`, and under `compile`. Wrap eager calls in
 * `tf.tidy`. Every op has a gradient.
 *
 * @param weights Tensors by checkpoint name, f32; matrices are [out, in].
 * @param ids Token ids int32 [batch, tokens].
 * @returns f32 [batch, tokens, vocabulary].
 */
export function causalLogits(architecture: Architecture, weights: NamedTensors, ids: Tensor2D): Tensor3D {
  return causalStates(architecture, weights, ids).logits;
}
