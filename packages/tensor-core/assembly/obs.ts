// The column sweep of the Optimal Brain Surgeon as GPTQ and SparseGPT run it. The specification is
// src/obs/sweep-reference.ts.
//
// Weights lie transposed, [columns, rows]: every step works on four rows (output channels) at a time. Tiles of TILE rows are
// copied to scratch, because columns lie a power of two apart often enough to fall on the same cache lines. A column of the
// scratch of a tile is TILE values.

/** Rows of a tile: four vectors, so that the errors of one column stay in registers. */
const TILE: i32 = 16;
const TILE_BYTES: usize = 64;
/** Rows that are copied to scratch together: whole cache lines of each column, one behind the other. */
const SLAB: i32 = 64;
/** Tiles that are swept side by side. */
const ABREAST: i32 = 2;
/** Columns whose errors are moved onto those behind them together: a column behind is loaded and stored once for all. */
const RUN: i32 = 4;
/** Rows that share sums: whoever adds these up does not see how rows were spread over threads. A multiple of SLAB. */
const SUM_ROWS: i32 = 256;
/** Bytes of a column in a tile's scratch: weights, errors (originals before that), codes. */
const COLUMN_BYTES: usize = 2 * TILE_BYTES + 16;
/** 1.5 * 2^23: added to a small integer in f32, it leaves that integer in the lowest bits. */
const TO_INTEGER: f32 = 12582912;

/**
 * Sweeps columns `first` to `last` of a block whose columns end at `end`.
 *
 * weights   f32 [end, stride], rows `rowBegin` (a multiple of SUM_ROWS) to `rowEnd` are swept: the weights that earlier columns
 *           have moved; on return columns last..end are updated, and columns
 *           first..last hold the rounded values where `keep` is not 0
 * originals f32 [last, stride]: the weights before anything moved them
 * coupling  f32 [end, couplingStride], lower triangle: what column k takes of the error of column i is at [k, i]
 * diagonal  f32 [last]: what a difference of a column counts: error = (w - rounded) * diagonal
 * scales, zeros  f32 [end, scaleStride], one per row; read where `quantize` is not 0. scaleStride 0: [stride], the same for all
 *           columns
 * mask      u8 [end, stride], 1 keeps a weight; 0 for no mask. With `pruned` > 0 it is written: of each `span` columns the
 *           `pruned` with the smallest (w * diagonal)^2 go, the earlier one of equals
 * codes     i8 [end, stride], written where `quantize` is not 0
 * errors    f32 [end, stride], written
 * sums      f64 [rowEnd / SUM_ROWS, 3], written, over the swept columns: of errors^2, of (original - rounded)^2, of
 *           originals^2
 * scratch   obsScratchBytes(end)
 */
