// One step of training as functions over tensors: forward pass, loss, gradients, clipping, optimizer. `compile` makes
// programs of them, whose inputs and outputs are the parameters and the optimizer's slots: one program for the whole
// step, or, where gradients of several batches are added up, one that adds and one that steps.
import * as tf from '@tensorflow/tfjs-core';
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';
import type { NamedTensors } from '../architecture/causal-logits.ts';
import { clipFactor, globalNorm } from './clip.ts';
import type { DetailedLoss, Loss } from './loss.ts';
import type { Optimizer } from './optimizer.ts';

/** What the functions of a step need to know. */
export interface TrainStepOptions {
  /** What is differentiated. */
  readonly loss: Loss | DetailedLoss;
  /** What changes the parameters. */
  readonly optimizer: Optimizer;
  /** Gradients are scaled down to this global norm; null for no clipping. */
  readonly clipNorm: number | null;
  /** Names of the parameters. */
  readonly parameters: readonly string[];
  /** Names of tensors that the loss reads beside the parameters and that no step changes. */
  readonly frozen: readonly string[];
  /** Parameters that are multiplied by a mask after each step. */
  readonly masks: ReadonlySet<string>;
  /** Names of the batch's tensors, numbers of the step included. */
  readonly batch: readonly string[];
  /** Factor of the learning rate of a parameter. */
  readonly rateScale: (name: string) => number;
  /** Batches whose gradients one step takes the mean of. */
  readonly microBatches: number;
}

/** A function from named tensors to named tensors. */
export type TensorFunction = (inputs: NamedTensors) => Record<string, Tensor>;

/** The graph's name of an optimizer slot: `model.norm.weight#mean`. */
export const slotName = (parameter: string, slot: string): string => `${parameter}#${slot}`;

/** The graph's name of a batch tensor: `batch:ids`. */
export const batchName = (name: string): string => `batch:${name}`;

/** The graph's name of a number that the optimizer computes on the host, for parameters with a factor: `scalar:rate*1`. */
export const scalarName = (name: string, rateScale: number): string => `scalar:${name}*${rateScale}`;

/** The graph's name of a parameter's mask: `mask:model.norm.weight`. */
export const maskName = (name: string): string => `mask:${name}`;

/** The graph's name of a sum of gradients over batches: `sum:model.norm.weight`. */
export const sumName = (name: string): string => `sum:${name}`;

/** The graph's name of one part of the loss: `term:kl`. */
export const termName = (name: string): string => `term:${name}`;

/** The graph's name of what becomes of a parameter or slot: `next:model.norm.weight`. A graph's names are unique. */
export const nextName = (name: string): string => `next:${name}`;

/**
 * The whole step as a function of named tensors: parameters, frozen tensors, slots, batch, masks and scalars in; out the
 * new parameters and slots as `next:...`, `loss`, the parts of the loss as `term:...`, and `gradientNorm` (before
 * clipping), f32 scalars.
 */
export function trainStep(options: TrainStepOptions): TensorFunction {
  const backward = gradientsOf(options);
  const update = updateOf(options);
  return (inputs) => {
    const { loss, terms, gradients } = backward(inputs);
    return { loss, ...terms, ...update(inputs, gradients) };
  };
}

/**
 * One batch of several: parameters, frozen tensors, batch and the sums so far in (`sum:...`); out `loss`, the parts of it
 * and the sums with this batch's gradients added (`next:sum:...`).
 */
export function accumulateStep(options: TrainStepOptions): TensorFunction {
  const backward = gradientsOf(options);
  return (inputs) => {
    const { loss, terms, gradients } = backward(inputs);
    const outputs: Record<string, Tensor> = { loss, ...terms };
    options.parameters.forEach((name, i) => {
      outputs[nextName(sumName(name))] = tf.add(inputs[sumName(name)]!, gradients[i]!);
    });
    return outputs;
  };
}

/** What is left to do when the sums are complete: parameters, slots, sums, masks and scalars in, as from {@link trainStep} out. */
export function updateStep(options: TrainStepOptions): TensorFunction {
  const update = updateOf(options);
  return (inputs) => {
    const means = options.parameters.map((name) => tf.div(inputs[sumName(name)]!, options.microBatches));
    return update(inputs, means);
  };
}

function gradientsOf({ loss, parameters, frozen, batch: batchNames }: TrainStepOptions) {
  return (inputs: NamedTensors): { loss: Tensor; terms: Record<string, Tensor>; gradients: Tensor[] } => {
    const batch = Object.fromEntries(batchNames.map((name) => [name, inputs[batchName(name)]!]));
    const fixed = Object.fromEntries(frozen.map((name) => [name, inputs[name]!]));
    const terms: Record<string, Tensor> = {};
    const lossOf = (...tensors: Tensor[]): Scalar => {
      const trained = Object.fromEntries(parameters.map((name, i) => [name, tensors[i]!]));
      const result = loss({ ...fixed, ...trained }, batch);
      if (result instanceof tf.Tensor) return result;
      // Kept beyond the scope of the gradient, whose tensors are freed.
      for (const [name, term] of Object.entries(result.terms)) terms[termName(name)] = tf.keep(tf.clone(term));
      return result.loss;
    };
    const { value, grads } = tf.valueAndGrads(lossOf)(parameters.map((name) => inputs[name]!));
    return { loss: value, terms, gradients: grads };
  };
}

function updateOf({ optimizer, clipNorm, parameters, masks, rateScale }: TrainStepOptions) {
  const scalarNames = Object.keys(optimizer.scalars(0, 1));
  return (inputs: NamedTensors, gradients: readonly Tensor[]): Record<string, Tensor> => {
    // What a mask holds at zero does not count.
    const moving = parameters.map((name, i) =>
      masks.has(name) ? tf.mul(gradients[i]!, inputs[maskName(name)]!) : gradients[i]!,
    );
    const gradientNorm = globalNorm(moving);
    const gradientScale = clipNorm === null ? undefined : clipFactor(gradientNorm, clipNorm);
    const outputs: Record<string, Tensor> = { gradientNorm };
    parameters.forEach((name, i) => {
      const scale = rateScale(name);
      const scalars = Object.fromEntries(scalarNames.map((key) => [key, inputs[scalarName(key, scale)] as Scalar]));
      const slots = Object.fromEntries(optimizer.slots.map((slot) => [slot, inputs[slotName(name, slot)]!]));
      const parameter = { name, value: inputs[name]!, gradient: moving[i]!, slots };
      const updated = optimizer.update(gradientScale ? { ...parameter, gradientScale } : parameter, scalars);
      outputs[nextName(name)] = masks.has(name) ? held(updated.value, inputs[maskName(name)]!) : updated.value;
      for (const slot of optimizer.slots) outputs[nextName(slotName(name, slot))] = updated.slots[slot]!;
    });
    return outputs;
  };
}

/** Zero where the mask is: not minus zero, as a product would give. */
function held(value: Tensor, mask: Tensor): Tensor {
  return tf.where(tf.greater(mask, 0), value, tf.zerosLike(value));
}
