// Every gradient, and how they are put in force.
import * as tf from '@tensorflow/tfjs-core';
import { ELEMENTWISE_GRADIENTS } from './elementwise.ts';
import type { Gradient, GradientTable } from './gradient.ts';
import { INDEXING_GRADIENTS } from './index-kernels.ts';
import { PRODUCT_GRADIENTS } from './matmul.ts';
import { MOVEMENT_GRADIENTS } from './move.ts';
import { REDUCTION_GRADIENTS } from './reduce.ts';

/** Gradients of all kernels that have one, by kernel name. */
export const GRADIENTS: GradientTable = {
  ...ELEMENTWISE_GRADIENTS,
  ...REDUCTION_GRADIENTS,
  ...PRODUCT_GRADIENTS,
  ...MOVEMENT_GRADIENTS,
  ...INDEXING_GRADIENTS,
};

/** Runs `body` with these gradients registered in tfjs, and puts back what was registered before. */
export function withGradients<T>(body: () => T): T {
  const before = Object.keys(GRADIENTS).map((name) => [name, tf.getGradient(name)] as const);
  try {
    for (const [name, gradient] of Object.entries(GRADIENTS)) tf.registerGradient(gradConfig(name, gradient));
    return body();
  } finally {
    for (const [name, config] of before) {
      if (config === undefined) tf.unregisterGradient(name);
      else tf.registerGradient(config);
    }
  }
}

function gradConfig(kernelName: string, { inputs = [], outputs = false, formula }: Gradient): tf.GradConfig {
  return {
    kernelName,
    ...(inputs === 'all' ? { saveAllInputs: true } : { inputsToSave: [...inputs] }),
    outputsToSave: outputs ? [true] : [],
    gradFunc: (dy, saved, attributes) => formula(dy, saved, attributes),
  };
}
