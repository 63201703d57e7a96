// Keys and values of the tokens so far, one pair of arrays per block. The length is fixed from the start, because a
// compiled program has fixed shapes: one program then serves every step, and slots not yet filled are masked.
import type { HostTensor } from '@pith/tensor-core';
import type { ModelConfig } from '../config/model-config.ts';

/** Bytes of a cache for so many tokens. */
export function cacheBytes({ layers, keyValueHeads, headDim }: ModelConfig, capacity: number): number {
  return 2 * 4 * layers * keyValueHeads * headDim * capacity;
}

/** Keys and values f32 [1, keyValueHeads, capacity, headDim] of each block. */
export class KeyValueCache {
  /** Tokens that fit. */
  readonly capacity: number;
  readonly #layers: readonly { keys: HostTensor<'f32'>; values: HostTensor<'f32'> }[];
  #used = 0;

  constructor({ layers, keyValueHeads, headDim }: ModelConfig, capacity: number) {
    this.capacity = capacity;
    const slots = (): HostTensor<'f32'> => ({
      dtype: 'f32',
      shape: [1, keyValueHeads, capacity, headDim],
      data: new Float32Array(keyValueHeads * capacity * headDim),
    });
    this.#layers = Array.from({ length: layers }, () => ({ keys: slots(), values: slots() }));
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
   * @param values f32 [1, keyValueHeads, tokens, headDim].
   */
  write(index: number, keys: HostTensor, values: HostTensor, count: number): void {
    const { keys: allKeys, values: allValues } = this.#layers[index];
    const [, heads, tokens, headDim] = keys.shape;
    for (const [target, source] of [
      [allKeys.data, keys.data as Float32Array],
      [allValues.data, values.data as Float32Array],
    ] as const) {
      for (let head = 0; head < heads; head++) {
        const rows = source.subarray(head * tokens * headDim, (head * tokens + count) * headDim);
        target.set(rows, (head * this.capacity + this.#used) * headDim);
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
