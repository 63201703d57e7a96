// What techniques may ask to know about the gradient of the loss with respect to a weight.
import type { LinearSpec } from '../architecture/architecture.ts';

/**
 * A statistic of the gradients G_i of the losses of single windows with respect to a weight W [out, in], L_i being the
 * mean negative log-likelihood of the window's predicted tokens: `mean` the mean of G_i over windows, which is the
 * gradient of the loss on all of them; `squares` the mean of G_i squared, element by element (the diagonal of the
 * empirical Fisher information).
 */
export type GradientStatistic = 'mean' | 'squares';

/** Gradients with respect to one weight, as far as they were asked for: f32 [out, in] row-major, of the dense value. */
export interface WeightGradient {
  /** Windows seen. */
  readonly windows: number;
  /** Mean of the windows' gradients. */
  readonly mean?: Float32Array;
  /** Mean of the windows' squared gradients. */
  readonly squares?: Float32Array;
}

/** Says which gradients of which linears are wanted; empty for none. */
export type GradientNeeds = (linear: LinearSpec) => readonly GradientStatistic[];
