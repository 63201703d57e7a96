// Which tensors of a checkpoint belong to a quantized weight, and under which group of the configuration it was coded.
//
// The stored tensors decide, not the names in `targets`: a module with `weight_packed`, or with `weight_scale` beside
// its `weight`, is quantized; its group is the one whose format, bits, zero points and scale shape all fit. Two groups
// that fit and would restore different values are an error, never a guess.
import {
  groupsPerRow,
  PithError,
  storedScaleCount,
  type PackedLayout,
  type QuantizationScheme,
  type ScaleDType,
} from '@pith/tensor-core';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import type { CompressedConfig } from './quantization-config.ts';
import type { CompressedGroup } from './read-group.ts';
import { packedLayouts } from './packed-layouts.ts';
import { moduleOfSparse, sparseParts, type SparseParts } from './sparse-pattern.ts';

/** The stored tensors of one quantized weight. */
export interface ModuleTensors {
  /** Module path: `model.layers.0.mlp.up_proj`. */
  readonly module: string;
  readonly codes: StoredTensor;
  readonly scales: StoredTensor;
  readonly zeroPoints?: StoredTensor;
  /** What scales are divided by. */
  readonly globalScale?: StoredTensor;
  /** Group of each column. */
  readonly groupIndex?: StoredTensor;
  readonly shape?: StoredTensor;
  /** Static scale of the inputs, and its zero point. */
  readonly inputScale?: StoredTensor;
  readonly inputZeroPoint?: StoredTensor;
  /** What dynamic scales of the inputs are divided by. */
  readonly inputGlobalScale?: StoredTensor;
  /** Where the codes stand, of codes that are stored sparse. */
  readonly sparse?: SparseParts;
}

/** All tensors of a module. */
export function tensorsOf(parts: ModuleTensors): StoredTensor[] {
  const { codes, scales, zeroPoints, globalScale, groupIndex, shape } = parts;
  const { inputScale, inputZeroPoint, inputGlobalScale, sparse } = parts;
  const all = [
    ...[codes, scales, zeroPoints, globalScale, groupIndex, shape, inputScale, inputZeroPoint, inputGlobalScale],
    ...[sparse?.bitmask, sparse?.rowOffsets, sparse?.shape],
  ];
  return all.filter((tensor) => tensor !== undefined);
}

/** How one quantized weight is to be read. */
export interface ModuleReading {
  readonly group: CompressedGroup;
  readonly scheme: QuantizationScheme;
  /** Layouts that the word counts allow; both hold the same values where there are two. */
  readonly layouts: readonly PackedLayout[];
}

/**
 * Finds the quantized modules among the tensors of a checkpoint.
 *
 * @throws PithError `CT_TENSOR_MISSING` (parts of a module that are not there).
 */
export function findModules(tensors: ReadonlyMap<string, StoredTensor>): ModuleTensors[] {
  const modules: ModuleTensors[] = [];
  for (const [name, tensor] of tensors) {
    if (name.endsWith('.weight_packed') && tensors.has(`${name.slice(0, -'weight_packed'.length)}scale_packed`)) {
      // marlin-24, which has a reader of its own.
      continue;
    }
    if (name.endsWith('.weight_packed')) {
      const module = name.slice(0, -'.weight_packed'.length);
      modules.push(collect(tensors, module, tensor, true));
    } else if (name.endsWith('.weight') && tensors.has(`${name}_scale`)) {
      modules.push(collect(tensors, name.slice(0, -'.weight'.length), tensor, false));
    } else if (name.endsWith('.compressed') && tensors.has(`${moduleOfSparse(name)}.weight_scale`)) {
      const sparse = sparseParts(tensors, name.slice(0, -'.compressed'.length), name);
      modules.push({ ...collect(tensors, moduleOfSparse(name), tensor, false), sparse });
    } else if (name.endsWith('.weight_scale')) {
      const base = name.slice(0, -'_scale'.length);
      const module = base.slice(0, -'.weight'.length);
      const known = [base, `${base}_packed`, `${base}.compressed`, `${module}.compressed`];
      if (!known.some((one) => tensors.has(one))) throw missing(name, `${base}_packed or ${base}`);
    }
  }
  return modules;
}

