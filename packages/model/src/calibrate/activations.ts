// What waits between two blocks of a calibration: hidden states and gradients, in memory or elsewhere.

/** f32 arrays by key. What is read was written before; what was written may be written again with the same length. */
export interface ActivationStore {
  /** An array to fill and hand to `write`; what it contains is undefined. */
  take(length: number): Float32Array;
  /** Takes an array back that was taken and not written. */
  giveBack(values: Float32Array): void;
  /**
   * The values of a key: valid, and not to be written to, until the next `read` or `write`.
   *
   * @param next Key that will be read next, if known: it is fetched meanwhile.
   */
  read(key: string, next?: string): Promise<Float32Array>;
  /** Takes over `values`. */
  write(key: string, values: Float32Array): Promise<void>;
  /** Forgets a key. */
  drop(key: string): Promise<void>;
  /** Gives memory and files back. */
  dispose(): Promise<void>;
}

/** Everything in memory. */
export function memoryActivations(): ActivationStore {
  const kept = new Map<string, Float32Array>();
  const spare = new SpareArrays();
  const drop = (key: string) => {
    const values = kept.get(key);
    if (values) spare.give(values);
    kept.delete(key);
    return Promise.resolve();
  };
  return {
    take: (length) => spare.take(length),
    giveBack: (values) => spare.give(values),
    read: (key) => Promise.resolve(kept.get(key)!),
    write: (key, values) => {
      const before = kept.get(key);
      if (before && before !== values) spare.give(before);
      kept.set(key, values);
      return Promise.resolve();
    },
    drop,
    dispose: () => {
      kept.clear();
      spare.clear();
      return Promise.resolve();
    },
  };
}

/** Most arrays of one length that are kept for use again. */
const MOST_SPARE = 2;

/** Arrays that are no longer in use, by length: large arrays are costly to make and leave memory late. */
export class SpareArrays {
  readonly #arrays = new Map<number, Float32Array[]>();

  /** An array of this length; what it contains is undefined. */
  take(length: number): Float32Array {
    return this.#arrays.get(length)?.pop() ?? new Float32Array(length);
  }

  /** Keeps an array for use again. */
  give(values: Float32Array): void {
    const known = this.#arrays.get(values.length) ?? [];
    if (known.length < MOST_SPARE) known.push(values);
    this.#arrays.set(values.length, known);
  }

  /** Forgets all arrays. */
  clear(): void {
    this.#arrays.clear();
  }
}
