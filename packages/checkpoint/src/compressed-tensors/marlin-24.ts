// marlin-24: 2:4 sparse integers of 4 or 8 bits in the order in which one kernel loads them. The library wrote it until version
// 0.14 and never read it back; here it is read, and not written: runtimes have dropped the kernel.
//
// | tensor         | holds                                                                                        |
// | -------------- | -------------------------------------------------------------------------------------------- |
// | `weight_packed`| i32 [columns / 32, rows * bits / 2]: the two kept codes of each four columns, plus 2^(bits-1) |
// | `scale_packed` | f16 [groups, rows]                                                                           |
// | `meta`         | i16 [columns / 32, 2 rows]: which two of the four columns, two bits for each                  |
//
// Everything lies in stripes of 64 rows. Codes: tiles of 16 kept columns by 16 rows, four of them beside each other and
// shuffled as one run of 1024 (`TILE_ORDER`), one such run after the other for the 64 rows of a stripe. Positions: words of 16
// columns, in the order of CUTLASS (rows of a stripe shuffled, words of neighbouring columns interleaved).
//
// Source: compressed-tensors 0.14, `compressors/quantized_compressors/marlin_24.py`, `utils/permutations_24.py` and
// `utils/semi_structured_conversions.py`.
import { PithError, quantizedWeight, toF32, type QuantizedWeight, type QuantizationScheme } from '@pith/tensor-core';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import { strategyOf, unsupportedScheme, type GroupArgs } from './config-schema.ts';

/** Name of the format. */
export const MARLIN_24 = 'marlin-24';

/** Rows that lie together. */
const STRIPE = 64;
/** Columns of the smallest unit: 16 kept ones. */
const UNIT = 32;
/** The one group size that the kernel knows. */
const GROUP_SIZE = 128;

/** A config group whose weights are stored as marlin-24. */
export interface MarlinGroup {
  /** Key in `config_groups`. */
  readonly name: string;
  /** Bits of a code. */
  readonly bits: 4 | 8;
  /** True with a scale for each 128 columns, false with one for each row. */
  readonly grouped: boolean;
}

/** A weight and the tensors that it lies in. */
export interface StoredMarlin {
  /** The weight, by the name of its dense form; zeros have the code 0. */
  readonly weight: QuantizedWeight;
  /** The tensor that stands for it in the order of the file. */
  readonly first: string;
  /** All its tensors. */
  readonly names: readonly string[];
}

/** Reads a config group. @throws PithError `CT_SCHEME_UNSUPPORTED` */
export function readMarlinGroup(
  name: string,
  { weights, input_activations: inputs }: GroupArgs,
  file: string,
): MarlinGroup {
  const refuse = (what: string) => unsupportedScheme(`${what} in the format ${MARLIN_24}`, name, file);
  const { num_bits: bits = 0, type, symmetric, group_size: size } = weights!;
  const strategy = strategyOf(weights!);
  if (type !== 'int' || (bits !== 4 && bits !== 8)) throw refuse(`${bits}-bit ${type} codes`);
  if (!symmetric) throw refuse('zero points');
  if (strategy !== 'channel' && strategy !== 'group') throw refuse(`strategy "${strategy.slice(0, 40)}"`);
  if (strategy === 'group' && size !== GROUP_SIZE) throw refuse(`groups of ${String(size)}, not ${GROUP_SIZE},`);
  if (inputs) throw refuse('quantized activations');
  return { name, bits, grouped: strategy === 'group' };
}

/**
 * Finds the weights among the tensors of a checkpoint; nothing is read.
 *
 * @throws PithError `CT_TENSOR_MISSING`, `CT_SHAPE_INVALID` (tensors that do not fit one another), `CT_GROUP_UNKNOWN`.
 */
