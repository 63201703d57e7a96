// How large a rank is, and what decides it.

/** The largest rank whose two factors have fewer parameters than the matrix; 0 where there is none. */
export function largestUsefulRank(rows: number, columns: number): number {
  return Math.max(0, Math.ceil((rows * columns) / (rows + columns)) - 1);
}

/** The rank that leaves out this share of the parameters, rounded down: floor((1 - ratio) m n / (m + n)). */
export function rankByRatio(rows: number, columns: number, ratio: number): number {
  // (1 - 0.8) * 100 is 19.999999999999996: a rank that is whole in exact arithmetic stays whole.
  const exact = ((1 - ratio) * rows * columns) / (rows + columns);
  return Math.floor(exact * (1 + 4 * Number.EPSILON));
}

/** The fewest of these singular values (descending) whose squares add up to a share of all squares; at least 1. */
export function rankByEnergy(values: ArrayLike<number>, energy: number): number {
  const wanted = energy * tailEnergy(values, 0);
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    if (i > 0 && sum >= wanted) return i;
    sum += values[i] * values[i];
  }
  return values.length;
}

/** Sum of the squares of the singular values from `from` on, added up from the smallest. */
export function tailEnergy(values: ArrayLike<number>, from: number): number {
  let sum = 0;
  for (let i = values.length - 1; i >= from; i--) sum += values[i] * values[i];
  return sum;
}

/** Error of leaving out all singular values but the first `rank`, as a share of the whole, by Frobenius norm. */
export function relativeTail(values: ArrayLike<number>, rank: number): number {
  const whole = tailEnergy(values, 0);
  return whole === 0 ? 0 : Math.sqrt(tailEnergy(values, rank) / whole);
}

/** What {@link allocateRanks} knows of a matrix. */
export interface Spectrum {
  /** Names it. */
  readonly path: string;
  /** Rows of the matrix. */
  readonly rows: number;
  /** Columns of the matrix. */
  readonly columns: number;
  /** Singular values, descending. */
  readonly values: ArrayLike<number>;
  /** What a unit of squared error costs. */
  readonly weight: number;
}

/**
 * Ranks of several matrices together: singular triplets are taken in the order of what each saves (its square times the
 * weight) per parameter, until the parameters are spent. That is the optimum up to the last triplet, because the values
 * of each matrix fall. A matrix that reaches a rank at which two factors are no longer smaller stays dense.
 *
 * @param parameters How many there may be in all.
 * @returns Rank by path; null for one that stays dense. At least 1 each.
 */
export function allocateRanks(spectra: readonly Spectrum[], parameters: number): Map<string, number | null> {
  const ranks = new Map(spectra.map(({ path }): [string, number | null] => [path, 1]));
  let left = parameters - spectra.reduce((sum, { rows, columns }) => sum + rows + columns, 0);
  const steps = spectra.flatMap(({ path, rows, columns, values, weight }) =>
    Array.from({ length: Math.max(0, largestUsefulRank(rows, columns) - 1) }, (_, i) => ({
      ...{ path, rank: i + 2, cost: rows + columns },
      gain: (weight * values[i + 1] ** 2) / (rows + columns),
    })),
  );
  const whole = new Map(spectra.map((spectrum) => [spectrum.path, spectrum]));
  steps.sort((a, b) => b.gain - a.gain || (a.path < b.path ? -1 : a.path > b.path ? 1 : a.rank - b.rank));
  const closed = new Set<string>();
  for (const { path, rank, cost } of steps) {
    if (closed.has(path)) continue;
    // A matrix that cannot have this rank cannot have a higher one; others may still be cheaper.
    if (cost > left) {
      closed.add(path);
      continue;
    }
    left -= cost;
    ranks.set(path, rank);
  }
  // What is left over may make the step from the highest rank to the dense matrix.
  for (const { path, rank } of [...steps].reverse()) {
    const { rows, columns } = whole.get(path)!;
    if (ranks.get(path) !== rank || rank !== largestUsefulRank(rows, columns)) continue;
    const cost = rows * columns - rank * (rows + columns);
    if (cost > left) continue;
    left -= cost;
    ranks.set(path, null);
  }
  return ranks;
}