export function obsSweep(
  weights: usize,
  originals: usize,
  stride: i32,
  rowBegin: i32,
  rowEnd: i32,
  first: i32,
  last: i32,
  end: i32,
  coupling: usize,
  couplingStride: i32,
  diagonal: usize,
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
  sums: usize,
  keep: i32,
  scratch: usize,
): void {
  const pitch = <usize>stride << 2;
  const partials = scratch;
  const tiles = scratch + 64;
  const tileBytes = <usize>end * COLUMN_BYTES;
  const errorsOf = <usize>end * TILE_BYTES; // where errors lie in a tile
  // A pattern is chosen where all errors before it have been moved.
  const run = pruned > 0 && RUN % span !== 0 && span % RUN !== 0 ? 1 : RUN;
  for (let slab = rowBegin; slab < rowEnd; slab += SLAB) {
    const slabRows = min(SLAB, rowEnd - slab);
    const sumsAt = sums + <usize>(slab / SUM_ROWS) * 24;
    if (slab % SUM_ROWS === 0) memory.fill(sumsAt, 0, 24);
    memory.fill(partials, 0, 48);
    const offset = <usize>slab << 2;
    copyIn(weights + offset, pitch, first, end, slabRows, tiles, tileBytes);
    copyIn(originals + offset, pitch, first, last, slabRows, tiles + errorsOf, tileBytes);
    for (let row = slab; row < slab + slabRows; row += TILE) {
      const rows = min(TILE, slab + slabRows - row);
      const tile = tiles + <usize>((row - slab) / TILE) * tileBytes;
      for (let j = first; j < last; j++) {
        const d = load<f32>(diagonal + (<usize>j << 2));
        if (pruned > 0 && (j - first) % span === 0) {
          choose(tile, diagonal, j, min(j + span, last), pruned, mask + <usize>row, <usize>stride, rows);
        }
        const at = tile + <usize>j * TILE_BYTES;
        const errorsAt = at + errorsOf;
        const codesAt = tile + 2 * errorsOf + (<usize>j << 4);
        const scaleOffset = (<usize>j * <usize>scaleStride + <usize>row) << 2;
        const maskAt = mask === 0 ? 0 : mask + <usize>j * <usize>stride + <usize>row;
        if (rows < TILE) roundRows(rows, at, errorsAt, d, quantize, scales + scaleOffset, zeros + scaleOffset, low, high, maskAt, codesAt, partials);
        else if (quantize !== 0 && mask === 0) quantizeTile(at, errorsAt, d, scales + scaleOffset, zeros + scaleOffset, low, high, codesAt, partials);
        else roundTile(at, errorsAt, d, quantize, scales + scaleOffset, zeros + scaleOffset, low, high, maskAt, codesAt, partials);
        const begun = j - ((j - first) % run);
        const runEnd = min(begun + run, last);
        updateColumns(tile, errorsAt, coupling + (<usize>j << 2), couplingStride, j + 1, runEnd);
        if (j + 1 === runEnd) updateRun(tile, tile + errorsOf, coupling, couplingStride, begun, runEnd, end);
      }
    }
    copyOut(weights + offset, pitch, keep !== 0 ? first : last, end, slabRows, tiles, tileBytes);
    copyOut(errors + offset, pitch, first, last, slabRows, tiles + errorsOf, tileBytes);
    if (quantize !== 0) copyCodes(codes + <usize>slab, <usize>stride, first, last, slabRows, tiles + 2 * errorsOf, tileBytes);
    for (let i: usize = 0; i < 3; i++) {
      const at = partials + (i << 4);
      store<f64>(sumsAt + (i << 3), load<f64>(sumsAt + (i << 3)) + (load<f64>(at) + load<f64>(at, 8)));
    }
  }
}

/** Bytes of scratch of {@link obsSweep} for a block of `columns` columns. */
export function obsScratchBytes(columns: i32): i32 {
  return 64 + (SLAB / TILE) * columns * <i32>COLUMN_BYTES;
}

/** One column of the rows that fill no tile. */
function roundRows(
  rows: i32,
  at: usize,
  errorsOf: usize,
  d: f32,
  quantize: i32,
  scales: usize,
  zeros: usize,
  low: f32,
  high: f32,
  mask: usize,
  codes: usize,
  sums: usize,
): void {
  for (let r = 0; r < rows; r++) {
    const lane = <usize>r << 2;
    const w = load<f32>(at + lane);
    let rounded = w;
    if (mask !== 0 && load<u8>(mask + <usize>r) === 0) {
      rounded = 0;
      if (quantize !== 0) store<i8>(codes + <usize>r, <i8>load<f32>(zeros + lane));
    } else if (quantize !== 0) {
      const scale = load<f32>(scales + lane);
      const zero = load<f32>(zeros + lane);
      // Adding 0 turns -0, which rounding gives for small negatives, into 0.
      const code = nearest(max(low, min(high, w / scale + zero))) + 0;
      rounded = (code - zero) * scale;
      store<i8>(codes + <usize>r, <i8>code);
    }
    const original = load<f32>(errorsOf + lane);
    const delta = original - rounded;
    const error = (w - rounded) * d;
    store<f32>(at + lane, rounded);
    store<f32>(errorsOf + lane, error);
    addTo(sums, <f64>error * <f64>error);
    addTo(sums + 16, <f64>delta * <f64>delta);
    addTo(sums + 32, <f64>original * <f64>original);
  }
}

