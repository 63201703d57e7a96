// Which part of the values' range the codes cover. Everything outside is clipped, everything inside rounded finer.

/** All values are covered: the smallest and the largest value; the default. For symmetric schemes the same as absmax. */
export interface MinMaxRange {
  /** Tells the union apart. */
  readonly kind: 'minmax';
}

/** `[-a, a]` with a = the largest magnitude. For asymmetric schemes this wastes one side of a skewed range. */
export interface AbsMaxRange {
  /** Tells the union apart. */
  readonly kind: 'absmax';
}

/**
 * Clips to a percentile by nearest rank (no interpolation). Symmetric: the `percent`-th percentile of the magnitudes.
 * Asymmetric: the `percent`-th and the `100 - percent`-th of the values.
 */
export interface PercentileRange {
  /** Tells the union apart. */
  readonly kind: 'percentile';
  /** Above 50, at most 100. */
  readonly percent: number;
}

/** Clips to `multiple` times the root mean square of the values that share a scale; never beyond min and max. */
export interface RmsRange {
  /** Tells the union apart. */
  readonly kind: 'rms';
  /** Above 0. */
  readonly multiple: number;
}

/**
 * Tries shrink factors `1 - i * (1 - smallest) / candidates`, i = 0 .. candidates - 1, on the min/max range and keeps
 * the one with the least summed squared error of the restored values; the widest of equals.
 */
export interface MseRange {
  /** Tells the union apart. */
  readonly kind: 'mse';
  /** Shrink factors that are tried, 1 included. 1 to 1000. */
  readonly candidates: number;
  /** Lower end of the grid (not itself tried). 0 to below 1. */
  readonly smallest: number;
}

/** As {@link MseRange} with the sum of |error|^norm. */
export interface LpRange {
  /** Tells the union apart. */
  readonly kind: 'lp';
  /** Exponent, above 0, at most 8. Below 2 large errors weigh less, above 2 more. */
  readonly norm: number;
  /** Shrink factors that are tried, 1 included. 1 to 1000. */
  readonly candidates: number;
  /** Lower end of the grid (not itself tried). 0 to below 1. */
  readonly smallest: number;
}

/** How the range of the values that share a scale is chosen. */
export type RangeRule = MinMaxRange | AbsMaxRange | PercentileRange | RmsRange | MseRange | LpRange;
