// Weights under other names.
import { factoredWeight } from '@pith/tensor-core';
import type { DenseWeight, QuantizedWeight, WeightTensor } from '@pith/tensor-core';

/** The same weight under another name, and its factors under names that follow from it; nothing is read. */
export function renamedWeight(weight: WeightTensor, name: string): WeightTensor {
  if (weight.name === name) return weight;
  const slice = (start: number, end: number) => renamedWeight(weight.slice(start, end), name);
  if (weight.kind !== 'factored') return Object.freeze({ ...weight, name, slice } as WeightTensor);
  const moved = (factor: DenseWeight | QuantizedWeight) =>
    renamedWeight(factor, moduleOf(name) + factor.name.slice(moduleOf(weight.name).length)) as typeof factor;
  return factoredWeight({ name, left: moved(weight.left), right: moved(weight.right) });
}

const moduleOf = (name: string) => (name.endsWith('.weight') ? name.slice(0, -'.weight'.length) : name);