function collect(
  tensors: ReadonlyMap<string, StoredTensor>,
  module: string,
  codes: StoredTensor,
  packed: boolean,
): ModuleTensors {
  const base = `${module}.weight`;
  const scales = tensors.get(`${base}_scale`);
  const shape = tensors.get(`${base}_shape`);
  const zeroPoints = tensors.get(`${base}_zero_point`);
  if (!scales) throw missing(codes.name, `${base}_scale`);
  // Two codes of 4 bits to a byte fill it: their shape needs no record.
  if (packed && codes.dtype !== 'u8' && !shape) throw missing(codes.name, `${base}_shape`);
  const globalScale = tensors.get(`${base}_global_scale`);
  const groupIndex = tensors.get(`${base}_g_idx`);
  const inputScale = tensors.get(`${module}.input_scale`);
  const inputZeroPoint = tensors.get(`${module}.input_zero_point`);
  const inputGlobalScale = tensors.get(`${module}.input_global_scale`);
  return {
    ...{ module, codes, scales },
    ...(zeroPoints && { zeroPoints }),
    ...(globalScale && { globalScale }),
    ...(groupIndex && { groupIndex }),
    ...(packed && shape && { shape }),
    ...(inputScale && { inputScale }),
    ...(inputZeroPoint && { inputZeroPoint }),
    ...(inputGlobalScale && { inputGlobalScale }),
  };
}

/**
 * The group under which a module of dense shape [rows, columns] was coded.
 *
 * @throws PithError `CT_GROUP_UNKNOWN` (no group fits the tensors: all reasons are given), `CT_GROUP_AMBIGUOUS`.
 */
export function readingOf(
  parts: ModuleTensors,
  [rows, columns]: readonly [number, number],
  config: CompressedConfig,
): ModuleReading {
  const fitting: ModuleReading[] = [];
  const reasons: string[] = [];
  for (const group of config.groups) {
    const result = fit(parts, rows, columns, group);
    if (typeof result === 'string') reasons.push(`${group.name}: ${result}`);
    else if (!fitting.some((other) => sameReading(other, result, rows, columns))) fitting.push(result);
  }
  if (fitting.length === 1) return fitting[0]!;
  const which = fitting.map(({ group }) => group.name).join(', ');
  throw new PithError(
    fitting.length === 0 ? 'CT_GROUP_UNKNOWN' : 'CT_GROUP_AMBIGUOUS',
    `read compressed-tensors: the tensors of ${JSON.stringify(parts.module)} must fit one config group, ` +
      `${fitting.length === 0 ? `they fit none (${reasons.slice(0, 5).join('; ') || 'there are no groups'})` : `they fit ${which}`}; ` +
      `config.json and the weights do not belong together, or were changed`,
    { details: { module: parts.module, file: parts.codes.file, reasons } },
  );
}

/** Dtype of the codes in each format. */
const CODE_DTYPES = {
  'pack-quantized': 'i32',
  'int-quantized': 'i8',
  'float-quantized': 'f8_e4m3',
  'nvfp4-pack-quantized': 'u8',
  'mxfp4-pack-quantized': 'u8',
  'mxfp8-quantized': 'f8_e4m3',
} as const;

