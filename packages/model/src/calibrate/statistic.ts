// What techniques may ask to know about the inputs of linear layers. Statistics are reduced inside the compiled block
// program (XᵀX leaves the graph, X does not) in f32 over one batch, and summed over batches in f64 on the host.
import { PithError } from '@pith/tensor-core';
import { addGram, mirrorUpper } from './gram-panels.ts';

/**
 * A statistic of the input X [tokens, in features] of a linear layer:
 * `absmax` max |x| per column; `range` min and max per column; `mean` per column; `meanabs` mean of |x| per column; `norms` sums of
 * squares per column; `gram` XᵀX. Of the linear at the end of an expert also `contribution`: the sum of squares of what it adds to
 * the hidden states, its output times the share that the router gives it.
 */
export type InputStatistic = 'absmax' | 'range' | 'mean' | 'meanabs' | 'norms' | 'gram' | 'contribution';

/** The statistics of one input, as far as they were asked for. All vectors are [in features]. */
export interface InputStatistics {
  /** Tokens (rows of X) seen; for an expert those that went through it. */
  readonly tokens: number;
  /** Columns of X. */
  readonly inFeatures: number;
  /** Largest magnitude of each column, f32. */
  readonly absmax?: Float32Array;
  /** Smallest value of each column, f32. */
  readonly min?: Float32Array;
  /** Largest value of each column, f32. */
  readonly max?: Float32Array;
  /** Mean of each column over tokens, f64. */
  readonly mean?: Float64Array;
  /** Mean magnitude of each column over tokens, f64. */
  readonly meanabs?: Float64Array;
  /** Sums of squares over tokens; their square roots are the column norms. */
  readonly squares?: Float64Array;
  /** XᵀX summed over tokens, [in features, in features] row-major, exactly symmetric. */
  readonly gram?: Float64Array;
  /** Sum over tokens of squares of the output of an expert times its share. */
  readonly contribution?: number;
}

/** Graph outputs that each statistic needs: name and shape from the number of columns. */
const PIECES = {
  absmax: ['absmax'],
  range: ['min', 'max'],
  mean: ['sum'],
  meanabs: ['sumabs'],
  norms: ['squares'],
  gram: ['gram'],
  contribution: ['contribution'],
} as const;

/**
 * A reduction that leaves the graph; `cosine`, `keys` and `values` are those of a block, see `reduceBlock`; `routed` counts the
 * tokens of an expert.
 */
export type StatisticPiece = (typeof PIECES)[InputStatistic][number] | 'cosine' | 'keys' | 'values' | 'routed';

/** The reductions behind some statistics, each once. */
export function piecesOf(statistics: Iterable<InputStatistic>): StatisticPiece[] {
  return [...new Set([...statistics].flatMap((statistic) => PIECES[statistic]))];
}

/** Sums the reductions of one input over batches. */
export class InputAccumulator {
  readonly #inFeatures: number;
  readonly #sums = new Map<StatisticPiece, Float32Array | Float64Array>();
  #tokens = 0;

  constructor(inFeatures: number, pieces: readonly StatisticPiece[]) {
    this.#inFeatures = inFeatures;
    for (const piece of pieces) {
      if (piece === 'gram') this.#sums.set(piece, new Float64Array(inFeatures * inFeatures));
      else if (piece === 'routed' || piece === 'contribution') this.#sums.set(piece, new Float64Array(1));
      else if (piece === 'sum' || piece === 'sumabs' || piece === 'squares')
        this.#sums.set(piece, new Float64Array(inFeatures));
      else if (piece === 'absmax') this.#sums.set(piece, new Float32Array(inFeatures));
      else this.#sums.set(piece, new Float32Array(inFeatures).fill(piece === 'min' ? Infinity : -Infinity));
    }
  }

  /** The reductions that are summed here. */
  get pieces(): readonly StatisticPiece[] {
    return [...this.#sums.keys()];
  }

  /**
   * Adds what one batch of `tokens` rows gave.
   *
   * @param reduced One array per reduction; the panels of `gram`.
   * @throws PithError `ACTIVATIONS_NOT_FINITE` when a reduction is NaN or infinite; `label` names the input. A Gram matrix is
   * looked at in the end, by `result`.
   */
  add(tokens: number, reduced: ReadonlyMap<StatisticPiece, readonly Float32Array[]>, label: string): void {
    for (const [piece, total] of this.#sums) {
      const parts = reduced.get(piece)!;
      if (piece === 'gram') addGram(total as Float64Array, this.#inFeatures, parts);
      else if (!fold(piece, total, parts[0])) throw notFinite(label, piece);
    }
    const routed = reduced.get('routed');
    // A sum of ones in f32: exact below 2^24.
    this.#tokens += routed ? routed[0][0] : tokens;
  }

  /**
   * What was seen so far. The arrays are handed over, not copied.
   *
   * @throws PithError `ACTIVATIONS_NOT_FINITE`.
   */
  result(label: string): InputStatistics {
    const gram = this.#sums.get('gram');
    if (gram && !mirrorUpper(gram as Float64Array, this.#inFeatures)) throw notFinite(label, 'gram');
    const of = (piece: StatisticPiece) => this.#sums.get(piece);
    const mean = (piece: StatisticPiece) => {
      const sum = of(piece);
      // An expert that no token went through has seen nothing: zeros, not 0 / 0.
      return sum && Float64Array.from(sum, (value) => value / Math.max(1, this.#tokens));
    };
    const vectors = {
      absmax: of('absmax') as Float32Array | undefined,
      min: of('min') as Float32Array | undefined,
      max: of('max') as Float32Array | undefined,
      mean: mean('sum'),
      meanabs: mean('sumabs'),
      squares: of('squares') as Float64Array | undefined,
      gram: gram as Float64Array | undefined,
    };
    const contribution = of('contribution')?.[0];
    const known = Object.fromEntries(Object.entries(vectors).filter(([, value]) => value !== undefined));
    return {
      tokens: this.#tokens,
      inFeatures: this.#inFeatures,
      ...known,
      ...(contribution !== undefined && { contribution }),
    };
  }
}

/** Adds a vector to a sum, a smallest or a largest value so far; false where a value is NaN or infinite. */
function fold(piece: StatisticPiece, total: Float32Array | Float64Array, part: Float32Array): boolean {
  let finite = true;
  for (let i = 0; i < total.length; i++) {
    const value = part[i];
    if (piece === 'min') total[i] = Math.min(total[i], value);
    else if (piece === 'max' || piece === 'absmax') total[i] = Math.max(total[i], value);
    else total[i] += value;
    finite &&= Number.isFinite(value);
  }
  return finite;
}

function notFinite(label: string, statistic: StatisticPiece): PithError {
  return new PithError(
    'ACTIVATIONS_NOT_FINITE',
    `calibration: the inputs of ${label} must be finite, got NaN or infinity; evaluate the model first, its weights overflow`,
    { details: { input: label, statistic } },
  );
}
