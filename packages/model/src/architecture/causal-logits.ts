// The whole model as one function of its weights: what the trainer differentiates and what tests compare with. Long
// texts and large models are run block by block instead (`evaluate/`).
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import type { Architecture } from './architecture.ts';
import { causalMask } from './ops/masks.ts';
import { rotaryTable } from './ops/rotary.ts';
import { blockScope, modelScope } from './scope.ts';

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

/**
 * Hidden states of every depth: the embedding, then the output of each block, the last one after the final norm.
 *
 * @param weights Tensors by checkpoint name, f32.
 * @param ids int32 [batch, tokens].
 * @returns `layers + 1` tensors f32 [batch, tokens, hidden].
 */
export function hiddenStates(architecture: Architecture, weights: NamedTensors, ids: Tensor2D): Tensor3D[] {
  const { program, blocks } = architecture;
  const model = modelScope(architecture, (name) => weights[name]);
  const { cos, sin, masks } = constants(architecture, ids.shape[1]);
  const states = [program.embed(model, ids)];
  for (const block of blocks) {
    const scope = blockScope(block, (name) => weights[name]);
    const mask = masks.get(block.window)!;
    states.push(program.block(scope, block, states.at(-1)!, { cos, sin, mask }).hidden);
  }
  states.push(program.finish(model, states.pop()!));
  return states as Tensor3D[];
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
  const model = modelScope(architecture, (name) => weights[name]);
  return model.linear(architecture.head.path, hiddenStates(architecture, weights, ids).at(-1)!) as Tensor3D;
}