export function readMarlinWeights(
  tensors: ReadonlyMap<string, StoredTensor>,
  groups: readonly MarlinGroup[],
): StoredMarlin[] {
  const found: StoredMarlin[] = [];
  for (const [name, scales] of tensors) {
    if (!name.endsWith('.scale_packed')) continue;
    const module = name.slice(0, -'.scale_packed'.length);
    const part = (suffix: string): StoredTensor => {
      const tensor = tensors.get(`${module}.${suffix}`);
      if (tensor) return tensor;
      throw new PithError(
        'CT_TENSOR_MISSING',
        `read compressed-tensors: tensor ${JSON.stringify(name)} must have ${JSON.stringify(`${module}.${suffix}`)} beside it, ` +
          'it has not; get the checkpoint again',
        { details: { tensor: name, missing: `${module}.${suffix}` } },
      );
    };
    const parts = { module, codes: part('weight_packed'), meta: part('meta'), scales };
    const names = [parts.codes, parts.meta, scales].map((tensor) => tensor.name);
    found.push({ weight: describe(parts, groups), first: parts.codes.name, names });
  }
  return found;
}

interface Parts {
  readonly module: string;
  readonly codes: StoredTensor;
  readonly meta: StoredTensor;
  readonly scales: StoredTensor;
}

function describe(parts: Parts, groups: readonly MarlinGroup[]): QuantizedWeight {
  const { module, codes, meta, scales } = parts;
  const rows = scales.shape[1] ?? 0;
  const columns = UNIT * (meta.shape[0] ?? 0);
  const shapes = [codes, meta, scales].map(({ dtype, shape }) => `${dtype} [${shape.join(', ')}]`).join(', ');
  const group = groups.find(({ bits, grouped }) => {
    const packed = `${columns / UNIT},${(rows * bits) / 2}`;
    return codes.shape.join() === packed && (scales.shape[0] ?? 0) === (grouped ? columns / GROUP_SIZE : 1);
  });
  const dtypes = codes.dtype === 'i32' && meta.dtype === 'i16' && scales.dtype === 'f16';
  const whole = rows > 0 && rows % STRIPE === 0 && columns > 0 && meta.shape.join() === `${columns / UNIT},${2 * rows}`;
  if (!dtypes || !whole || scales.shape.length !== 2) {
    throw new PithError(
      'CT_SHAPE_INVALID',
      `read compressed-tensors: codes, positions and scales of ${JSON.stringify(module)} in ${codes.file} must be those of one ` +
        `${MARLIN_24} matrix, got ${shapes}; get the checkpoint again`,
      { details: { module, file: codes.file } },
    );
  }
  if (group === undefined) {
    throw new PithError(
      'CT_GROUP_UNKNOWN',
      `read compressed-tensors: the tensors of ${JSON.stringify(module)} must fit a config group of ${MARLIN_24}, got ${shapes}; ` +
        'config.json and the weights do not belong together, or were changed',
      { details: { module, file: codes.file } },
    );
  }
  const { bits, grouped } = group;
  const scheme: QuantizationScheme = {
    ...{ kind: 'int', bits, symmetric: true, scaleDType: 'f16' },
    granularity: grouped ? { kind: 'group', size: GROUP_SIZE } : { kind: 'channel' },
  };
  const perRow = (columns * bits) / 16 + columns / 8 + 2 * (scales.shape[0] ?? 0);
  return quantizedWeight({
    ...{ name: `${module}.weight`, shape: [rows, columns], scheme },
    byteLengthOfRows: (start, end) => (end - start) * perRow,
    read: async (start, end) => {
      const first = Math.floor(start / STRIPE);
      const last = Math.ceil(end / STRIPE);
      const all = new Int8Array((last - first) * STRIPE * columns);
      for (let stripe = first; stripe < last; stripe += 1) {
        const into = all.subarray((stripe - first) * STRIPE * columns, (stripe - first + 1) * STRIPE * columns);
        await readStripe(parts, { rows, columns, bits, stripe }, into);
      }
      const skipped = (start - first * STRIPE) * columns;
      return {
        codes: all.subarray(skipped, skipped + (end - start) * columns),
        scales: await readScales(parts, { rows, columns, grouped }, start, end),
      };
    },
  });
}

interface StripePlace {
  readonly rows: number;
  readonly columns: number;
  readonly bits: 4 | 8;
  readonly stripe: number;
}

