// The arrays of a step that are neither state nor batch: numbers that the host computes, masks, sums of gradients.
import type { HostTensor } from '@pith/tensor-core';
import { maskName, scalarName, sumName } from './train-step.ts';
import type { TrainerOptions } from './trainer-types.ts';

/** A number as a tensor. */
export const scalar = (): HostTensor<'f32'> => ({ dtype: 'f32', shape: [], data: new Float32Array(1) });

/** The arrays that go into the programs beside parameters, slots and batches. */
export class StepTensors {
  readonly masks: Record<string, HostTensor<'f32'>>;
  readonly scalars: Record<string, HostTensor<'f32'>> = {};
  readonly numbers: Record<string, HostTensor<'f32'>>;
  /** Sums of gradients; none where each step has one batch. */
  readonly sums: Record<string, HostTensor<'f32'>> = {};
  readonly #rateScales: ReadonlySet<number>;

  constructor({ parameters, masks = {}, numbers, optimizer, rateScale = () => 1, microBatches = 1 }: TrainerOptions) {
    this.#rateScales = new Set(Object.keys(parameters).map(rateScale));
    for (const name of Object.keys(optimizer.scalars(0, 1))) {
      for (const scale of this.#rateScales) this.scalars[scalarName(name, scale)] = scalar();
    }
    this.numbers = Object.fromEntries(Object.keys(numbers?.(0) ?? {}).map((name) => [name, scalar()]));
    this.masks = Object.fromEntries(
      Object.entries(masks).map(([name, { shape, data }]) => [
        maskName(name),
        { dtype: 'f32', shape, data: data.slice() },
      ]),
    );
    if (microBatches > 1) {
      for (const [name, { shape, data }] of Object.entries(parameters)) {
        this.sums[sumName(name)] = { dtype: 'f32', shape, data: new Float32Array(data.length) };
      }
    }
  }

  /** Writes the numbers of a step. */
  fill(step: number, learningRate: number, { optimizer, numbers }: TrainerOptions): void {
    for (const scale of this.#rateScales) {
      for (const [name, value] of Object.entries(optimizer.scalars(step, learningRate * scale))) {
        this.scalars[scalarName(name, scale)]!.data[0] = value;
      }
    }
    for (const [name, value] of Object.entries(numbers?.(step) ?? {})) this.numbers[name]!.data[0] = value;
  }
}
