// XᵀX by its upper triangle in panels of rows: 9/16 of the products of the whole, and exactly symmetric.
import * as tf from '@tensorflow/tfjs-core';
import type { Tensor, Tensor2D } from '@tensorflow/tfjs-core';

/** Rows of the Gram matrix that one product gives: rows `from` to `to` (exclusive), columns `from` to the last. */
export interface GramPanel {
  readonly from: number;
  readonly to: number;
}

/** Panels of a wide matrix: with more of them the products become thin and slow. */
const PANELS = 8;
/** Fewest rows of a panel, and what a panel's rows are a multiple of. */
const PANEL_ROWS = 64;

/** The panels of a Gram matrix with so many columns. */
export function gramPanels(columns: number): GramPanel[] {
  const rows = Math.ceil(columns / PANELS / PANEL_ROWS) * PANEL_ROWS;
  const count = Math.ceil(columns / rows);
  return Array.from({ length: count }, (_, i) => ({ from: i * rows, to: Math.min(columns, (i + 1) * rows) }));
}

/**
 * The panels of XᵀX in the graph.
 *
 * @param x f32 [tokens, columns].
 * @returns f32 [to - from, columns - from] each.
 */
export function gramOf(x: Tensor): Tensor[] {
  const [tokens, columns] = x.shape as [number, number];
  // Transposed once, and read along its rows by both operands: a fifth faster than reading columns of x.
  const rows = tf.transpose(x as Tensor2D);
  return gramPanels(columns).map(({ from, to }) => {
    const left = tf.slice(rows, [from, 0], [to - from, tokens]);
    return tf.matMul(left, tf.slice(rows, [from, 0], [columns - from, tokens]), false, true);
  });
}

/** Adds panels, as {@link gramOf} gives them, to the upper triangle of a sum; what is below the diagonal is not touched. */
export function addGram(total: Float64Array, columns: number, panels: readonly Float32Array[]): void {
  gramPanels(columns).forEach(({ from, to }, i) => {
    const panel = panels[i];
    for (let row = from; row < to; row++) {
      const shift = (row - from) * (columns - from) - from;
      const base = row * columns;
      for (let column = row; column < columns; column++) total[base + column] += panel[shift + column];
    }
  });
}

/** Side of the squares in which a triangle is copied: both of them stay in the cache. */
const MIRROR_SIDE = 32;

/**
 * Copies the upper triangle of [columns, columns] to the lower one.
 *
 * @returns False where a value is NaN or infinite; a sum that took one in once is so for good.
 */
export function mirrorUpper(matrix: Float64Array, columns: number): boolean {
  // 0 times anything but a finite number is NaN, which no further sum loses.
  let check = 0;
  for (let top = 0; top < columns; top += MIRROR_SIDE) {
    for (let left = 0; left <= top; left += MIRROR_SIDE) {
      for (let row = top; row < Math.min(columns, top + MIRROR_SIDE); row++) {
        const end = Math.min(row + 1, left + MIRROR_SIDE);
        for (let column = left; column < end; column++) {
          const value = matrix[column * columns + row];
          matrix[row * columns + column] = value;
          check += value * 0;
        }
      }
    }
  }
  return check === 0;
}
