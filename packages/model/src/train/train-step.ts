// One step of training as one function over tensors: forward pass, loss, gradients, clipping, optimizer. `compile` makes
// one program of it, whose inputs and outputs are the parameters and the optimizer's slots.
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import type { NamedTensors } from '../architecture/causal-logits.ts';
import { clipFactor, globalNorm } from './clip.ts';
import type { Loss } from './loss.ts';
import type { Optimizer } from './optimizer.ts';

/** What {@link trainStep} needs to know. */
export interface TrainStepOptions {
  /** What is differentiated. */
  readonly loss: Loss;
  /** What changes the parameters. */
  readonly optimizer: Optimizer;
  /** Gradients are scaled down to this global norm; null for no clipping. */
  readonly clipNorm: number | null;
  /** Checkpoint names of the parameters. */
  readonly parameters: readonly string[];
  /** Names of the batch's tensors. */
  readonly batch: readonly string[];
}

/** The graph's name of an optimizer slot: `model.norm.weight#mean`. */
export const slotName = (parameter: string, slot: string): string => `${parameter}#${slot}`;

/** The graph's name of a batch tensor: `batch:ids`. */
export const batchName = (name: string): string => `batch:${name}`;

/** The graph's name of a number that the optimizer computes on the host: `scalar:rate`. */
export const scalarName = (name: string): string => `scalar:${name}`;

/** The graph's name of what becomes of a parameter or slot: `next:model.norm.weight`. A graph's names are unique. */
export const nextName = (name: string): string => `next:${name}`;

/**
 * The step as a function of named tensors: parameters, slots, batch and scalars in; out the new parameters and slots as
 * `next:...`, and `loss` and `gradientNorm` (before clipping; both f32 scalars).
 */
export function trainStep(options: TrainStepOptions): (inputs: NamedTensors) => Record<string, Tensor> {
  const { loss, optimizer, clipNorm, parameters } = options;
  const scalarNames = Object.keys(optimizer.scalars(0, 1));
  return (inputs) => {
    const batch = Object.fromEntries(options.batch.map((name) => [name, inputs[batchName(name)]!]));
    const scalars = Object.fromEntries(scalarNames.map((name) => [name, inputs[scalarName(name)] as Scalar]));
    const values = parameters.map((name) => inputs[name]!);
    const lossOf = (...tensors: Tensor[]) =>
      loss(Object.fromEntries(parameters.map((name, i) => [name, tensors[i]!])), batch);
    const { value, grads } = tf.valueAndGrads(lossOf)(values);
    const gradientNorm = globalNorm(grads);
    const factor = clipNorm === null ? undefined : clipFactor(gradientNorm, clipNorm);
    const outputs: Record<string, Tensor> = { loss: value, gradientNorm };
    parameters.forEach((name, i) => {
      const gradient = factor === undefined ? grads[i]! : tf.mul(grads[i]!, factor);
      const slots = Object.fromEntries(optimizer.slots.map((slot) => [slot, inputs[slotName(name, slot)]!]));
      const updated = optimizer.update({ name, value: values[i]!, gradient, slots }, scalars);
      outputs[nextName(name)] = updated.value;
      for (const slot of optimizer.slots) outputs[nextName(slotName(name, slot))] = updated.slots[slot]!;
    });
    return outputs;
  };
}
