// The specification of the column sweep (assembly/obs.ts): Optimal Brain Surgeon one column at a time, as GPTQ (Frantar et
// al. 2022, algorithm 1) and SparseGPT (Frantar and Alistarh 2023, algorithm 1) use it, with the factor of sweep-factor.ts. Plain
// f32 arithmetic without fused multiply-add; the sums in f64.

/** One block of columns and how its columns are rounded. */
export interface SweepBlock {
  /** f32 [columns, rows]: the weight transposed. Mutated: swept columns become their rounded values, later ones are updated. */
  readonly weights: Float32Array;
  /** f32 [columns, rows]: the weight before columns that were swept moved it. */
  readonly originals: Float32Array;
  /** Rows of the weight (output channels): the length of each column here. */
  readonly rows: number;
  /** Columns of the block. */
  readonly columns: number;
  /** f32 [columns, columns], lower triangle: what column k takes of the error of column i is at [k, i]. */
  readonly coupling: Float32Array;
  /** f32 [columns]: what a difference of a column counts: error = (w - rounded) * diagonal. */
  readonly diagonal: Float32Array;
  /** Present to quantize: code = rint(clamp(w / scale + zero)), value = (code - zero) * scale. */
  readonly quantizer?: {
    /** f32 [rows], or [columns, rows] where columns have scales of their own. */
    readonly scales: Float32Array;
    /** As `scales`: integers, 0 for symmetric schemes. */
    readonly zeros: Float32Array;
    readonly low: number;
    readonly high: number;
    /** Written: i8 [columns, rows]. */
    readonly codes: Int8Array;
  };
  /** Present to prune: u8 [columns, rows], 1 keeps. Written where `pattern` is given. */
  readonly mask?: Uint8Array;
  /** Chooses the mask: of each `span` columns the `pruned` with the least (w * diagonal)² go, the earlier of equals. */
  readonly pattern?: { readonly pruned: number; readonly span: number };
  /** Written: f32 [columns, rows]. */
  readonly errors: Float32Array;
}

const f = Math.fround;

/** Rounds to the nearest integer, ties to even. */
function rint(x: number): number {
  const floor = Math.floor(x);
  const difference = x - floor;
  if (difference !== 0.5) return difference < 0.5 ? floor + 0 : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** Sums over the swept columns, f64. */
export interface SweepSums {
  /** Half the sum of squared errors: the increase of half the layer's squared output error. */
  readonly loss: number;
  /** Of squared differences between weights and their rounded values. */
  readonly squaredDifference: number;
  /** Of squared weights. */
  readonly squares: number;
}

/**
 * Rounds columns `first` to `last` in order and moves each one's error onto the columns after it, up to the end of the
 * block.
 */
export function sweepReference(block: SweepBlock, first: number, last: number): SweepSums {
  const { weights, originals, rows, columns, coupling, diagonal, quantizer, mask, pattern, errors } = block;
  const perColumn = quantizer !== undefined && quantizer.scales.length > rows;
  let [loss, squaredDifference, squares] = [0, 0, 0];
  for (let row = 0; row < rows; row++) {
    const w = (column: number): number => weights[column * rows + row];
    for (let j = first; j < last; j++) {
      if (pattern && mask && (j - first) % pattern.span === 0) choose(row, j, Math.min(j + pattern.span, last));
      const own = perColumn ? j * rows + row : row;
      let rounded = w(j);
      if (mask && mask[j * rows + row] === 0) {
        rounded = 0;
        if (quantizer) quantizer.codes[j * rows + row] = quantizer.zeros[own];
      } else if (quantizer) {
        const { scales, zeros, low, high, codes } = quantizer;
        const code = rint(Math.max(low, Math.min(high, f(f(w(j) / scales[own]) + zeros[own]))));
        rounded = f(f(code - zeros[own]) * scales[own]);
        codes[j * rows + row] = code;
      }
      const original = originals[j * rows + row];
      const difference = f(original - rounded);
      const error = f(f(w(j) - rounded) * diagonal[j]);
      weights[j * rows + row] = rounded;
      errors[j * rows + row] = error;
      loss += error * error;
      squaredDifference += difference * difference;
      squares += original * original;
      for (let k = j + 1; k < columns; k++) {
        weights[k * rows + row] = f(w(k) + f(error * coupling[k * columns + j]));
      }
    }
  }
  return { loss: loss / 2, squaredDifference, squares };

  function choose(row: number, from: number, to: number): void {
    const score = (j: number): number => {
      const error = f(weights[j * rows + row] * diagonal[j]);
      return f(error * error);
    };
    const order = Array.from({ length: to - from }, (_, i) => from + i).sort((a, b) => score(a) - score(b) || a - b);
    order.forEach((j, rank) => (mask![j * rows + row] = rank < pattern!.pruned ? 0 : 1));
  }
}
