// The column sweep of the Optimal Brain Surgeon as GPTQ and SparseGPT run it. The specification is
// src/obs/sweep-reference.ts.
//
// Weights lie transposed, [columns, rows]: every step works on four rows (output channels) at a time. A tile of TILE rows is
// copied to scratch, because columns of the weight lie a power of two apart often enough to fall on the same cache lines.

/** Rows of a tile: four vectors, so that the errors of one column stay in registers. */
const TILE: i32 = 16;
const TILE_BYTES: usize = 64;
/** Columns whose errors are moved onto those behind them together: a column behind is loaded and stored once for all. */
const RUN: i32 = 4;

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
  let lossLanes = f64x2.splat(0);
  const pitch = <usize>stride << 2;
  // A pattern is chosen where all errors before it have been moved.
  const run = pruned > 0 && RUN % span !== 0 && span % RUN !== 0 ? 1 : RUN;
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
      const maskAt = mask === 0 ? 0 : mask + <usize>j * <usize>stride + <usize>row;
      const codesAt = codes + <usize>j * <usize>stride + <usize>row;
      if (rows === TILE) {
        const sums = roundTile(at, d, quantize, scales + scaleOffset, zeros + scaleOffset, low, high, maskAt, codesAt, errorAt);
        lossLanes = f64x2.add(lossLanes, sums);
      } else {
        for (let r = 0; r < rows; r++) {
          const lane = <usize>r << 2;
          const w = load<f32>(at + lane);
          let rounded = w;
          if (maskAt !== 0 && load<u8>(maskAt + <usize>r) === 0) {
            rounded = 0;
            if (quantize !== 0) store<i8>(codesAt + <usize>r, <i8>load<f32>(zeros + scaleOffset + lane));
          } else if (quantize !== 0) {
            const scale = load<f32>(scales + scaleOffset + lane);
            const zero = load<f32>(zeros + scaleOffset + lane);
            // Adding 0 turns -0, which rounding gives for small negatives, into 0.
            const code = nearest(max(low, min(high, w / scale + zero))) + 0;
            rounded = (code - zero) * scale;
            store<i8>(codesAt + <usize>r, <i8>code);
          }
          const error = (w - rounded) / d;
          store<f32>(at + lane, rounded);
          store<f32>(errorAt + lane, error);
          loss += <f64>error * <f64>error;
        }
      }
      const begun = j - ((j - first) % run);
      const runEnd = min(begun + run, last);
      updateRest(scratch, errorAt, rows, factor + ((<usize>j * <usize>factorStride) << 2), j + 1, runEnd);
      if (j + 1 === runEnd) {
        updateRun(scratch, errors, stride, row, rows, factor, factorStride, begun, runEnd, end);
      }
    }
    copyOut(weights + (<usize>row << 2), pitch, first, end, rows, scratch);
  }
  return (loss + f64x2.extract_lane(lossLanes, 0) + f64x2.extract_lane(lossLanes, 1)) / 2;
}

