// The column sweep of the Optimal Brain Surgeon as GPTQ and SparseGPT run it. The specification is
// src/obs/sweep-reference.ts.
//
// Weights lie transposed, [columns, rows]: every step works on four rows (output channels) at a time. A tile of TILE rows is
// copied to scratch, because columns of the weight lie a power of two apart often enough to fall on the same cache lines.

/** Rows of a tile: four vectors, so that the errors of one column stay in registers. */
const TILE: i32 = 16;
const TILE_BYTES: usize = 64;

/**
 * Sweeps columns `first` to `last` of a block whose columns end at `end`.
 *
 * weights  f32 [end, stride], rows `rowBegin` to `rowEnd` are swept; on return columns first..last hold the rounded values and
 *          last..end are updated
 * factor   f32 [end, factorStride], upper triangle of the block of the inverse Hessian's Cholesky factor
 * scales, zeros  f32 [end, scaleStride], one per row; read where `quantize` is not 0. scaleStride 0: [stride], the same for all
 *          columns
 * mask     u8 [end, stride], 1 keeps a weight; 0 for no mask. With `pruned` > 0 it is written: of each `span` columns the
 *          `pruned` with the smallest w^2 / d^2 go, the earlier one of equals
 * codes    i8 [end, stride], written where `quantize` is not 0
 * errors   f32 [end, stride], written: (w - rounded) / d
 * scratch  f32 [end, TILE]
 *
 * Returns the sum of squared errors / 2 over the swept columns, summed in f64.
 */
export function obsSweep(
  weights: usize,
  stride: i32,
  rowBegin: i32,
  rowEnd: i32,
  first: i32,
  last: i32,
  end: i32,
  factor: usize,
  factorStride: i32,
  quantize: i32,
  scales: usize,
  zeros: usize,
  scaleStride: i32,
  low: f32,
  high: f32,
  mask: usize,
  pruned: i32,
  span: i32,
  codes: usize,
  errors: usize,
  scratch: usize,
): f64 {
  let loss: f64 = 0;
  const pitch = <usize>stride << 2;
  for (let row = rowBegin; row < rowEnd; row += TILE) {
    const rows = min(TILE, rowEnd - row);
    copyIn(weights + (<usize>row << 2), pitch, first, end, rows, scratch);
    for (let j = first; j < last; j++) {
      const d = load<f32>(factor + ((<usize>j * <usize>factorStride + <usize>j) << 2));
      if (pruned > 0 && (j - first) % span === 0) {
        choose(scratch, factor, factorStride, j, min(j + span, last), pruned, mask + <usize>row, <usize>stride, rows);
      }
      const at = scratch + <usize>j * TILE_BYTES;
      const scaleOffset = (<usize>j * <usize>scaleStride + <usize>row) << 2;
      const errorAt = errors + ((<usize>j * <usize>stride + <usize>row) << 2);
      for (let r = 0; r < rows; r++) {
        const w = load<f32>(at + (<usize>r << 2));
        let rounded = w;
        if (mask !== 0 && load<u8>(mask + <usize>j * <usize>stride + <usize>(row + r)) === 0) {
          rounded = 0;
          if (quantize !== 0) {
            store<i8>(codes + <usize>j * <usize>stride + <usize>(row + r), <i8>load<f32>(zeros + scaleOffset + (<usize>r << 2)));
          }
        } else if (quantize !== 0) {
          const scale = load<f32>(scales + scaleOffset + (<usize>r << 2));
          const zero = load<f32>(zeros + scaleOffset + (<usize>r << 2));
          // Adding 0 turns -0, which rounding gives for small negatives, into 0.
          const code = nearest(max(low, min(high, w / scale + zero))) + 0;
          rounded = (code - zero) * scale;
          store<i8>(codes + <usize>j * <usize>stride + <usize>(row + r), <i8>code);
        }
        const error = (w - rounded) / d;
        store<f32>(at + (<usize>r << 2), rounded);
        store<f32>(errorAt + (<usize>r << 2), error);
        loss += <f64>error * <f64>error;
      }
      updateRest(scratch, errorAt, rows, factor + ((<usize>j * <usize>factorStride) << 2), j + 1, end);
    }
    copyOut(weights + (<usize>row << 2), pitch, first, end, rows, scratch);
  }
  return loss / 2;
}

