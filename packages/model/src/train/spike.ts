// When has training gone wrong although every number is finite? When the loss stays far above what it was.
import { PithError } from '@pith/tensor-core';

/** Training stops when the loss is above `factor` times the median of the last losses for `steps` steps in a row. */
export interface SpikeRule {
  /** Above 1; 4 when left out. */
  readonly factor?: number;
  /** Steps in a row; 16 when left out. */
  readonly steps?: number;
  /** Losses that the median is taken of; the rule sleeps until half as many are known. 64 when left out. */
  readonly window?: number;
}

/** Follows the losses of a run. */
export class SpikeWatch {
  readonly rule: Required<SpikeRule>;
  #losses: number[];
  #steps = 0;

  /** @throws PithError `TRAINER_OPTIONS`. */
  constructor({ factor = 4, steps = 16, window = 64 }: SpikeRule, losses: readonly number[] = []) {
    const faults: string[] = [];
    if (!(factor > 1)) faults.push(`factor must be above 1, got ${factor}`);
    if (!Number.isSafeInteger(steps) || steps < 1) faults.push(`steps must be a whole number from 1, got ${steps}`);
    if (!Number.isSafeInteger(window) || window < 2) faults.push(`window must be a whole number from 2, got ${window}`);
    if (faults.length > 0) {
      throw new PithError('TRAINER_OPTIONS', `rule for divergence: ${faults.join('; ')}`, { details: { faults } });
    }
    this.rule = { factor, steps, window };
    this.#losses = losses.slice(-window);
  }

  /** The losses that the median is taken of. */
  get losses(): readonly number[] {
    return this.#losses;
  }

  /** Steps that the present spike has lasted; 0 outside one. */
  get steps(): number {
    return this.#steps;
  }

  /** The median of the last losses; null until half a window is known. */
  get median(): number | null {
    if (this.#losses.length < this.rule.window / 2) return null;
    const sorted = [...this.#losses].sort((a, b) => a - b);
    const middle = Math.floor(sorted.length / 2);
    return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  }

  /** True where a loss lies in a spike: the median is kept as it was until the spike is over. */
  add(loss: number): boolean {
    const { median } = this;
    if (median !== null && loss > this.rule.factor * median) {
      this.#steps += 1;
      return true;
    }
    this.#steps = 0;
    this.#losses = [...this.#losses, loss].slice(-this.rule.window);
    return false;
  }

  /** Forgets what was: the loss is another one from here on. */
  reset(losses: readonly number[] = []): void {
    this.#losses = losses.slice(-this.rule.window);
    this.#steps = 0;
  }
}