/** One column of a full tile: what the loop over rows does, four rows at a time. Returns the sums of squared errors. */
// @ts-ignore: decorator
@inline
function roundTile(
  at: usize,
  d: f32,
  quantize: i32,
  scales: usize,
  zeros: usize,
  low: f32,
  high: f32,
  mask: usize,
  codes: usize,
  errors: usize,
): v128 {
  let sums = f64x2.splat(0);
  // Four f32 codes at a time become four bytes.
  for (let lane: usize = 0; lane < TILE_BYTES; lane += 16) {
    const w = v128.load(at + lane);
    let rounded = w;
    let code = f32x4.splat(0);
    if (quantize !== 0) {
      const scale = v128.load(scales + lane);
      const zero = v128.load(zeros + lane);
      const place = f32x4.add(f32x4.div(w, scale), zero);
      code = f32x4.add(f32x4.nearest(f32x4.max(f32x4.splat(low), f32x4.min(f32x4.splat(high), place))), f32x4.splat(0));
      rounded = f32x4.mul(f32x4.sub(code, zero), scale);
      if (mask !== 0) code = v128.bitselect(code, zero, keptLanes(mask + (lane >> 2)));
      const words = i32x4.trunc_sat_f32x4_s(code);
      const halves = i16x8.narrow_i32x4_s(words, words);
      v128.store32_lane(codes + (lane >> 2), i8x16.narrow_i16x8_s(halves, halves), 0);
    }
    if (mask !== 0) rounded = v128.and(rounded, keptLanes(mask + (lane >> 2)));
    const error = f32x4.div(f32x4.sub(w, rounded), f32x4.splat(d));
    v128.store(at + lane, rounded);
    v128.store(errors + lane, error);
    const low2 = f64x2.promote_low_f32x4(error);
    const high2 = f64x2.promote_low_f32x4(i8x16.shuffle(error, error, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    sums = f64x2.add(sums, f64x2.add(f64x2.mul(low2, low2), f64x2.mul(high2, high2)));
  }
  return sums;
}

/** All bits set in the lanes whose mask byte is not 0. */
// @ts-ignore: decorator
@inline
function keptLanes(mask: usize): v128 {
  const bytes = v128.load32_zero(mask);
  const words = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(bytes));
  return i32x4.ne(words, i32x4.splat(0));
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

/** The errors of columns `begun` to `from` move onto columns `from` to `end`, one after the other for each column. */
function updateRun(
  scratch: usize,
  errors: usize,
  stride: i32,
  row: i32,
  rows: i32,
  factor: usize,
  factorStride: i32,
  begun: i32,
  from: i32,
  end: i32,
): void {
  const pitch = <usize>stride << 2;
  const factorPitch = <usize>factorStride << 2;
  const errorAt = errors + <usize>begun * pitch + (<usize>row << 2);
  const factorAt = factor + <usize>begun * factorPitch;
  if (rows < TILE || from - begun < RUN) {
    for (let j: usize = 0; j < <usize>(from - begun); j++) {
      updateRest(scratch, errorAt + j * pitch, rows, factorAt + j * factorPitch, from, end);
    }
    return;
  }
  for (let half: usize = 0; half < TILE_BYTES; half += 32) {
    let at = errorAt + half;
    const a0 = v128.load(at);
    const a1 = v128.load(at, 16);
    at += pitch;
    const b0 = v128.load(at);
    const b1 = v128.load(at, 16);
    at += pitch;
    const c0 = v128.load(at);
    const c1 = v128.load(at, 16);
    at += pitch;
    const d0 = v128.load(at);
    const d1 = v128.load(at, 16);
    const last = scratch + half + <usize>end * TILE_BYTES;
    let u = factorAt + (<usize>from << 2);
    for (let w = scratch + half + <usize>from * TILE_BYTES; w < last; w += TILE_BYTES) {
      const ua = v128.load32_splat(u);
      const ub = v128.load32_splat(u + factorPitch);
      let x = f32x4.sub(v128.load(w), f32x4.mul(a0, ua));
      let y = f32x4.sub(v128.load(w, 16), f32x4.mul(a1, ua));
      x = f32x4.sub(x, f32x4.mul(b0, ub));
      y = f32x4.sub(y, f32x4.mul(b1, ub));
      const uc = v128.load32_splat(u + 2 * factorPitch);
      const ud = v128.load32_splat(u + 3 * factorPitch);
      x = f32x4.sub(x, f32x4.mul(c0, uc));
      y = f32x4.sub(y, f32x4.mul(c1, uc));
      v128.store(w, f32x4.sub(x, f32x4.mul(d0, ud)));
      v128.store(w, f32x4.sub(y, f32x4.mul(d1, ud)), 16);
      u += 4;
    }
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
    if (rows === TILE) copyFull(at, from);
    else {
      memory.fill(at, 0, TILE_BYTES);
      memory.copy(at, from, <usize>rows << 2);
    }
  }
}

function copyOut(weights: usize, pitch: usize, first: i32, end: i32, rows: i32, scratch: usize): void {
  for (let k = first; k < end; k++) {
    const at = scratch + <usize>k * TILE_BYTES;
    const to = weights + <usize>k * pitch;
    if (rows === TILE) copyFull(to, at);
    else memory.copy(to, at, <usize>rows << 2);
  }
}

// @ts-ignore: decorator
@inline
function copyFull(to: usize, from: usize): void {
  v128.store(to, v128.load(from));
  v128.store(to, v128.load(from, 16), 16);
  v128.store(to, v128.load(from, 32), 32);
  v128.store(to, v128.load(from, 48), 48);
}
