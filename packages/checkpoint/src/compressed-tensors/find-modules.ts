// Which tensors of a checkpoint belong to a quantized weight, and under which group of the configuration it was coded.
//
// The stored tensors decide, not the names in `targets`: a module with `weight_packed`, or with `weight_scale` beside
// its `weight`, is quantized; its group is the one whose format, bits, zero points and scale shape all fit. Two groups
// that fit and would restore different values are an error, never a guess.
import {
  PithError,
  type FloatScheme,
  type IntegerScheme,
  type PackedLayout,
  type QuantizationScheme,
} from '@pith/tensor-core';
import type { StoredTensor } from '../safetensors/safetensors-file.ts';
import type { CompressedConfig, CompressedGroup } from './quantization-config.ts';
import { packedLayouts } from './packed-layouts.ts';

/** The stored tensors of one quantized weight. */
export interface ModuleTensors {
  /** Module path: `model.layers.0.mlp.up_proj`. */
  readonly module: string;
  readonly codes: StoredTensor;
  readonly scales: StoredTensor;
  readonly zeroPoints?: StoredTensor;
  readonly shape?: StoredTensor;
  /** Static scale of the inputs, and its zero point. */
  readonly inputScale?: StoredTensor;
  readonly inputZeroPoint?: StoredTensor;
}

/** How one quantized weight is to be read. */
export interface ModuleReading {
  readonly group: CompressedGroup;
  readonly scheme: QuantizationScheme;
  /** Layouts that the word counts allow; both hold the same values where there are two. */
  readonly layouts: readonly PackedLayout[];
}

const REFUSED: Readonly<Record<string, string>> = Object.freeze({
  weight_g_idx: 'columns in another order (weight_g_idx)',
  weight_global_scale: 'a global scale (weight_global_scale)',
});

/**
 * Finds the quantized modules among the tensors of a checkpoint.
 *
 * @throws PithError `CT_TENSOR_MISSING` (parts of a module that are not there), `CT_SCHEME_UNSUPPORTED`.
 */
export function findModules(tensors: ReadonlyMap<string, StoredTensor>): ModuleTensors[] {
  const modules: ModuleTensors[] = [];
  for (const [name, tensor] of tensors) {
    for (const [suffix, what] of Object.entries(REFUSED)) {
      if (name.endsWith(`.${suffix}`)) throw unsupported(name.slice(0, -suffix.length - 1), what);
    }
    if (name.endsWith('.weight_packed')) {
      const module = name.slice(0, -'.weight_packed'.length);
      modules.push(collect(tensors, module, tensor, true));
    } else if (name.endsWith('.weight') && tensors.has(`${name}_scale`)) {
      modules.push(collect(tensors, name.slice(0, -'.weight'.length), tensor, false));
    } else if (name.endsWith('.weight_scale')) {
      const base = name.slice(0, -'_scale'.length);
      if (!tensors.has(base) && !tensors.has(`${base}_packed`)) throw missing(name, `${base}_packed or ${base}`);
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
  if (packed && !shape) throw missing(codes.name, `${base}_shape`);
  const inputScale = tensors.get(`${module}.input_scale`);
  const inputZeroPoint = tensors.get(`${module}.input_zero_point`);
  return {
    ...{ module, codes, scales },
    ...(zeroPoints && { zeroPoints }),
    ...(packed && { shape: shape! }),
    ...(inputScale && { inputScale }),
    ...(inputZeroPoint && { inputZeroPoint }),
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

/** How a module reads under a group, or why it does not fit. */
function fit(parts: ModuleTensors, rows: number, columns: number, group: CompressedGroup): ModuleReading | string {
  const { codes, scales, zeroPoints } = parts;
  const packed = group.format === 'pack-quantized';
  const wanted = packed ? 'i32' : group.format === 'int-quantized' ? 'i8' : 'f8_e4m3';
  if (packed !== (parts.shape !== undefined)) return `the codes are${packed ? ' not' : ''} packed`;
  if (codes.dtype !== wanted) return `the codes are ${codes.dtype}, not ${wanted}`;
  if (codes.shape.length !== 2 || codes.shape[0] !== rows) return `the codes have shape [${codes.shape.join(', ')}]`;
  const scaleDType = scales.dtype;
  if (scaleDType !== 'f32' && scaleDType !== 'f16' && scaleDType !== 'bf16') return `the scales are ${scaleDType}`;
  const groups = group.strategy === 'group' ? columns / group.groupSize! : 1;
  if (!Number.isInteger(groups)) return `groups of ${group.groupSize} do not divide ${columns} columns`;
  const perTensor = group.strategy === 'tensor';
  const shapes = perTensor ? ['1', ''] : groups === 1 ? [`${rows},1`, `${rows}`] : [`${rows},${groups}`];
  if (!shapes.includes(scales.shape.join())) return `the scales have shape [${scales.shape.join(', ')}]`;
  if (group.symmetric === (zeroPoints !== undefined)) {
    return zeroPoints ? 'there are zero points' : 'there are no zero points';
  }
  const packedZeros = packed && !perTensor;
  if (zeroPoints && zeroPoints.dtype !== (packedZeros ? 'i32' : 'i8')) return `the zero points are ${zeroPoints.dtype}`;
  if (zeroPoints && !packedZeros && !shapes.includes(zeroPoints.shape.join())) {
    return `the zero points have shape [${zeroPoints.shape.join(', ')}]`;
  }
  const layouts = packed ? packedLayouts(parts, rows, columns, groups, group.bits, packedZeros) : [];
  if (packed && layouts.length === 0) {
    return `no packing of ${group.bits} bits has codes of shape [${codes.shape.join(', ')}] for [${rows}, ${columns}]`;
  }
  return { group, scheme: schemeOf(group, scaleDType), layouts };
}

function schemeOf(group: CompressedGroup, scaleDType: 'f32' | 'f16' | 'bf16'): QuantizationScheme {
  const granularity =
    group.strategy === 'group'
      ? ({ kind: 'group', size: group.groupSize! } as const)
      : ({ kind: group.strategy } as const);
  if (group.type === 'float') return { kind: 'float', dtype: 'f8_e4m3', granularity, scaleDType } satisfies FloatScheme;
  const { bits, symmetric } = group;
  return { kind: 'int', bits, symmetric, granularity, scaleDType } satisfies IntegerScheme;
}

/** True when two readings restore the same values: bits matter only where they decide how words are cut. */
function sameReading(a: ModuleReading, b: ModuleReading, rows: number, columns: number): boolean {
  const key = ({ group, layouts }: ModuleReading): string => {
    const groups = group.strategy === 'group' ? columns / group.groupSize! : 1;
    const perTensor = group.strategy === 'tensor' && rows > 1;
    return JSON.stringify([group.type, perTensor, groups, layouts, layouts.length > 0 ? group.bits : 0]);
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

function unsupported(module: string, what: string): PithError {
  return new PithError(
    'CT_SCHEME_UNSUPPORTED',
    `read compressed-tensors: module ${JSON.stringify(module)} has ${what}, which is not read yet`,
    { details: { module, what } },
  );
}