/** One column of a full tile, quantized: what {@link roundRows} does, sixteen rows at a time. */
// @ts-ignore: decorator
@inline
function quantizeTile(
  at: usize,
  errorsOf: usize,
  d: f32,
  scales: usize,
  zeros: usize,
  low: f32,
  high: f32,
  codes: usize,
  sums: usize,
): void {
  const lowest = f32x4.splat(low);
  const highest = f32x4.splat(high);
  const w0 = v128.load(at);
  const w1 = v128.load(at, 16);
  const w2 = v128.load(at, 32);
  const w3 = v128.load(at, 48);
  let scale = v128.load(scales);
  let zero = v128.load(zeros);
  let code = codeFour(w0, scale, zero, lowest, highest);
  const q0 = f32x4.mul(f32x4.sub(code, zero), scale);
  const i0 = f32x4.add(code, f32x4.splat(TO_INTEGER));
  scale = v128.load(scales, 16);
  zero = v128.load(zeros, 16);
  code = codeFour(w1, scale, zero, lowest, highest);
  const q1 = f32x4.mul(f32x4.sub(code, zero), scale);
  const i1 = f32x4.add(code, f32x4.splat(TO_INTEGER));
  scale = v128.load(scales, 32);
  zero = v128.load(zeros, 32);
  code = codeFour(w2, scale, zero, lowest, highest);
  const q2 = f32x4.mul(f32x4.sub(code, zero), scale);
  const i2 = f32x4.add(code, f32x4.splat(TO_INTEGER));
  scale = v128.load(scales, 48);
  zero = v128.load(zeros, 48);
  code = codeFour(w3, scale, zero, lowest, highest);
  const q3 = f32x4.mul(f32x4.sub(code, zero), scale);
  const i3 = f32x4.add(code, f32x4.splat(TO_INTEGER));
  const bytes0 = i8x16.shuffle(i0, i1, 0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
  const bytes1 = i8x16.shuffle(i2, i3, 0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
  v128.store(codes, v128.shuffle<i64>(bytes0, bytes1, 0, 2));
  v128.store(at, q0);
  v128.store(at, q1, 16);
  v128.store(at, q2, 32);
  v128.store(at, q3, 48);
  const o0 = v128.load(errorsOf);
  const o1 = v128.load(errorsOf, 16);
  const o2 = v128.load(errorsOf, 32);
  const o3 = v128.load(errorsOf, 48);
  const d0 = f32x4.sub(o0, q0);
  const d1 = f32x4.sub(o1, q1);
  const d2 = f32x4.sub(o2, q2);
  const d3 = f32x4.sub(o3, q3);
  const weight = f32x4.splat(d);
  const e0 = f32x4.mul(f32x4.sub(w0, q0), weight);
  const e1 = f32x4.mul(f32x4.sub(w1, q1), weight);
  const e2 = f32x4.mul(f32x4.sub(w2, q2), weight);
  const e3 = f32x4.mul(f32x4.sub(w3, q3), weight);
  v128.store(errorsOf, e0);
  v128.store(errorsOf, e1, 16);
  v128.store(errorsOf, e2, 32);
  v128.store(errorsOf, e3, 48);
  addTwo(sums, f64x2.add(f64x2.add(squares(e0), squares(e1)), f64x2.add(squares(e2), squares(e3))));
  addTwo(sums + 16, f64x2.add(f64x2.add(squares(d0), squares(d1)), f64x2.add(squares(d2), squares(d3))));
  addTwo(sums + 32, f64x2.add(f64x2.add(squares(o0), squares(o1)), f64x2.add(squares(o2), squares(o3))));
}

/** Codes of four weights, as f32. */
// @ts-ignore: decorator
@inline
function codeFour(w: v128, scale: v128, zero: v128, lowest: v128, highest: v128): v128 {
  const place = f32x4.add(f32x4.div(w, scale), zero);
  return f32x4.add(f32x4.nearest(f32x4.pmax(f32x4.pmin(place, highest), lowest)), f32x4.splat(0));
}

/** One column of a full tile: what {@link roundRows} does, four rows at a time. */
function roundTile(
  at: usize,
  errorsOf: usize,
  d: f32,
  quantize: i32,
  scales: usize,
  zeros: usize,
  low: f32,
  high: f32,
  mask: usize,
  codes: usize,
  sums: usize,
): void {
  for (let lane: usize = 0; lane < TILE_BYTES; lane += 16) {
    const w = v128.load(at + lane);
    let rounded = w;
    let code = f32x4.splat(0);
    if (quantize !== 0) {
      const scale = v128.load(scales + lane);
      const zero = v128.load(zeros + lane);
      code = codeFour(w, scale, zero, f32x4.splat(low), f32x4.splat(high));
      rounded = f32x4.mul(f32x4.sub(code, zero), scale);
      if (mask !== 0) code = v128.bitselect(code, zero, keptLanes(mask + (lane >> 2)));
      const words = f32x4.add(code, f32x4.splat(TO_INTEGER));
      v128.store32_lane(codes + (lane >> 2), i8x16.shuffle(words, words, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12), 0);
    }
    if (mask !== 0) rounded = v128.and(rounded, keptLanes(mask + (lane >> 2)));
    const original = v128.load(errorsOf + lane);
    const error = f32x4.mul(f32x4.sub(w, rounded), f32x4.splat(d));
    v128.store(errorsOf + lane, error);
    v128.store(at + lane, rounded);
    addTwo(sums, squares(error));
    addTwo(sums + 16, squares(f32x4.sub(original, rounded)));
    addTwo(sums + 32, squares(original));
  }
}

/** Squares of four f32 in f64, two and two added. */
// @ts-ignore: decorator
@inline
function squares(x: v128): v128 {
  const low = f64x2.promote_low_f32x4(x);
  const high = f64x2.promote_low_f32x4(i8x16.shuffle(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  return f64x2.add(f64x2.mul(low, low), f64x2.mul(high, high));
}

// @ts-ignore: decorator
@inline
function addTo(at: usize, value: f64): void {
  store<f64>(at, load<f64>(at) + value);
}

// @ts-ignore: decorator
@inline
function addTwo(at: usize, values: v128): void {
  v128.store(at, f64x2.add(v128.load(at), values));
}

/** All bits set in the lanes whose mask byte is not 0. */
// @ts-ignore: decorator
@inline
function keptLanes(mask: usize): v128 {
  const bytes = v128.load32_zero(mask);
  const words = i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(bytes));
  return i32x4.ne(words, i32x4.splat(0));
}

/** Columns `from` to `end` of the tile take what the coupling's column says of one column's errors. */
// @ts-ignore: decorator
@inline
function updateColumns(scratch: usize, errorsAt: usize, couplingAt: usize, couplingStride: i32, from: i32, end: i32): void {
  const e0 = v128.load(errorsAt);
  const e1 = v128.load(errorsAt, 16);
  const e2 = v128.load(errorsAt, 32);
  const e3 = v128.load(errorsAt, 48);
  for (let k = from; k < end; k++) {
    const u = v128.load32_splat(couplingAt + ((<usize>k * <usize>couplingStride) << 2));
    const at = scratch + <usize>k * TILE_BYTES;
    v128.store(at, f32x4.add(v128.load(at), f32x4.mul(e0, u)));
    v128.store(at, f32x4.add(v128.load(at, 16), f32x4.mul(e1, u)), 16);
    v128.store(at, f32x4.add(v128.load(at, 32), f32x4.mul(e2, u)), 32);
    v128.store(at, f32x4.add(v128.load(at, 48), f32x4.mul(e3, u)), 48);
  }
}

/** The errors of columns `begun` to `from` move onto columns `from` to `end`, one after the other for each column. */
function updateRun(
  scratch: usize,
  errorsOf: usize,
  coupling: usize,
  couplingStride: i32,
  begun: i32,
  from: i32,
  end: i32,
): void {
  const errorsAt = errorsOf + <usize>begun * TILE_BYTES;
  if (from - begun < RUN) {
    for (let j = begun; j < from; j++) {
      updateColumns(scratch, errorsOf + <usize>j * TILE_BYTES, coupling + (<usize>j << 2), couplingStride, from, end);
    }
    return;
  }
  const pitch = <usize>couplingStride << 2;
  for (let half: usize = 0; half < TILE_BYTES; half += 32) {
    const at = errorsAt + half;
    const a0 = v128.load(at);
    const a1 = v128.load(at, 16);
    const b0 = v128.load(at, 64);
    const b1 = v128.load(at, 80);
    const c0 = v128.load(at, 128);
    const c1 = v128.load(at, 144);
    const d0 = v128.load(at, 192);
    const d1 = v128.load(at, 208);
    const last = scratch + half + <usize>end * TILE_BYTES;
    let u = coupling + <usize>from * pitch + (<usize>begun << 2);
    for (let w = scratch + half + <usize>from * TILE_BYTES; w < last; w += TILE_BYTES) {
      const ua = v128.load32_splat(u);
      const ub = v128.load32_splat(u, 4);
      let x = f32x4.add(v128.load(w), f32x4.mul(a0, ua));
      let y = f32x4.add(v128.load(w, 16), f32x4.mul(a1, ua));
      x = f32x4.add(x, f32x4.mul(b0, ub));
      y = f32x4.add(y, f32x4.mul(b1, ub));
      const uc = v128.load32_splat(u, 8);
      const ud = v128.load32_splat(u, 12);
      x = f32x4.add(x, f32x4.mul(c0, uc));
      y = f32x4.add(y, f32x4.mul(c1, uc));
      v128.store(w, f32x4.add(x, f32x4.mul(d0, ud)));
      v128.store(w, f32x4.add(y, f32x4.mul(d1, ud)), 16);
      u += pitch;
    }
  }
}

/** Marks, for each row of the tile, the `pruned` columns of least (w * d)^2 among `from` to `to` with 0, the others with 1. */
function choose(
  scratch: usize,
  diagonal: usize,
  from: i32,
  to: i32,
  pruned: i32,
  mask: usize,
  maskStride: usize,
  rows: i32,
): void {
  for (let r = 0; r < rows; r++) {
    for (let j = from; j < to; j++) {
      const score = scoreAt(scratch, diagonal, j, r);
      let smaller = 0;
      for (let k = from; k < to; k++) {
        const other = scoreAt(scratch, diagonal, k, r);
        if (other < score || (other === score && k < j)) smaller++;
      }
      store<u8>(mask + <usize>j * maskStride + <usize>r, smaller < pruned ? 0 : 1);
    }
  }
}

// @ts-ignore: decorator
@inline
function scoreAt(scratch: usize, diagonal: usize, j: i32, r: i32): f32 {
  const w = load<f32>(scratch + <usize>j * TILE_BYTES + (<usize>r << 2));
  const error = w * load<f32>(diagonal + (<usize>j << 2));
  return error * error;
}

/** Columns `first` to `end` of up to SLAB rows, to the tiles of these rows; what fills no tile is padded with zeros. */
function copyIn(from: usize, pitch: usize, first: i32, end: i32, rows: i32, tiles: usize, tileBytes: usize): void {
  for (let k = first; k < end; k++) {
    let at = tiles + <usize>k * TILE_BYTES;
    let source = from + <usize>k * pitch;
    let left = rows;
    for (; left >= TILE; left -= TILE) {
      copyFull(at, source);
      at += tileBytes;
      source += TILE_BYTES;
    }
    if (left > 0) {
      memory.fill(at, 0, TILE_BYTES);
      memory.copy(at, source, <usize>left << 2);
    }
  }
}

/** Undoes {@link copyIn}. */
function copyOut(to: usize, pitch: usize, first: i32, end: i32, rows: i32, tiles: usize, tileBytes: usize): void {
  for (let k = first; k < end; k++) {
    let at = tiles + <usize>k * TILE_BYTES;
    let target = to + <usize>k * pitch;
    let left = rows;
    for (; left >= TILE; left -= TILE) {
      copyFull(target, at);
      at += tileBytes;
      target += TILE_BYTES;
    }
    if (left > 0) memory.copy(target, at, <usize>left << 2);
  }
}

/** {@link copyOut} of codes, a byte each. */
function copyCodes(to: usize, pitch: usize, first: i32, last: i32, rows: i32, tiles: usize, tileBytes: usize): void {
  for (let k = first; k < last; k++) {
    let at = tiles + (<usize>k << 4);
    let target = to + <usize>k * pitch;
    let left = rows;
    for (; left >= TILE; left -= TILE) {
      v128.store(target, v128.load(at));
      at += tileBytes;
      target += 16;
    }
    if (left > 0) memory.copy(target, at, <usize>left);
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

/** `count` f32 of target = a + b, which may be the same; sums of the block's columns become weights. */
export function addF32(target: usize, a: usize, b: usize, count: i32): void {
  const end = a + (<usize>count << 2);
  const full = a + ((<usize>count & ~3) << 2);
  while (a < full) {
    v128.store(target, f32x4.add(v128.load(a), v128.load(b)));
    target += 16;
    a += 16;
    b += 16;
  }
  while (a < end) {
    store<f32>(target, load<f32>(a) + load<f32>(b));
    target += 4;
    a += 4;
    b += 4;
  }
}
