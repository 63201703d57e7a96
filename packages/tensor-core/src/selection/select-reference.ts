// The specification of the selection kernels (assembly/select.ts): which weights go when those of least |w| * factor go.
// Slow and plain; tests hold the kernels to it.

/** Which scores are compared with one another. */
export interface SelectionRule {
  /** How many go of each run. */
  readonly pruned: number;
  /** Scores of a run, in a row: the columns for a whole row, m for n:m, all scores where everything is compared. */
  readonly span: number;
}

/** |w| * factor in f32; `factors` are [columns] for all rows or one for each weight. */
export function scoreReference(weights: Float32Array, factors: Float32Array | undefined): Float32Array {
  if (factors === undefined) return weights.map(Math.abs);
  const columns = factors.length;
  return weights.map((w, i) => Math.abs(Math.fround(w * factors[i % columns]!)));
}

/**
 * The mask of scores that are not negative and finite: 0 for what goes, 1 for what stays. Of equal scores the one that
 * comes first goes first, so that exactly `pruned` of each run go.
 */
export function maskReference(scores: Float32Array, { pruned, span }: SelectionRule): Uint8Array {
  const mask = new Uint8Array(scores.length).fill(1);
  for (let from = 0; from < scores.length; from += span) {
    const run = Array.from({ length: span }, (_, i) => from + i);
    // Sorting is stable: equal scores stay in order.
    run.sort((a, b) => scores[a]! - scores[b]!);
    for (const i of run.slice(0, pruned)) mask[i] = 0;
  }
  return mask;
}
