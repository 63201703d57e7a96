// The roots of 1/rho + sum z_i^2 / (d_i - x) = 0: the eigenvalues of diag(d) + rho z z^T, one between each two poles.
// R.-C. Li, Solving Secular Equations Stably and Efficiently (LAPACK Working Note 89): the middle way, that is, a rational
// interpolant with the two neighbouring poles; bisection wherever a step would leave the bracket.
import { PithError } from '../errors/pith-error.ts';

/** Steps tried for one root; six are usual, and bisection alone needs no more than this. */
const MAX_STEPS = 120;

/** Machine epsilon of f64. */
const EPSILON = 2 ** -52;

/**
 * Finds root `j` (counted from the smallest).
 *
 * `poles` ascend strictly; `weights` are the z_i squared, positive; `rho` is positive. Receives in `distances`
 * (as long as `poles`) the differences `poles[i] - root`, each to full relative precision: they cannot be had from the
 * returned root by subtraction.
 *
 * @throws PithError `NOT_CONVERGED` (details: index, iterations).
 */
export function secularRoot(
  poles: Float64Array,
  weights: Float64Array,
  rho: number,
  j: number,
  distances: Float64Array,
): number {
  const count = poles.length;
  if (count === 1) {
    distances[0] = -rho * weights[0];
    return poles[0] + rho * weights[0];
  }
  const last = j === count - 1;
  // Left and right neighbouring poles of the interpolant; the largest root lies right of both.
  const left = last ? count - 2 : j;
  const right = last ? count - 1 : j + 1;
  const bracket = startingBracket(poles, weights, rho, j);
  const { origin } = bracket;
  let { low, high, guess: x } = bracket;
  const base = poles[origin];
  for (let i = 0; i < count; i++) distances[i] = poles[i] - base;

  const inverse = 1 / rho;
  for (let step = 0; step < MAX_STEPS; step++) {
    // psi: poles up to the left one; phi: the others. error: what rounding may have done to the sum.
    let psi = 0;
    let psiSlope = 0;
    let error = 0;
    for (let i = 0; i <= left; i++) {
      const quotient = 1 / (distances[i] - x);
      const term = weights[i] * quotient;
      psi += term;
      psiSlope += term * quotient;
      error += Math.abs(psi);
    }
    let phi = 0;
    let phiSlope = 0;
    for (let i = count - 1; i >= right; i--) {
      const quotient = 1 / (distances[i] - x);
      const term = weights[i] * quotient;
      phi += term;
      phiSlope += term * quotient;
      error += Math.abs(phi);
    }
    const value = inverse + psi + phi;
    const slope = psiSlope + phiSlope;
    error += 8 * (Math.abs(psi) + Math.abs(phi)) + inverse + Math.abs(x) * slope;
    if (Math.abs(value) <= EPSILON * error) return finish(distances, base, x);
    if (value < 0) low = x;
    else high = x;

    let next = x + middleWay(distances[left] - x, distances[right] - x, value, psiSlope, phiSlope, last);
    if (!(next > low && next < high)) next = bisect(low, high);
    // Nothing lies between: as exact as f64 can say.
    if (next === x || next <= low || next >= high) return finish(distances, base, x);
    x = next;
  }
  throw new PithError(
    'NOT_CONVERGED',
    `symmetric eigendecomposition: root ${j} of ${count} must settle within ${MAX_STEPS} steps, and did not; ` +
      'report this with the matrix',
    { kind: 'internal', details: { index: j, iterations: MAX_STEPS } },
  );
}

function finish(distances: Float64Array, base: number, x: number): number {
  for (let i = 0; i < distances.length; i++) distances[i] -= x;
  return base + x;
}

// Beside the pole, halving would take a thousand steps to a root that is orders of magnitude nearer to it.
function bisect(low: number, high: number): number {
  if (low === 0) return high * 2 ** -10;
  if (high === 0) return low * 2 ** -10;
  return low + (high - low) / 2;
}

/** The step to the root of the rational function that matches the value and both slopes. */
function middleWay(
  toLeft: number,
  toRight: number,
  value: number,
  psiSlope: number,
  phiSlope: number,
  last: boolean,
): number {
  const newton = -value / (psiSlope + phiSlope);
  const c = value - toLeft * psiSlope - toRight * phiSlope;
  const a = (toLeft + toRight) * value - toLeft * toRight * (psiSlope + phiSlope);
  const b = toLeft * toRight * value;
  const root = Math.sqrt(Math.abs(a * a - 4 * b * c));
  // Of the two roots, the one between the poles; for the largest eigenvalue, the one right of both.
  const sign = last ? -1 : 1;
  const step = sign * a <= 0 ? (a - sign * root) / (2 * c) : (2 * b) / (a + sign * root);
  // The function increases: a step the other way is not one.
  return step * value < 0 ? step : newton;
}

interface Bracket {
  /** Index of the pole that x is counted from: the nearer one. */
  readonly origin: number;
  readonly low: number;
  readonly high: number;
  readonly guess: number;
}

function startingBracket(poles: Float64Array, weights: Float64Array, rho: number, j: number): Bracket {
  const count = poles.length;
  if (j === count - 1) {
    let total = 0;
    for (let i = 0; i < count; i++) total += weights[i];
    const high = rho * total;
    // The root may be the end itself, to rounding.
    return { origin: j, low: 0, high: high * (1 + 4 * EPSILON * count), guess: high / 2 };
  }
  const gap = poles[j + 1] - poles[j];
  const half = gap / 2;
  // The function in the middle, without the two neighbouring poles.
  let rest = 1 / rho;
  for (let i = 0; i < count; i++) {
    if (i !== j && i !== j + 1) rest += weights[i] / (poles[i] - poles[j] - half);
  }
  const a = weights[j];
  const b = weights[j + 1];
  const middle = rest + (b - a) / half;
  if (middle >= 0) {
    const p = rest * gap + a + b;
    const root = Math.sqrt(Math.abs(p * p - 4 * a * gap * rest));
    const x = p > 0 ? (2 * a * gap) / (p + root) : (p - root) / (2 * rest);
    return { origin: j, low: 0, high: half, guess: x > 0 && x < half ? x : half / 2 };
  }
  const p = -rest * gap + a + b;
  const root = Math.sqrt(Math.abs(p * p + 4 * b * gap * rest));
  const x = p > 0 ? (-2 * b * gap) / (p + root) : (p - root) / (2 * rest);
  return { origin: j + 1, low: -half, high: 0, guess: x < 0 && x > -half ? x : -half / 2 };
}
