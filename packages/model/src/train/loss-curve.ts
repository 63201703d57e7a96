// The losses of a run as a report shows them: few enough to draw, and one number for the end.
import type { StepRecord } from './trainer.ts';

/** Most steps of a curve that is handed back, about. */
const CURVE_POINTS = 256;

/** Thins a curve and takes its mean at the end; the same however often the run was stopped, if it is given the steps before. */
export class LossCurve {
  /** Some of the steps from the first one on, the last one always among them. */
  readonly records: StepRecord[] = [];
  readonly #steps: number;
  #sum = 0;
  #count = 0;

  /** @param steps Of the whole run. */
  constructor(steps: number) {
    this.#steps = steps;
  }

  /** Adds the next step. */
  add(record: StepRecord): void {
    const { step } = record;
    if (step % Math.ceil(this.#steps / CURVE_POINTS) === 0 || step === this.#steps - 1) this.records.push(record);
    if (step < this.#steps - Math.ceil(this.#steps / 10)) return;
    this.#sum += record.loss;
    this.#count += 1;
  }

  /** Mean loss of the last tenth of the steps; NaN before. */
  get finalLoss(): number {
    return this.#sum / this.#count;
  }
}
