// A model whose activations, and the keys and values that it keeps, stay as they are, whatever it asks of a runtime.
import { factoredWeight, type DenseWeight, type QuantizedWeight, type WeightTensor } from '@pith/tensor-core';
import type { LanguageModel } from '../language-model.ts';
import { activationsOf } from './linear-form.ts';

/** True where runtimes quantize the inputs of some linear of the blocks. */
export function quantizesActivations({ weights }: Pick<LanguageModel, 'weights'>): boolean {
  return [...weights.values()].some((weight) => activationsOf(weight) !== undefined);
}

/**
 * The same model with quantized weights only: nothing is said of the inputs that they are multiplied with, nor of keys and
 * values that are kept.
 */
export function weightsOnly<M extends Pick<LanguageModel, 'weights' | 'keyValueCache'>>(model: M): M {
  const plain = model.keyValueCache ? { ...model, keyValueCache: null } : model;
  if (!quantizesActivations(plain)) return plain;
  return { ...plain, weights: new Map([...plain.weights].map(([name, weight]) => [name, withoutActivations(weight)])) };
}

function withoutActivations(weight: WeightTensor): WeightTensor {
  if (weight.kind === 'quantized') return plain(weight);
  if (weight.kind !== 'factored') return weight;
  return factoredWeight({ name: weight.name, left: plain(weight.left), right: plain(weight.right) });
}

function plain<W extends DenseWeight | QuantizedWeight>(weight: W): W {
  if (!('activations' in weight)) return weight;
  const { activations: _, ...rest } = weight;
  return Object.freeze(rest) as W;
}
