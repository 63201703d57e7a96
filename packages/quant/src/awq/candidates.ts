// The scales that the search tries (Lin et al. 2023, section 3.2): s = meanabs(x)^a, with duo scaling divided by
// meanabs(w)^(1 - a), for a on a grid from 0 to below 1, normalised so that the geometric middle of the extremes is 1.
// Weight means are of weights divided by the largest magnitude of their group, as the authors' code and llm-compressor do.

/** One set of scales to try. */
export interface ScaleCandidate {
  /** `identity` tries no scaling, so that a search never ends worse than rounding to nearest. */
  readonly kind: 'identity' | 'activation' | 'duo';
  /** Exponent of the activations. */
  readonly ratio: number;
  /** f64 [scales], positive. */
  readonly scales: Float64Array;
}

/** Which scales are tried. */
export interface CandidateOptions {
  /** Points of the grid: ratios i / points for i = 0 .. points - 1. */
  readonly gridPoints: number;
  /** Divide by the weights' magnitudes too: always, never, or try both. */
  readonly duoScaling: boolean | 'both';
}

/** Below this a magnitude counts as this: a dead feature must not decide the normalisation. */
const SMALLEST = 1e-4;

/**
 * The candidates, identity first.
 *
 * @param activations Mean |x| per scale, f64.
 * @param weights Mean normalised |w| per scale, f64, see {@link WeightMeans}.
 */
export function scaleCandidates(
  activations: Float64Array,
  weights: Float64Array,
  { gridPoints, duoScaling }: CandidateOptions,
): ScaleCandidate[] {
  const count = activations.length;
  const candidates: ScaleCandidate[] = [{ kind: 'identity', ratio: 0, scales: new Float64Array(count).fill(1) }];
  const kinds =
    duoScaling === 'both' ? (['duo', 'activation'] as const) : ([duoScaling ? 'duo' : 'activation'] as const);
  for (const kind of kinds) {
    for (let point = kind === 'activation' ? 1 : 0; point < gridPoints; point++) {
      const ratio = point / gridPoints;
      const scales = Float64Array.from(activations, (activation, i) => {
        const divisor = kind === 'duo' ? weights[i]! ** (1 - ratio) + SMALLEST : 1;
        return Math.max(activation ** ratio / divisor, SMALLEST);
      });
      candidates.push({ kind, ratio, scales: normalise(scales) });
    }
  }
  return candidates;
}

function normalise(scales: Float64Array): Float64Array {
  let lowest = Infinity;
  let highest = 0;
  for (const scale of scales) {
    lowest = Math.min(lowest, scale);
    highest = Math.max(highest, scale);
  }
  const middle = Math.sqrt(lowest * highest);
  return scales.map((scale) => scale / middle);
}

/** Means over rows of |w| divided by the largest magnitude of its group, per column; over several weights. */
export class WeightMeans {
  readonly #sums: Float64Array;
  #rows = 0;

  constructor(columns: number) {
    this.#sums = new Float64Array(columns);
  }

  /** Adds f32 [rows, columns] with groups of `size` columns. */
  add(values: Float32Array, size: number): void {
    const columns = this.#sums.length;
    for (let start = 0; start < values.length; start += size) {
      let largest = 0;
      for (let i = start; i < start + size; i++) largest = Math.max(largest, Math.abs(values[i]!));
      const factor = 1 / (largest + 1e-6);
      const column = start % columns;
      for (let i = 0; i < size; i++) this.#sums[column + i]! += Math.abs(values[start + i]!) * factor;
    }
    this.#rows += values.length / columns;
  }

  /** f64 [columns]. */
  result(): Float64Array {
    return this.#sums.map((sum) => sum / Math.max(1, this.#rows));
  }
}