/** Columns `from` to `end` of the tile lose errors (outer) factor row. */
// @ts-ignore: decorator
@inline
function updateRest(scratch: usize, errorAt: usize, rows: i32, factorRow: usize, from: i32, end: i32): void {
  // Beyond `rows` the tile is padding: whatever is computed there is never copied out. Errors are read past the last row
  // only within a full vector of the padded stride.
  let e0 = v128.splat<f32>(0);
  let e1 = e0;
  let e2 = e0;
  let e3 = e0;
  if (rows === TILE) {
    e0 = v128.load(errorAt);
    e1 = v128.load(errorAt, 16);
    e2 = v128.load(errorAt, 32);
    e3 = v128.load(errorAt, 48);
  } else {
    for (let r = 0; r < rows; r++) {
      const e = load<f32>(errorAt + (<usize>r << 2));
      if (r < 4) e0 = replace(e0, r, e);
      else if (r < 8) e1 = replace(e1, r - 4, e);
      else if (r < 12) e2 = replace(e2, r - 8, e);
      else e3 = replace(e3, r - 12, e);
    }
  }
  for (let k = from; k < end; k++) {
    const u = v128.load32_splat(factorRow + (<usize>k << 2));
    const at = scratch + <usize>k * TILE_BYTES;
    v128.store(at, f32x4.sub(v128.load(at), f32x4.mul(e0, u)));
    v128.store(at, f32x4.sub(v128.load(at, 16), f32x4.mul(e1, u)), 16);
    v128.store(at, f32x4.sub(v128.load(at, 32), f32x4.mul(e2, u)), 32);
    v128.store(at, f32x4.sub(v128.load(at, 48), f32x4.mul(e3, u)), 48);
  }
}

function replace(vector: v128, lane: i32, value: f32): v128 {
  if (lane === 0) return f32x4.replace_lane(vector, 0, value);
  if (lane === 1) return f32x4.replace_lane(vector, 1, value);
  if (lane === 2) return f32x4.replace_lane(vector, 2, value);
  return f32x4.replace_lane(vector, 3, value);
}

/** Marks, for each row of the tile, the `pruned` columns of least w^2 / d^2 among `from` to `to` with 0, the others with 1. */
function choose(
  scratch: usize,
  factor: usize,
  factorStride: i32,
  from: i32,
  to: i32,
  pruned: i32,
  mask: usize,
  maskStride: usize,
  rows: i32,
): void {
  for (let r = 0; r < rows; r++) {
    for (let j = from; j < to; j++) {
      const score = scoreAt(scratch, factor, factorStride, j, r);
      let smaller = 0;
      for (let k = from; k < to; k++) {
        const other = scoreAt(scratch, factor, factorStride, k, r);
        if (other < score || (other === score && k < j)) smaller++;
      }
      store<u8>(mask + <usize>j * maskStride + <usize>r, smaller < pruned ? 0 : 1);
    }
  }
}

// @ts-ignore: decorator
@inline
function scoreAt(scratch: usize, factor: usize, factorStride: i32, j: i32, r: i32): f32 {
  const w = load<f32>(scratch + <usize>j * TILE_BYTES + (<usize>r << 2));
  const d = load<f32>(factor + ((<usize>j * <usize>factorStride + <usize>j) << 2));
  const ratio = w / d;
  return ratio * ratio;
}

function copyIn(weights: usize, pitch: usize, first: i32, end: i32, rows: i32, scratch: usize): void {
  for (let k = first; k < end; k++) {
    const at = scratch + <usize>k * TILE_BYTES;
    const from = weights + <usize>k * pitch;
    memory.copy(at, from, <usize>rows << 2);
    if (rows < TILE) memory.fill(at + (<usize>rows << 2), 0, <usize>(TILE - rows) << 2);
  }
}

function copyOut(weights: usize, pitch: usize, first: i32, end: i32, rows: i32, scratch: usize): void {
  for (let k = first; k < end; k++) {
    memory.copy(weights + <usize>k * pitch, scratch + <usize>k * TILE_BYTES, <usize>rows << 2);
  }
}
