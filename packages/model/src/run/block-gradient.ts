// The backward program of one block: from the gradient at its output to those at its input and in its weights.
import { compile } from '@pith/tensor-core';
import type { Device, Program, Signature } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor } from '@tensorflow/tfjs-core';
import type { Architecture, BlockSpec } from '../architecture/architecture.ts';
import { blockTensors } from '../architecture/expected-tensors.ts';
import { blockScope } from '../architecture/scope.ts';
import { attentionInputs, attentionSignature, weightInput } from './programs.ts';
import { localName } from './restore.ts';

/** Output of a backward program that carries the gradient in the tensor of this name. */
export const gradientOutput = (name: string) => `gradient.${name}`;

/** What a backward program is made for. */
export interface BlockGradientOptions {
  readonly device: Device;
  readonly batch: number;
  readonly tokens: number;
  /** Tensors whose gradients are wanted, by names relative to the block. */
  readonly wanted: readonly string[];
}

/**
 * Compiles the backward program of one block, all of whose linears run dense. It computes the block again from its input:
 * nothing of the forward pass is kept.
 *
 * Inputs: those of `compileBlock` without a past, and `slope` f32 [batch, tokens, hidden], the gradient of the loss with
 * respect to the output. Outputs: `inputSlope`, that with respect to the input, and per wanted tensor {@link gradientOutput}.
 */
export function compileBlockGradient(
  architecture: Architecture,
  block: BlockSpec,
  { device, batch, tokens, wanted }: BlockGradientOptions,
): Promise<Program> {
  const { hiddenSize } = architecture.config;
  const hiddenShape = [batch, tokens, hiddenSize];
  const signature: Signature = {
    hidden: { shape: hiddenShape },
    slope: { shape: hiddenShape },
    ...attentionSignature(architecture, block, { batch, tokens, past: 0 }),
    ...Object.fromEntries(
      blockTensors(block).map(({ name, shape }) => [weightInput(localName(block, name)), { shape: [...shape] }]),
    ),
  };
  return compile(
    (inputs) => {
      const { hidden, slope } = inputs;
      const outputOf = (...values: Tensor[]): Tensor => {
        const given = new Map(wanted.map((name, i) => [name, values[i + 1]]));
        const find = (name: string) => {
          const local = localName(block, name);
          return given.get(local) ?? inputs[weightInput(local)];
        };
        return architecture.program.block(blockScope(block, find), block, values[0], attentionInputs(inputs)).hidden;
      };
      const at = [hidden, ...wanted.map((name) => inputs[weightInput(name)])];
      const [first, ...rest] = tf.grads(outputOf)(at, slope);
      return { inputSlope: first, ...Object.fromEntries(wanted.map((name, i) => [gradientOutput(name), rest[i]])) };
    },
    signature,
    device,
    { name: `${architecture.config.modelType}-block-gradient-${block.variant}` },
  );
}
