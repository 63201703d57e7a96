// What the writers of module formats share.
import { fromF32, PithError, toF32, type IntegerScheme } from '@pith/tensor-core';
import { storedBits, type StoredDType } from '../safetensors/stored-dtype.ts';
import type { FormatContext, FormatTensor, StoredShape } from './weight-format.ts';

/** A stored tensor with its bytes. */
export function storedTensor(name: string, dtype: StoredDType, shape: readonly number[]): FormatTensor {
  return { name, dtype, shape, byteLength: Math.ceil((storedBits(dtype) * shape.reduce((a, b) => a * b, 1)) / 8) };
}

/** What {@link requireIntegers} holds a weight to. */
export interface IntegerRule {
  /** In messages: `gptq`. */
  readonly format: string;
  /** First part of the codes: `GPTQ`. */
  readonly code: string;
  /** Bits that are packed. */
  readonly bits: readonly number[];
}

/** A weight of integer codes, described. */
export interface IntegerLayout {
  /** Path of the module. */
  readonly module: string;
  /** Outputs. */
  readonly rows: number;
  /** Inputs. */
  readonly columns: number;
  /** Groups of a row. */
  readonly groups: number;
  /** How it is coded. */
  readonly scheme: IntegerScheme;
}

/**
 * The layout of a weight that a format of integer codes holds, one scale for each channel or group.
 *
 * @throws PithError `<CODE>_NAME_UNSUPPORTED`, `<CODE>_SHAPE_UNSUPPORTED`, `<CODE>_SCHEME_UNSUPPORTED`.
 */
export function requireIntegers(weight: StoredShape, { activations }: FormatContext, rule: IntegerRule): IntegerLayout {
  const { name, shape, scheme } = weight;
  const { format, code, bits } = rule;
  const fail = (what: string, why: string) =>
    new PithError(`${code}_${what}_UNSUPPORTED`, `store "${name}" as ${format}: ${why}`, {
      details: { tensor: name, shape, scheme, format },
    });
  const { module, rows, columns } = requireModule(weight, fail);
  if (scheme.kind !== 'int') {
    const kind = {
      float: 'floating-point codes; choose a scheme like w4g128',
      affine: 'offsets in floating point; store it as mlx or hqq, or quantize it with another method',
      table: 'codes of a table; choose a scheme like w4g128',
    };
    throw fail('SCHEME', `the format holds integer codes, got ${kind[scheme.kind]}`);
  }
  if (!bits.includes(scheme.bits)) {
    throw fail('SCHEME', `codes must have ${bits.join(', ')} bits, got ${scheme.bits}; choose another scheme`);
  }
  if (weight.activations !== undefined || activations === true) {
    throw fail('SCHEME', 'the format says nothing of activations, got quantized ones; use compressed-tensors');
  }
  const { granularity } = scheme;
  if (granularity.kind !== 'group' && granularity.kind !== 'channel') {
    throw fail('SCHEME', `there must be a scale for each channel or group, got one for each ${granularity.kind}`);
  }
  const groups = granularity.kind === 'group' ? columns / granularity.size : 1;
  if (!Number.isInteger(groups)) {
    const { size } = granularity as { size: number };
    throw fail('SHAPE', `groups of ${size} must divide the ${columns} columns; choose a size that does`);
  }
  return { module, rows, columns, groups, scheme };
}

/** Makes an error: `SHAPE`, and why. */
export type Fail = (what: string, why: string) => PithError;

/** Module and shape of a weight. @throws what `fail` makes */
export function requireModule({ name, shape }: Pick<StoredShape, 'name' | 'shape'>, fail: Fail) {
  if (!name.endsWith('.weight')) throw fail('NAME', 'the name of a quantized weight must end in ".weight"');
  const [rows, columns] = shape;
  if (shape.length !== 2 || !(rows! > 0) || !(columns! > 0)) {
    throw fail('SHAPE', `the weight must be a matrix, got [${shape.join(', ')}]`);
  }
  return { module: name.slice(0, -'.weight'.length), rows: rows!, columns: columns! };
}

/**
 * Scales as f16 has them; those below its range become 0, as the tools of these formats store them.
 *
 * @throws PithError `SCALE_OVERFLOW` for one above its range.
 */
export function intoHalf(scales: Float32Array, name: string, format: string): Float32Array {
  const half = toF32('f16', fromF32('f16', scales));
  const wrong = half.findIndex((scale) => !Number.isFinite(scale));
  if (wrong < 0) return half;
  throw new PithError(
    'SCALE_OVERFLOW',
    `store "${name}" as ${format}: scales must be numbers of f16, got ${scales[wrong]}; leave the weight dense (ignore)`,
    { details: { tensor: name, scale: scales[wrong]! } },
  );
}

/** Refuses weights that one configuration cannot describe together, naming all of the smaller kinds. */
export function mixedWeights(
  format: string,
  code: string,
  weights: readonly StoredShape[],
  key: (weight: StoredShape) => string,
): void {
  const kinds = new Map<string, string[]>();
  for (const weight of weights) kinds.set(key(weight), [...(kinds.get(key(weight)) ?? []), weight.name]);
  if (kinds.size <= 1) return;
  const [[most], ...others] = [...kinds].sort(([, a], [, b]) => b.length - a.length);
  const listed = others.flatMap(([kind, names]) => names.map((name) => `${name} (${kind})`));
  throw new PithError(
    `${code}_MIXED`,
    `store weights as ${format}: one configuration describes all weights, most are ${most}, got also ` +
      `${listed.slice(0, 20).join(', ')}${listed.length > 20 ? `, and ${listed.length - 20} more` : ''}; quantize all alike, ` +
      'or use compressed-tensors',
    { details: { format, kinds: [...kinds.keys()] } },
  );
}
