// From scores to what goes. Ties go to the lower index, so that a choice does not depend on anything but the scores.
import { PithError } from '@pith/tensor-core';

/**
 * The indices of `count` layers whose influence is least, ascending; with `contiguous` those of one run of neighbours whose
 * influences sum to the least.
 *
 * @param influences One for each layer.
 */
export function leastLayers(influences: readonly number[], count: number, contiguous = false): number[] {
  if (!contiguous) {
    const order = influences.map((_, index) => index).sort((a, b) => influences[a]! - influences[b]! || a - b);
    return order.slice(0, count).sort((a, b) => a - b);
  }
  const sumFrom = (start: number) => influences.slice(start, start + count).reduce((sum, value) => sum + value, 0);
  let best = 0;
  for (let start = 1; start + count <= influences.length; start++) if (sumFrom(start) < sumFrom(best)) best = start;
  return Array.from({ length: count }, (_, i) => best + i);
}

/**
 * The indices of the `kept` highest scores, ascending.
 *
 * @param what Names the units in the message.
 * @throws PithError `SCORES_NOT_FINITE`.
 */
export function highestScores(scores: Float64Array, kept: number, what: string): Uint32Array {
  const wrong = scores.findIndex((score) => !Number.isFinite(score));
  if (wrong >= 0) {
    throw new PithError(
      'SCORES_NOT_FINITE',
      `structured pruning: the scores of ${what} must be finite, got ${scores[wrong]} for unit ${wrong}; its weights or ` +
        'their inputs are NaN or infinite: evaluate the model first',
      { details: { where: what, unit: wrong, score: String(scores[wrong]) } },
    );
  }
  const order = Uint32Array.from(scores, (_, index) => index);
  order.sort((a, b) => scores[b]! - scores[a]! || a - b);
  return order.slice(0, kept).sort();
}
