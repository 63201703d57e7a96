// What the trainer asks of an optimizer: which arrays it keeps for each parameter, and how one step changes them.
import type { Scalar, Tensor } from '@tensorflow/tfjs-core';

/** One parameter in the step program. */
export interface OptimizedParameter {
  /** Checkpoint name. */
  readonly name: string;
  /** f32, any shape. */
  readonly value: Tensor;
  /** f32, the same shape: the gradient of the loss, to be multiplied by `gradientScale`. */
  readonly gradient: Tensor;
  /** f32 scalar: what clipping multiplies every gradient by; 1 when left out. A pass over the array less than before it. */
  readonly gradientScale?: Scalar;
  /** The optimizer's arrays for this parameter by slot name: f32, the same shape. */
  readonly slots: Readonly<Record<string, Tensor>>;
}

/** A parameter and its slots after one step. */
export interface OptimizedResult {
  /** f32, the parameter's shape. */
  readonly value: Tensor;
  /** By slot name: f32, the parameter's shape. */
  readonly slots: Readonly<Record<string, Tensor>>;
}

/** A rule that turns gradients into steps. Plain tfjs functions: eager, or traced by `compile`. */
export interface Optimizer {
  /** Names it in messages and saved states. */
  readonly name: string;
  /** Arrays kept for each parameter, zeros at first. */
  readonly slots: readonly string[];
  /** Numbers of step `step` (counted from 0), computed on the host in f64 and passed to the program as f32. */
  scalars(step: number, learningRate: number): Readonly<Record<string, number>>;
  /** The step of one parameter. `scalars` has the names that `scalars` returns. */
  update(parameter: OptimizedParameter, scalars: Readonly<Record<string, Scalar>>): OptimizedResult;
}
