// The search for input scales (Lin et al. 2023, section 3.2): of all candidates the one with which the output differs least.
//
// Deviation: the paper and its code run a module (the attention, the feed-forward part) for every candidate. Here all are
// ranked by the squared output errors of each row, exact through the Gram matrix of all calibration tokens, times what the
// row counts for in the output of its module (`row-importance.ts`); the block itself, run on its first calibration tokens,
// decides among the best of them and no scaling. Ranking alone is off where an error acts through a softmax.
import type { ScaleCandidate } from './candidates.ts';
import type { ErrorPrograms } from './error-programs.ts';

/** A weight that is rounded with the scales. */
export interface SearchedWeight {
  /** Checkpoint name. */
  readonly name: string;
  /** f32 [rows, columns]. */
  readonly values: Float32Array;
  /** What the squared error of each row counts: f64 [rows]. */
  readonly importance: Float64Array;
  /** Round as it is coded. */
  readonly programs: ErrorPrograms;
}

/** What the search takes. */
export interface ScaleSearch {
  /** No scaling first. */
  readonly candidates: readonly ScaleCandidate[];
  readonly weights: readonly SearchedWeight[];
  /** f32 [columns, columns]. */
  readonly gram: Float32Array;
  /** From the scales of a candidate to those of the columns. */
  readonly spread: (scales: Float64Array) => Float64Array;
  /** How many of the best ranked are judged by `outputError`. */
  readonly finalists: number;
  /** Error of the block's output under other weights; ranking decides where it is absent. */
  readonly outputError?: ((changed: ReadonlyMap<string, Float32Array>) => Promise<number>) | undefined;
  /** Called between two candidates. */
  readonly check?: () => void;
}

/** What the search found. */
export interface FoundScales {
  readonly best: ScaleCandidate;
  /** Weighted sum of squared output errors with these scales, and without. */
  readonly error: number;
  readonly plainError: number;
  /** Mean squared error of the block's output with these scales, and without; absent where nothing was run. */
  readonly blockError?: number;
  readonly plainBlockError?: number;
}

/** Tries all candidates; the first of equals. Sums over rows in f64. */
export async function searchScales(search: ScaleSearch): Promise<FoundScales> {
  const { candidates, weights, gram, spread, finalists, outputError, check } = search;
  const ranked: { candidate: ScaleCandidate; scales: Float32Array; error: number }[] = [];
  for (const candidate of candidates) {
    check?.();
    const scales = Float32Array.from(spread(candidate.scales));
    let error = 0;
    for (const { values, importance, programs } of weights) {
      const errors = await programs.scaledErrors(values, scales, gram);
      for (let row = 0; row < errors.length; row++) error += errors[row]! * importance[row]!;
    }
    ranked.push({ candidate, scales, error });
  }
  const plain = ranked[0]!;
  // Stable: of equals the first stays first.
  const others = ranked.slice(1).sort((a, b) => a.error - b.error);
  if (outputError === undefined || finalists === 0) {
    const winner = others.length > 0 && others[0]!.error < plain.error ? others[0]! : plain;
    return { best: winner.candidate, error: winner.error, plainError: plain.error };
  }
  let found: FoundScales | undefined;
  for (const { candidate, scales, error } of [plain, ...others.slice(0, finalists)]) {
    check?.();
    const changed = new Map<string, Float32Array>();
    for (const { name, values, programs } of weights) changed.set(name, await programs.restored(values, scales));
    const blockError = await outputError(changed);
    if (found === undefined) {
      found = { best: candidate, error, plainError: error, blockError, plainBlockError: blockError };
    } else if (blockError < found.blockError!) found = { ...found, best: candidate, error, blockError };
  }
  return found!;
}
