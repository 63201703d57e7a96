// Rounding to nearest where a tile of rows and columns has one scale. The specification is @pith/quant src/rtn/quantize.ts;
// arguments by number as in quantize.ts.
import { GROUP_BYTES, quantizeRow, ROW_ERROR_BYTES } from './quantize-row';
import { candidateError } from './quantize-search';
import {
  bytesPerScale,
  epsilonOf,
  errorUnit,
  halfOf,
  highestCode,
  lastStep,
  lowestCode,
  powerUnit,
  scaleOf,
  storeScale,
} from './quantize-scale';
import { bytesPerValue, expandRow, isNotFinite, magnitudeBits } from './range-values';

const SEARCH: i32 = 4;
const PAD_BYTES: usize = 64;

/** Bytes of scratch that {@link quantizeTiles} needs. */
export function tileScratchBytes(columns: i32, tileRows: i32, tileColumns: i32): usize {
  const groups = <usize>((columns + tileColumns - 1) / tileColumns);
  return PAD_BYTES + valueBytes(columns, 1) + valueBytes(tileColumns, tileRows) + codeBytes(columns) + groups * GROUP_BYTES;
}

// @ts-ignore: decorator
@inline
function valueBytes(columns: i32, rows: i32): usize {
  return (((<usize>columns * <usize>rows) << 2) + 127) & ~63;
}

// @ts-ignore: decorator
@inline
function codeBytes(columns: i32): usize {
  return (<usize>columns + 79) & ~63;
}

/**
 * Quantizes `rows` rows of `columns` values to floats, with one scale for each tile of `tileRows` rows and `tileColumns`
 * columns, counted from the first row; tiles at the edges are smaller.
 *
 * `rule`: 0 the largest magnitude, 4 search (`candidates` f32 shrink factors at `factors`, exponent `norm`).
 *
 * Written: `codes` a byte each; `scales` in `scaleDType`, [tiles down, tiles across]; `errors` as by `quantizeRows`, zero
 * scales with the first row of their tile.
 *
 * Returns -1, or the first row that holds a NaN or infinity, or -2 - the first row of a tile whose scale overflows its
 * dtype; it stops there, with nothing of that run of tiles written.
 */
export function quantizeTiles(
  source: usize,
  dtype: i32,
  rows: i32,
  columns: i32,
  tileRows: i32,
  tileColumns: i32,
  coding: i32,
  arithmetic: i32,
  scaleDType: i32,
  rule: i32,
  factors: usize,
  candidates: i32,
  norm: f32,
  codes: usize,
  scales: usize,
  errors: usize,
  scratch: usize,
): i32 {
  const pad = scratch;
  const x = pad + PAD_BYTES;
  const tile = x + valueBytes(columns, 1);
  const rowCodes = tile + valueBytes(tileColumns, tileRows);
  const groups = rowCodes + codeBytes(columns);
  const half = halfOf(coding);
  const rowBytes = <usize>columns * bytesPerValue(dtype);
  for (let first = 0; first < rows; first += tileRows) {
    const count = min(tileRows, rows - first);
    let group = groups;
    let zeroScales = 0;
    let wrong = -1;
    for (let start = 0; start < columns; start += tileColumns) {
      const width = min(tileColumns, columns - start);
      const offset = <usize>start * bytesPerValue(dtype);
      let bits = 0;
      for (let row = 0; row < count; row++) {
        const at = tile + ((<usize>row * <usize>width) << 2);
        expandRow(source + <usize>row * rowBytes + offset, dtype, width, at);
        const found = magnitudeBits(at, width);
        if (isNotFinite(found) && (wrong < 0 || row < wrong)) wrong = row;
        bits = max(bits, found);
      }
      // Tiles further right may have one in a row before.
      if (wrong >= 0) continue;
      const magnitude = reinterpret<f32>(bits);
      let limit = magnitude;
      if (rule == SEARCH) {
        limit *= bestFactor(tile, count, width, magnitude, factors, candidates, norm, coding, arithmetic, scaleDType, pad);
      }
      let scale = scaleOf(-limit, limit, half, 0, arithmetic, scaleDType, 1);
      if (!(scale < Infinity)) return -2 - first;
      if (scale == 0) {
        scale = epsilonOf(scaleDType, 1);
        zeroScales++;
      }
      storeScale(scaleDType, scales, scale, 1);
      scales += bytesPerScale(scaleDType);
      store<f32>(group, scale);
      store<f32>(group, 0, 4);
      store<f32>(group, errorUnit(magnitude), 8);
      group += GROUP_BYTES;
    }
    if (wrong >= 0) return first + wrong;
    for (let row = 0; row < count; row++) {
      expandRow(source, dtype, columns, x);
      quantizeRow(
        x,
        columns,
        tileColumns,
        groups,
        rowCodes,
        coding,
        0,
        arithmetic,
        1,
        lowestCode(coding),
        highestCode(coding),
        lastStep(coding),
        pad,
        errors,
      );
      store<i64>(errors, row == 0 ? zeroScales : 0, 24);
      memory.copy(codes, rowCodes, columns);
      source += rowBytes;
      codes += columns;
      errors += ROW_ERROR_BYTES;
    }
  }
  return -1;
}

/** The shrink factor with the least summed error over a tile [rows, columns]; the first of equals. */
function bestFactor(
  tile: usize,
  rows: i32,
  columns: i32,
  magnitude: f32,
  factors: usize,
  candidates: i32,
  norm: f32,
  coding: i32,
  arithmetic: i32,
  scaleDType: i32,
  pad: usize,
): f32 {
  const unit = norm == 2 ? errorUnit(magnitude) : powerUnit(magnitude);
  let best = load<f32>(factors);
  let least: f64 = Infinity;
  for (let k = 0; k < candidates; k++) {
    const factor = load<f32>(factors + ((<usize>k) << 2));
    const limit = magnitude * factor;
    let scale = scaleOf(-limit, limit, halfOf(coding), 0, arithmetic, scaleDType, 1);
    if (scale == 0) scale = epsilonOf(scaleDType, 1);
    let sum: f64 = 0;
    for (let row = 0; row < rows && sum < least; row++) {
      const at = tile + ((<usize>row * <usize>columns) << 2);
      sum += candidateError(at, columns, scale, 0, unit, norm, coding, 0, arithmetic, Infinity, pad);
    }
    if (sum < least) {
      best = factor;
      least = sum;
    }
  }
  return best;
}
