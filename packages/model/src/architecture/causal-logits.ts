// The whole model as one function of its weights: what the trainer differentiates and what tests compare with. Long
// texts and large models are run block by block instead (`evaluate/`).
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D, Tensor3D, Tensor4D } from '@tensorflow/tfjs-core';
import type { Architecture } from './architecture.ts';
import { causalMask } from './ops/masks.ts';
import { rotaryTable, rotate } from './ops/rotary.ts';
import { blockScope, modelScope, type LinearHook } from './scope.ts';

/** Tensors by checkpoint name. Matrices are [out, in]. */
export type NamedTensors = Readonly<Record<string, Tensor>>;

/** Attention inputs of tokens 0 to `tokens` of a text, per block variant, as constants. */
function constants(architecture: Architecture, tokens: number) {
  const { cos, sin } = rotaryTable(architecture.config, 0, tokens);
  const half = architecture.config.headDim / 2;
  const masks = new Map<number | null, Tensor>();
  for (const { window } of architecture.blocks) {
    if (!masks.has(window)) masks.set(window, tf.tensor2d(causalMask(tokens, 0, 0, window), [tokens, tokens]));
  }
  return { cos: tf.tensor2d(cos, [tokens, half]), sin: tf.tensor2d(sin, [tokens, half]), masks };
}

/** What attention works on in one block. */
export interface AttentionStates {
  /** Rotated queries, not yet divided by the root of the head length: f32 [batch, heads, tokens, headDim]. */
  readonly queries: Tensor4D;
  /** Rotated keys, f32 [batch, keyValueHeads, tokens, headDim]; query head h reads key head `floor(h keyValueHeads / heads)`. */
  readonly keys: Tensor4D;
  /** Values, f32 [batch, keyValueHeads, tokens, headDim]. */
  readonly values: Tensor4D;
  /** Added to the scores, f32 [tokens, tokens]: 0 where a token sees another, -Infinity where not. */
  readonly mask: Tensor2D;
}

/** What a model computes on the way to its logits. */
export interface CausalStates {
  /** The embedding, then the output of each block, the last one after the final norm: f32 [batch, tokens, hidden]. */
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
 */
export function causalStates(
  architecture: Architecture,
  weights: NamedTensors,
  ids: Tensor2D,
  hook?: LinearHook,
): CausalStates {
  const { program, blocks, config } = architecture;
  const find = (name: string) => weights[name];
  const model = modelScope(architecture, find, hook);
  const { cos, sin, masks } = constants(architecture, ids.shape[1]);
  const hidden = [program.embed(model, ids)];
  const attention = blocks.map((block): AttentionStates => {
    let query: Tensor | undefined;
    const scope = blockScope(block, find, (spec, x, apply) => {
      const result = hook ? hook(spec, x, apply) : apply();
      if (spec.role === 'query') query = result;
      return result;
    });
    const mask = masks.get(block.window)! as Tensor2D;
    const output = program.block(scope, block, hidden.at(-1)!, { cos, sin, mask });
    hidden.push(output.hidden);
    const [batch, tokens] = ids.shape;
    const split = tf.transpose(tf.reshape(query!, [batch, tokens, config.heads, config.headDim]), [0, 2, 1, 3]);
    return {
      queries: rotate(split, cos, sin) as Tensor4D,
      keys: output.keys as Tensor4D,
      values: output.values as Tensor4D,
      mask,
    };
  });
  hidden.push(program.finish(model, hidden.pop()!));
  const logits = model.linear(architecture.head.path, hidden.at(-1)!) as Tensor3D;
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
