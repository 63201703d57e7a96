// What the writers of grid types (ggml-write-grid.ts, ggml-write-ternary-grid.ts) share: four sub-blocks are laid out for a fit, and the scales
// that fits leave at SCALES are coded: code c stands for 2 c + 1 parts of the block's own scale.
import { nearestInt, transposeLanes } from './ggml-lanes';
import { LANES_W, LANES_X, SCALES, WEIGHTS } from './ggml-scratch';

/** Transposes four sub-blocks of `size` values, and their weights, which begin `own` bytes after `x` and after WEIGHTS. */
// @ts-ignore: decorator
@inline
export function loadLanes(x: usize, own: usize, size: i32, s: usize): void {
  transposeLanes(x + own, size, s + LANES_X);
  transposeLanes(s + WEIGHTS + own, size, s + LANES_W);
}

/** Largest of scales, in ggml's order. */
// @ts-ignore: decorator
@inline
export function largestScale(count: usize, s: usize): f32 {
  let most: f32 = 0;
  for (let j: usize = 0; j < count; j++) {
    const scale = load<f32>(s + (j << 2), SCALES);
    most = most > scale ? most : scale;
  }
  return most;
}

/** The code of a scale, 0 to `highest`; `inverse` is one over the block's scale. */
// @ts-ignore: decorator
@inline
export function scaleCode(j: usize, inverse: f32, highest: f32, s: usize): i32 {
  const code = nearestInt(<f32>0.5 * (inverse * load<f32>(s + (j << 2), SCALES) - 1));
  return <i32>max<f32>(0, min<f32>(highest, code));
}
