// Masks from scores and weights from masks, in plain JavaScript: exact, for any environment, and not fast. Whole models are
// pruned by kernels (`pruneInto`), which tests hold to the same rule.
import { prunedCount, type SparsityPattern } from './pattern.ts';

/** Which scores are compared with one another: those of a row (an output channel), or all of a weight. */
export type Comparison = 'row' | 'layer';

/** A mask, and what it means. */
export interface MaskOptions {
  /** What is to go. */
  readonly pattern: SparsityPattern;
  /** For a share: whether each row loses it, or the weight as a whole. An n:m pattern compares within its runs. */
  readonly comparison: Comparison;
}

/**
 * The mask of scores [rows, columns]: 0 for what goes, 1 for what stays, u8 [rows, columns].
 *
 * The smallest scores go; of equal ones the earlier in memory goes first, so that counts are exact.
 *
 * @param scores f32 [rows, columns] row-major, finite and not negative.
 */
export function mask(scores: Float32Array, columns: number, { pattern, comparison }: MaskOptions): Uint8Array {
  const span = pattern.kind === 'n:m' ? pattern.of : comparison === 'row' ? columns : scores.length;
  const pruned = pattern.kind === 'n:m' ? pattern.of - pattern.kept : prunedCount(span, pattern.sparsity);
  const kept = new Uint8Array(scores.length).fill(1);
  for (let from = 0; from < scores.length; from += span) {
    const threshold = scores.slice(from, from + span).sort()[pruned];
    let below = 0;
    for (let i = from; i < from + span; i += 1) {
      if (threshold === undefined || scores[i]! < threshold) {
        kept[i] = 0;
        below += 1;
      }
    }
    for (let i = from; below < pruned; i += 1) {
      if (scores[i] !== threshold) continue;
      kept[i] = 0;
      below += 1;
    }
  }
  return kept;
}

/** The weights with +0 where the mask is 0; a new array. */
export function apply(weights: Float32Array, kept: Uint8Array): Float32Array {
  return weights.map((weight, i) => (kept[i] === 0 ? 0 : weight));
}
