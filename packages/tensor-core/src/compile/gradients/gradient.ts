// Gradients of kernels. The Node bundle of tfjs-core has tfjs's tape but not its gradient functions (they come with the
// @tensorflow/tfjs package, which brings WebGL, layers and more), so they are written here: as formulas over tfjs operations,
// which makes them traceable and differentiable again. They are in force during a trace alone.
import * as tf from '@tensorflow/tfjs-core';

/** Gradients of one kernel's inputs, by input name, computed when asked for. */
export type InputGradients = Record<string, () => tf.Tensor>;

/** How one kernel is differentiated. */
export interface Gradient {
  /** Inputs that the formula reads; `all` for kernels of a list. */
  readonly inputs?: readonly string[] | 'all';
  /** The formula reads the outputs too; they follow the inputs. */
  readonly outputs?: boolean;
  /**
   * @param dy Gradient of the output (of the outputs, for kernels with several).
   * @param saved The inputs named above, then the output.
   * @param attributes The kernel's attributes.
   */
  // tfjs types the attributes of each kernel in an interface of its own; a formula narrows this to that interface.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly formula: (dy: any, saved: tf.Tensor[], attributes: any) => InputGradients;
}

/** Gradients by the name of the tfjs kernel. */
export type GradientTable = Readonly<Record<string, Gradient>>;

/** Sums a gradient over the axes along which an operand of `shape` was broadcast. */
export function sumTo(dy: tf.Tensor, shape: readonly number[]): tf.Tensor {
  const lead = dy.shape.length - shape.length;
  const axes = dy.shape.map((_, i) => i).filter((i) => i < lead || (shape[i - lead] === 1 && dy.shape[i] !== 1));
  return tf.reshape(axes.length === 0 ? dy : tf.sum(dy, axes), [...shape]);
}

/** A gradient of zero. */
export const zeros = (shape: readonly number[]): tf.Tensor => tf.fill([...shape], 0, 'float32');

/** Elements of `dy` where `condition` holds, 0 elsewhere: unlike a product, it keeps infinities out. */
export const keepWhere = (condition: tf.Tensor, dy: tf.Tensor): tf.Tensor => tf.where(condition, dy, tf.scalar(0));
