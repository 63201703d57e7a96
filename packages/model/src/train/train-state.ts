// What a run of training is at one moment: everything that the next step depends on.
import type { HostTensor } from '@pith/tensor-core';
import { slotName } from './train-step.ts';

/** The state after a number of steps. */
export interface TrainState {
  /** Steps done. */
  readonly step: number;
  /** Parameters by checkpoint name, and the optimizer's slots as `name#slot`; f32. */
  readonly tensors: Readonly<Record<string, HostTensor<'f32'>>>;
  /** Losses of the last steps, oldest first: what the rule for divergence compares with. */
  readonly recentLosses?: readonly number[];
}

/** The state before the first step: copies of the parameters, slots of zeros. */
export function initialState(
  parameters: Readonly<Record<string, HostTensor<'f32'>>>,
  slots: readonly string[],
): TrainState {
  const tensors: Record<string, HostTensor<'f32'>> = {};
  for (const [name, { shape, data }] of Object.entries(parameters)) {
    tensors[name] = { dtype: 'f32', shape, data: data.slice() };
    for (const slot of slots) {
      tensors[slotName(name, slot)] = { dtype: 'f32', shape, data: new Float32Array(data.length) };
    }
  }
  return { step: 0, tensors };
}

/** A state with arrays of its own. */
export function copyState({ step, tensors, recentLosses }: TrainState): TrainState {
  const copies = Object.entries(tensors).map(
    ([name, { shape, data }]) => [name, { dtype: 'f32', shape, data: data.slice() }] as const,
  );
  return { step, tensors: Object.fromEntries(copies), ...(recentLosses && { recentLosses: [...recentLosses] }) };
}
