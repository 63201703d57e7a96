// The tensors that a quantized weight becomes under compressed-tensors, known before any value is: a plan needs their
// sizes, and threads write their rows at places fixed in advance.
//
// | format          | codes                                        | zero points                               |
// | --------------- | -------------------------------------------- | ----------------------------------------- |
// | pack-quantized  | `weight_packed` i32 [rows, ceil(cols*b/32)]  | i32 [ceil(rows*b/32), groups], along rows |
// | int-quantized   | `weight` i8 [rows, cols]                     | i8, as the scales                         |
// | float-quantized | `weight` f8_e4m3 [rows, cols]                | none                                      |
//
// `weight_scale` is [rows, groups], [rows, 1] or [1]; pack-quantized adds `weight_shape`, i64 [2]. With one scale per
// tensor the zero point is not packed: i8 [1]. A static scale of the inputs is `input_scale` [1], its zero point
// `input_zero_point` i8 [1].
//
// Source: compressed-tensors 0.20, `compressors/pack_quantized/base.py` and `naive_quantized/base.py`.
import { PithError, type ActivationQuantization, type QuantizationScheme, type StoredScheme } from '@pith/tensor-core';
import type { StoredDType } from '../safetensors/stored-dtype.ts';
import type { CompressedFormat } from './quantization-config.ts';

/** What a stored tensor of a quantized weight holds. */
export type PieceRole = 'codes' | 'scales' | 'zeroPoints' | 'shape' | 'inputScale' | 'inputZeroPoint';

/** A stored tensor of a quantized weight. */
export interface StoredPiece {
  /** What it holds. */
  readonly role: PieceRole;
  /** Name in the file: `model.layers.0.mlp.up_proj.weight_packed`. */
  readonly name: string;
  /** How its values are stored. */
  readonly dtype: StoredDType;
  /** Outermost axis first. */
  readonly shape: readonly number[];
  /** Bytes in the file. */
  readonly byteLength: number;
}

/** A quantized weight as the stored layout needs it: a `QuantizedWeight` is one. */
export interface QuantizedShape {
  /** Name of the dense weight, ending in `.weight`. */
  readonly name: string;
  /** [out features, in features]. */
  readonly shape: readonly number[];
  /** How it is coded. */
  readonly scheme: StoredScheme;
  /** How the runtime quantizes the inputs; a static scale of theirs is stored beside the weight. */
  readonly activations?: ActivationQuantization;
  /** Group of each column where columns were grouped in another order (act-order). */
  readonly groupIndex?: Int32Array;
}

/** @throws PithError `CT_SCHEME_UNSUPPORTED` for columns that are grouped in another order than they lie in. */
export function refuseGroupIndex({ name, groupIndex }: QuantizedShape): void {
  if (groupIndex === undefined) return;
  throw new PithError(
    'CT_SCHEME_UNSUPPORTED',
    `store ${JSON.stringify(name)} as compressed-tensors: columns in another order (act-order) are not stored ` +
      'by the library since 0.19; quantize in the stored order, or with the format gptq',
    { details: { tensor: name } },
  );
}

/**
 * The format that the reference library picks for a scheme: packed integers where activations stay as they are, plain
 * bytes where they are quantized too (`activations`), fp8 as it is.
 */
export function compressedFormat(scheme: StoredScheme, activations: boolean): CompressedFormat {
  if (scheme.kind === 'float') return 'float-quantized';
  return activations ? 'int-quantized' : 'pack-quantized';
}

/**
 * The stored tensors of a quantized weight, in the order codes, scales, zero points, shape, static scale and zero point of
 * the inputs.
 *
 * @throws PithError `CT_SCHEME_UNSUPPORTED` (f8_e5m2, which the format lacks; integers in float-quantized and the other
 * way round), `CT_SHAPE_UNSUPPORTED` (not a matrix, or groups that do not divide the columns), `CT_NAME_UNSUPPORTED`
 * (a name that does not end in `.weight`).
 */