/** Codes of 64 rows, [64, columns]; those that are not kept stay 0. */
async function readStripe({ codes, meta }: Parts, place: StripePlace, into: Int8Array): Promise<void> {
  const { rows, columns, bits, stripe } = place;
  const order = TILE_ORDER[bits];
  const runBytes = 128 * bits;
  const half = 2 ** (bits - 1);
  const metaBytes = 4 * STRIPE;
  for (let unit = 0; unit < columns / UNIT; unit += 1) {
    const [packed, positions] = await Promise.all([
      codes.source.read((unit * (rows / STRIPE) + stripe) * runBytes, runBytes),
      meta.source.read(unit * 4 * rows + stripe * metaBytes, metaBytes),
    ]);
    const words = new DataView(positions.buffer, positions.byteOffset, positions.byteLength);
    for (let at = 0; at < 1024; at += 1) {
      const byte = packed[(at * bits) >> 3]!;
      const code = (bits === 8 ? byte : at % 2 === 0 ? byte & 15 : byte >> 4) - half;
      const place = order[at]!;
      // 16 x 16 tiles: kept column outside, row inside.
      const row = 16 * (place >> 8) + (place & 15);
      const kept = (place >> 4) & 15;
      // Eight kept columns, four quads, to a word of positions.
      const word = words.getUint16(2 * positionOf(row, kept >> 3), true);
      const column = 4 * (kept >> 1) + ((word >> (2 * (kept & 7))) & 3);
      into[row * columns + UNIT * unit + column] = code;
    }
  }
}

/** Where the positions of a row of a stripe lie, for the first or second 16 of 32 columns. */
function positionOf(row: number, half: number): number {
  const shuffled = (row % 2) * 2 + ((row % 8) >> 2) + ((row % 4) >> 1) * 32 + (row >> 3) * 4;
  const swap = shuffled % 2 === 0 && half === 1 ? 1 : shuffled % 2 === 1 && half === 0 ? -1 : 0;
  return 2 * (shuffled + swap) + half - swap;
}

/**
 * Scales of rows, [rows, groups]. In groups smaller than the kept columns those of 8 neighbouring rows are shuffled.
 *
 * @throws PithError `CT_SCALE_INVALID`.
 */
async function readScales(
  { scales }: Parts,
  { rows, columns, grouped }: { readonly rows: number; readonly columns: number; readonly grouped: boolean },
  start: number,
  end: number,
): Promise<Float32Array> {
  const groups = scales.shape[0]!;
  const shuffled = grouped && GROUP_SIZE < columns / 2;
  const [from, to] = [Math.floor(start / 8) * 8, Math.ceil(end / 8) * 8];
  const result = new Float32Array((end - start) * groups);
  for (let group = 0; group < groups; group += 1) {
    const values = toF32('f16', await scales.source.read(2 * (group * rows + from), 2 * (to - from)));
    for (let row = start; row < end; row += 1) {
      const inside = row % 8;
      // Stored in the order 0, 4, 1, 5, 2, 6, 3, 7.
      const stored = shuffled ? row - inside + (inside < 4 ? 2 * inside : 2 * inside - 7) : row;
      const value = values[stored - from]!;
      if (!Number.isFinite(value)) throw invalidScale(scales, value, row);
      result[(row - start) * groups + group] = value;
    }
  }
  return result;
}

function invalidScale({ name, file }: StoredTensor, value: number, row: number): PithError {
  return new PithError(
    'CT_SCALE_INVALID',
    `read compressed-tensors: the scales of tensor ${JSON.stringify(name)} in ${file} must be finite, got ${value} in row ${row}; ` +
      'get the checkpoint again',
    { details: { tensor: name, file, row, value: String(value) } },
  );
}

/** Where each of 1024 stored codes comes from: four tiles of 16 kept columns by 16 rows. */
function tileOrder(interleave: readonly number[]): Uint16Array {
  const order: number[] = [];
  for (let lane = 0; lane < 32; lane += 1) {
    const column = lane >> 2;
    const base = 256 * (column >> 1) + 8 * (column % 2);
    const pair = 2 * (lane % 4);
    for (let offset = 0; offset < 4; offset += 1) {
      for (const block of [0, 4]) {
        for (const row of [pair, pair + 1, pair + 8, pair + 9]) order.push(16 * row + base + block + offset);
      }
    }
  }
  const run = interleave.length;
  return Uint16Array.from(order, (_, at) => order[at - (at % run) + interleave[at % run]!]!);
}

const TILE_ORDER = Object.freeze({ 4: tileOrder([0, 2, 4, 6, 1, 3, 5, 7]), 8: tileOrder([0, 2, 1, 3]) });
