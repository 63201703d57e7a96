// The specification of the column sweep (assembly/obs.ts): Optimal Brain Surgeon one column at a time, as GPTQ (Frantar et
// al. 2022, algorithm 1) and SparseGPT (Frantar and Alistarh 2023, algorithm 1) use it. Plain f32 arithmetic without
// fused multiply-add; the loss in f64.

/** One block of columns and how its columns are rounded. */
export interface SweepBlock {
  /** f32 [columns, rows]: the weight transposed. Mutated: swept columns become their rounded values, later ones are updated. */
  readonly weights: Float32Array;
  /** Rows of the weight (output channels): the length of each column here. */
  readonly rows: number;
  /** Columns of the block. */
  readonly columns: number;
  /** f32 [columns, columns]: the block's diagonal part of U, H⁻¹ = UᵀU, upper triangular. */
  readonly factor: Float32Array;
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
  /** Chooses the mask: of each `span` columns the `pruned` with the least (w / d)² go, the earlier of equals. */
  readonly pattern?: { readonly pruned: number; readonly span: number };
  /** Written: f32 [columns, rows], (w - rounded) / d. */
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

/**
 * Rounds columns `first` to `last` in order and moves each one's error onto the columns after it, up to the end of the
 * block.
 *
 * @returns Half the sum of squared errors of the swept columns, the increase of the layer's squared output error.
 */
export function sweepReference(block: SweepBlock, first: number, last: number): number {
  const { weights, rows, columns, factor, quantizer, mask, pattern, errors } = block;
  const perColumn = quantizer !== undefined && quantizer.scales.length > rows;
  let loss = 0;
  for (let row = 0; row < rows; row++) {
    const w = (column: number): number => weights[column * rows + row];
    for (let j = first; j < last; j++) {
      if (pattern && mask && (j - first) % pattern.span === 0) choose(row, j, Math.min(j + pattern.span, last));
      const d = factor[j * columns + j];
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
      const error = f(f(w(j) - rounded) / d);
      weights[j * rows + row] = rounded;
      errors[j * rows + row] = error;
      loss += error * error;
      for (let k = j + 1; k < columns; k++) {
        weights[k * rows + row] = f(w(k) - f(error * factor[j * columns + k]));
      }
    }
  }
  return loss / 2;

  function choose(row: number, from: number, to: number): void {
    const score = (j: number): number => {
      const ratio = f(weights[j * rows + row] / factor[j * columns + j]);
      return f(ratio * ratio);
    };
    const order = Array.from({ length: to - from }, (_, i) => from + i).sort((a, b) => score(a) - score(b) || a - b);
    order.forEach((j, rank) => (mask![j * rows + row] = rank < pattern!.pruned ? 0 : 1));
  }
}