export function storedPieces(weight: QuantizedShape, format: CompressedFormat): readonly StoredPiece[] {
  const [rows, columns] = checkWeight(weight, format);
  const scheme = weight.scheme as QuantizationScheme;
  const module = weight.name.slice(0, -'.weight'.length);
  const { granularity } = scheme;
  const groups = granularity.kind === 'group' ? columns / granularity.size : 1;
  const scaleShape = granularity.kind === 'tensor' ? [1] : [rows, groups];
  const piece = (role: PieceRole, suffix: string, dtype: StoredDType, shape: readonly number[]): StoredPiece => {
    const width =
      dtype === 'i64' ? 8 : dtype === 'i32' || dtype === 'f32' ? 4 : dtype === 'f16' || dtype === 'bf16' ? 2 : 1;
    return { role, name: module + suffix, dtype, shape, byteLength: shape.reduce((a, b) => a * b, width) };
  };
  const pieces: StoredPiece[] = [];
  const scales = piece('scales', '.weight_scale', scheme.scaleDType, scaleShape);
  const inputs: StoredPiece[] = [];
  if (weight.activations?.kind === 'tensor-static') {
    inputs.push(piece('inputScale', '.input_scale', scheme.scaleDType, [1]));
    if (!weight.activations.symmetric) inputs.push(piece('inputZeroPoint', '.input_zero_point', 'i8', [1]));
  }
  if (scheme.kind === 'float') return [piece('codes', '.weight', 'f8_e4m3', [rows, columns]), scales, ...inputs];
  const packed = format === 'pack-quantized';
  if (packed) pieces.push(piece('codes', '.weight_packed', 'i32', [rows, Math.ceil((columns * scheme.bits) / 32)]));
  else pieces.push(piece('codes', '.weight', 'i8', [rows, columns]));
  pieces.push(scales);
  if (!scheme.symmetric) {
    const packedRows = packed && granularity.kind !== 'tensor';
    pieces.push(
      packedRows
        ? piece('zeroPoints', '.weight_zero_point', 'i32', [Math.ceil((rows * scheme.bits) / 32), groups])
        : piece('zeroPoints', '.weight_zero_point', 'i8', scaleShape),
    );
  }
  if (packed) pieces.push(piece('shape', '.weight_shape', 'i64', [2]));
  return [...pieces, ...inputs];
}

function checkWeight({ name, shape, scheme }: QuantizedShape, format: CompressedFormat): [number, number] {
  const operation = `store "${name}" as compressed-tensors`;
  const details = { tensor: name, shape, scheme, format };
  if (!name.endsWith('.weight')) {
    throw new PithError('CT_NAME_UNSUPPORTED', `${operation}: the name of a quantized weight must end in ".weight"`, {
      details,
    });
  }
  const [rows, columns] = shape;
  if (shape.length !== 2 || !(rows! > 0) || !(columns! > 0)) {
    throw new PithError(
      'CT_SHAPE_UNSUPPORTED',
      `${operation}: the weight must be a matrix, got [${shape.join(', ')}]`,
      {
        details,
      },
    );
  }
  if (scheme.granularity.kind === 'group' && columns! % scheme.granularity.size !== 0) {
    throw new PithError(
      'CT_SHAPE_UNSUPPORTED',
      `${operation}: groups of ${scheme.granularity.size} must divide the ${columns} columns; choose a size that does`,
      { details },
    );
  }
  const why = unsupported(scheme, format);
  if (why !== undefined) throw new PithError('CT_SCHEME_UNSUPPORTED', `${operation}: ${why}`, { details });
  return [rows!, columns!];
}

function unsupported(scheme: StoredScheme, format: CompressedFormat): string | undefined {
  if (scheme.kind === 'affine' || scheme.kind === 'table') {
    return `the format has no ${scheme.kind === 'affine' ? 'offsets in floating point' : 'codes of a table'}; restore it and quantize again`;
  }
  if ((scheme.kind === 'float') !== (format === 'float-quantized')) {
    return `${scheme.kind === 'float' ? scheme.dtype : `int${scheme.bits}`} codes do not go into ${format}`;
  }
  if (scheme.kind === 'float' && scheme.dtype !== 'f8_e4m3') {
    return `the format knows f8_e4m3 only, got ${scheme.dtype}; use fp8 e4m3`;
  }
  if (scheme.kind === 'int' && (scheme.bits < 2 || scheme.bits > 8))
    return `2 to 8 bits are stored, got ${scheme.bits}`;
  return undefined;
}
