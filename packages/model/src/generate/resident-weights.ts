// Restored weights that are kept between steps as far as memory allows; the others are restored again for each step.

/** A loaded value and its size. */
export interface Loaded<T> {
  readonly value: T;
  readonly bytes: number;
}

/** Keeps what fits into a budget, first come, first kept. */
export class ResidentWeights<K, T> {
  readonly #load: (key: K) => Promise<Loaded<T>>;
  readonly #kept = new Map<K, T>();
  #room: number;

  constructor(budgetBytes: number, load: (key: K) => Promise<Loaded<T>>) {
    this.#room = budgetBytes;
    this.#load = load;
  }

  /** The value of a key, from memory where it was kept. */
  async get(key: K): Promise<T> {
    const kept = this.#kept.get(key);
    if (kept !== undefined) return kept;
    const { value, bytes } = await this.#load(key);
    if (bytes <= this.#room) {
      this.#room -= bytes;
      this.#kept.set(key, value);
    }
    return value;
  }

  /** Bytes still free. */
  get room(): number {
    return this.#room;
  }
}
