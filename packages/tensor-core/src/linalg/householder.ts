// Householder reflections H = I - tau v v^T with v[0] = 1, and several of them as one block I - V T V^T.

/** Values below are taken for zero: nearer to the end of the range a norm has too few digits to make a reflection of. */
const NEGLIGIBLE = 2 ** -900;

/** What a reflection does to the vector that it was made from. */
export interface Reflection {
  /** The value that stays in the first place; the others become zero. */
  readonly beta: number;
  /** 0 when the vector was already a multiple of the first unit vector. */
  readonly tau: number;
}

/**
 * The reflection that maps `x` to beta times the first unit vector; `x` is overwritten with v, whose first value is 1.
 * beta has the sign opposite to x[0], so that nothing cancels. Vectors should be
 * scaled to about 1: values below 2^-900 count as zero.
 */
export function reflector(x: Float64Array): Reflection {
  let largest = 0;
  for (let i = 1; i < x.length; i++) largest = Math.max(largest, Math.abs(x[i]));
  const alpha = x[0];
  x[0] = 1;
  if (largest < NEGLIGIBLE) {
    x.fill(0, 1);
    return { beta: alpha, tau: 0 };
  }
  largest = Math.max(largest, Math.abs(alpha));
  let sum = (alpha / largest) ** 2;
  for (let i = 1; i < x.length; i++) {
    const scaled = x[i] / largest;
    sum += scaled * scaled;
  }
  const norm = largest * Math.sqrt(sum);
  const beta = alpha >= 0 ? -norm : norm;
  const divisor = alpha - beta;
  for (let i = 1; i < x.length; i++) x[i] /= divisor;
  return { beta, tau: (beta - alpha) / beta };
}

/**
 * T (count x count, upper triangular) such that the product of the reflections, first to last, is I - V T V^T (Schreiber &
 * Van Loan 1989). `gram` is V^T V (count x count); missing `taus` count as 0.
 */
export function blockFactor(gram: Float64Array, taus: Float64Array, count: number): Float64Array {
  const t = new Float64Array(count * count);
  for (let j = 0; j < taus.length; j++) {
    const tau = taus[j];
    t[j * count + j] = tau;
    for (let i = 0; i < j; i++) {
      let sum = 0;
      for (let k = i; k < j; k++) sum += t[i * count + k] * gram[k * count + j];
      t[i * count + j] = -tau * sum;
    }
  }
  return t;
}