/** How a module reads under a group, or why it does not fit. */
function fit(parts: ModuleTensors, rows: number, columns: number, group: CompressedGroup): ModuleReading | string {
  const { codes, scales, zeroPoints, globalScale, groupIndex } = parts;
  const { granularity } = group;
  const packed = group.format === 'pack-quantized';
  const wanted = CODE_DTYPES[group.format];
  if (packed !== (parts.shape !== undefined)) return `the codes are${packed ? ' not' : ''} packed`;
  if (codes.dtype !== wanted) return `the codes are ${codes.dtype}, not ${wanted}`;
  if (parts.sparse === undefined && (codes.shape.length !== 2 || codes.shape[0] !== rows))
    return `the codes have shape [${codes.shape.join(', ')}]`;
  const scaleDType = scales.dtype;
  if (group.scaleDType !== undefined) {
    const coded = group.scaleDType === 'f8_e8m0' ? 'u8' : group.scaleDType;
    if (scaleDType !== coded) return `the scales are ${scaleDType}, not ${coded}`;
  } else if (!isPlainScale(scaleDType)) return `the scales are ${scaleDType}`;
  if ((group.scaleDType === 'f8_e4m3') !== (globalScale !== undefined)) {
    return globalScale ? 'there is a global scale' : 'there is no global scale';
  }
  if (granularity.kind === 'group' && columns % granularity.size !== 0) {
    return `groups of ${granularity.size} do not divide ${columns} columns`;
  }
  const groups = groupsPerRow(granularity, columns);
  const perTensor = granularity.kind === 'tensor';
  const scaleRows = perTensor ? 1 : storedScaleCount(granularity, rows, columns) / groups;
  const shapes = perTensor ? ['1', ''] : [`${scaleRows},${groups}`];
  if (!perTensor && groups === 1 && granularity.kind !== 'block') shapes.push(`${rows}`);
  if (!shapes.includes(scales.shape.join())) return `the scales have shape [${scales.shape.join(', ')}]`;
  if (group.symmetric === (zeroPoints !== undefined)) {
    return zeroPoints ? 'there are zero points' : 'there are no zero points';
  }
  const packedZeros = packed && !perTensor;
  if (zeroPoints && zeroPoints.dtype !== (packedZeros ? 'i32' : 'i8')) return `the zero points are ${zeroPoints.dtype}`;
  if (zeroPoints && !packedZeros && !shapes.includes(zeroPoints.shape.join())) {
    return `the zero points have shape [${zeroPoints.shape.join(', ')}]`;
  }
  if (groupIndex && (granularity.kind !== 'group' || !packed)) return 'there is a group index';
  const layouts = packed ? packedLayouts(parts, rows, columns, groups, group.bits, packedZeros) : [];
  if (packed && layouts.length === 0) {
    return `no packing of ${group.bits} bits has codes of shape [${codes.shape.join(', ')}] for [${rows}, ${columns}]`;
  }
  return { group, scheme: schemeOf(group, scaleDType as ScaleDType), layouts };
}

function isPlainScale(dtype: string): dtype is ScaleDType {
  return dtype === 'f32' || dtype === 'f16' || dtype === 'bf16';
}

function schemeOf({ type, bits, symmetric, granularity, scaleDType: micro }: CompressedGroup, plain: ScaleDType) {
  const scheme: QuantizationScheme =
    type === 'int'
      ? { kind: 'int', bits, symmetric, granularity, scaleDType: plain }
      : { kind: 'float', dtype: bits === 4 ? 'f4_e2m1' : 'f8_e4m3', granularity, scaleDType: micro ?? plain };
  return scheme;
}

/** True when two readings restore the same values: bits matter only where they decide how words are cut. */
function sameReading(a: ModuleReading, b: ModuleReading, rows: number, columns: number): boolean {
  const key = ({ group, layouts }: ModuleReading): string => {
    const { granularity } = group;
    const perTensor = granularity.kind === 'tensor' && rows > 1;
    const form = granularity.kind === 'block' ? granularity : groupsPerRow(granularity, columns);
    return JSON.stringify([group.format, perTensor, form, layouts, layouts.length > 0 ? group.bits : 0]);
  };
  return key(a) === key(b);
}

function missing(name: string, part: string): PithError {
  return new PithError(
    'CT_TENSOR_MISSING',
    `read compressed-tensors: tensor ${JSON.stringify(name)} must have ${JSON.stringify(part)} beside it, it has not; ` +
      `get the checkpoint again`,
    { details: { tensor: name, missing: part } },
  );
}
