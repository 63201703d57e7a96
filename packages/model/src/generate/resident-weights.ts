// Restored weights that are kept between steps as far as memory allows; the others are restored again for each step, all
// into the same buffers.
import type { RestoreBuffers } from '../run/restore.ts';

/** How weights are restored, and how large they are then. */
export interface WeightLoader<K, T> {
  /** Bytes of the restored weights of a key. */
  bytesOf(key: K): number;
  /** Restores them; into the buffers, where given. */
  load(key: K, buffers?: RestoreBuffers): Promise<T>;
}

/** Keeps what fits into a budget, first come, first kept. */
export class ResidentWeights<K, T> {
  readonly #loader: WeightLoader<K, T>;
  readonly #kept = new Map<K, T>();
  readonly #buffers: RestoreBuffers = new Map();
  #room: number;

  constructor(budgetBytes: number, loader: WeightLoader<K, T>) {
    this.#room = budgetBytes;
    this.#loader = loader;
  }

  /** The weights of a key. Those that were not kept are overwritten by the next call. */
  async get(key: K): Promise<T> {
    const kept = this.#kept.get(key);
    if (kept !== undefined) return kept;
    const bytes = this.#loader.bytesOf(key);
    if (bytes > this.#room) return this.#loader.load(key, this.#buffers);
    this.#room -= bytes;
    const value = await this.#loader.load(key);
    this.#kept.set(key, value);
    return value;
  }
}
