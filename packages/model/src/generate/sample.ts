// The choice of the next token.
import type { RandomStream } from '@pith/tensor-core';

/** How the next token is chosen. */
export interface SamplingConfig {
  /** Divides the logits; 0 takes the most likely token. */
  readonly temperature: number;
  /** Draws from the smallest set of most likely tokens whose shares add up to this (Holtzman et al. 2020); 1 for all. */
  readonly topP: number;
}

/** Index of the largest value, the first one at a tie. */
export function argMax(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

/**
 * Chooses a token.
 *
 * Shares are f64. Tokens are ordered by share, then by id, so that a draw depends on the logits and the stream alone.
 *
 * @param logits f32 [vocabulary].
 * @param random Gives one number per call; untouched at temperature 0.
 */
export function sampleToken(
  logits: Float32Array,
  { temperature, topP }: SamplingConfig,
  random: Pick<RandomStream, 'uniform'>,
): number {
  const best = argMax(logits);
  if (temperature === 0) return best;
  const shares = Float64Array.from(logits, (logit) => Math.exp((logit - logits[best]) / temperature));
  const total = shares.reduce((a, b) => a + b, 0);
  const order = Uint32Array.from(shares.keys());
  let kept = total;
  if (topP < 1) {
    order.sort((a, b) => shares[b] - shares[a] || a - b);
    kept = 0;
    let count = 0;
    while (count < order.length && kept < topP * total) kept += shares[order[count++]];
    return draw(order.subarray(0, count), shares, random.uniform() * kept);
  }
  return draw(order, shares, random.uniform() * kept);
}

function draw(order: Uint32Array, shares: Float64Array, point: number): number {
  let passed = 0;
  for (const id of order) {
    passed += shares[id];
    if (point < passed) return id;
  }
  return order[order.length - 1];
}
