// AdamW: Adam with decoupled weight decay. Loshchilov & Hutter 2019, algorithm 2; Kingma & Ba 2015, section 2.
import { PithError } from '@pith/tensor-core';
import * as tf from '@tensorflow/tfjs-core';
import type { Optimizer } from './optimizer.ts';

/** Options of {@link adamw}. */
export interface AdamWOptions {
  /** Decay of the mean of the gradients; 0.9 when left out. */
  readonly beta1?: number;
  /** Decay of the mean of their squares; 0.999 when left out. */
  readonly beta2?: number;
  /** Added to the root of the mean square; 1e-8 when left out. */
  readonly epsilon?: number;
  /** Part of a weight that a step with learning rate 1 takes away; 0.01 when left out. */
  readonly weightDecay?: number;
  /** Which parameters decay; matrices when left out, so that norms and biases do not. */
  readonly decays?: (name: string, shape: readonly number[]) => boolean;
}

/**
 * AdamW. With g the gradient, t the step counted from 1 and a the learning rate:
 *
 *     m = beta1 m + (1 - beta1) g
 *     v = beta2 v + (1 - beta2) g^2
 *     w = w - a weightDecay w - a (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)
 *
 * The two corrections are folded into the rate and into epsilon, on the host, which is the same number with fewer passes
 * over the arrays. So are the factors 1 - beta of the new gradient: the slots hold m / (1 - beta1) and v / (1 - beta2).
 *
 * @throws PithError `ADAMW_INVALID` naming every option that is out of range.
 */
export function adamw(options: AdamWOptions = {}): Optimizer {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weightDecay = 0.01 } = options;
  const decays = options.decays ?? ((_name, shape) => shape.length >= 2);
  checkRanges({ beta1, beta2, epsilon, weightDecay });
  return {
    name: 'adamw',
    slots: ['mean', 'meanSquare'],
    scalars(step, learningRate) {
      const root = Math.sqrt((1 - beta2 ** (step + 1)) / (1 - beta2));
      return {
        rate: (learningRate * (1 - beta1) * root) / (1 - beta1 ** (step + 1)),
        epsilon: epsilon * root,
        keep: 1 - learningRate * weightDecay,
      };
    },
    update({ name, value, gradient, gradientScale, slots }, { rate, epsilon: small, keep }) {
      const clipped = gradientScale ? tf.mul(gradient, gradientScale) : gradient;
      const mean = tf.add(tf.mul(slots['mean']!, beta1), clipped);
      const meanSquare = tf.add(tf.mul(slots['meanSquare']!, beta2), tf.square(clipped));
      const kept = decays(name, value.shape) ? tf.mul(value, keep!) : value;
      const step = tf.div(tf.mul(mean, rate!), tf.add(tf.sqrt(meanSquare), small!));
      return { value: tf.sub(kept, step), slots: { mean, meanSquare } };
    },
  };
}

function checkRanges(options: { beta1: number; beta2: number; epsilon: number; weightDecay: number }): void {
  const faults: string[] = [];
  for (const key of ['beta1', 'beta2'] as const) {
    if (!(options[key] >= 0 && options[key] < 1)) faults.push(`${key} must lie in [0, 1), got ${options[key]}`);
  }
  if (!(options.epsilon > 0)) faults.push(`epsilon must be above 0, got ${options.epsilon}`);
  if (!(options.weightDecay >= 0)) faults.push(`weightDecay must be 0 or more, got ${options.weightDecay}`);
  if (faults.length > 0) throw new PithError('ADAMW_INVALID', `AdamW: ${faults.join('; ')}`, { details: { faults } });
}
