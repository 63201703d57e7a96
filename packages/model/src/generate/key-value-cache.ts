// Keys and values of the tokens so far, one pair of arrays per block. The length is fixed from the start, because a
// compiled program has fixed shapes: one program then serves every step, and slots not yet filled are masked.
import type { HostTensor } from '@pith/tensor-core';
import type { ModelConfig } from '../config/model-config.ts';

/** Bytes of a cache for so many tokens. */
export function cacheBytes({ layers, keyValueHeads, headDim, valueDim }: ModelConfig, capacity: number): number {
  return 4 * layers * keyValueHeads * (headDim + valueDim) * capacity;
}

/** Keys f32 [1, keyValueHeads, capacity, headDim] and values [.., valueDim] of each block. */
export class KeyValueCache {
  /** Tokens that fit. */
  readonly capacity: number;
  readonly #layers: readonly { keys: HostTensor<'f32'>; values: HostTensor<'f32'> }[];
  #used = 0;

  constructor({ layers, keyValueHeads, headDim, valueDim }: ModelConfig, capacity: number) {
    this.capacity = capacity;
    const slots = (length: number): HostTensor<'f32'> => ({
      dtype: 'f32',
      shape: [1, keyValueHeads, capacity, length],
      data: new Float32Array(keyValueHeads * capacity * length),
    });
    this.#layers = Array.from({ length: layers }, () => ({ keys: slots(headDim), values: slots(valueDim) }));
  }

  /** Tokens that every block has keys and values of. */
  get used(): number {
    return this.#used;
  }

  /** Keys and values of one block, filled up to `used`. */
  layer(index: number): { readonly keys: HostTensor<'f32'>; readonly values: HostTensor<'f32'> } {
    return this.#layers[index];
  }

  /**
   * Writes the keys and values of the first `count` of some new tokens behind the used slots of one block. They count
   * once {@link advance} is called.
   *
   * @param keys f32 [1, keyValueHeads, tokens, headDim].
   * @param values f32 [1, keyValueHeads, tokens, valueDim].
   */
  write(index: number, keys: HostTensor, values: HostTensor, count: number): void {
    const { keys: allKeys, values: allValues } = this.#layers[index];
    for (const [target, { data, shape }] of [
      [allKeys.data, keys],
      [allValues.data, values],
    ] as const) {
      const source = data as Float32Array;
      const [, heads, tokens, length] = shape;
      for (let head = 0; head < heads; head++) {
        const rows = source.subarray(head * tokens * length, (head * tokens + count) * length);
        target.set(rows, (head * this.capacity + this.#used) * length);
      }
    }
  }

  /** Forgets all tokens. */
  clear(): void {
    this.#used = 0;
  }

  /** Counts so many new tokens as used. */
  advance(count: number): void {
    this.#used += count;
  }
}
