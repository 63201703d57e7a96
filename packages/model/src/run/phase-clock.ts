// Where the time of a long operation goes.

/** Seconds by phase. */
export type PhaseSeconds = Readonly<Record<string, number>>;

/** Adds up seconds by phase. Phases may overlap in no place: each await is counted once. */
export class PhaseClock {
  readonly #seconds = new Map<string, number>();
  readonly #start = performance.now();

  /** Awaits `work` and counts the wait for `phase`. */
  async time<T>(phase: string, work: Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work;
    } finally {
      this.#seconds.set(phase, (this.#seconds.get(phase) ?? 0) + (performance.now() - start) / 1000);
    }
  }

  /** Seconds by phase so far, with `other` for what was not timed. */
  phases(): PhaseSeconds {
    const timed = [...this.#seconds.values()].reduce((a, b) => a + b, 0);
    return Object.freeze({ ...Object.fromEntries(this.#seconds), other: Math.max(0, this.total() - timed) });
  }

  /** Seconds since the clock was made. */
  total(): number {
    return (performance.now() - this.#start) / 1000;
  }
}
