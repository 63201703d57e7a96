// The tensors that a quantized weight becomes under compressed-tensors, known before any value is: a plan needs their
// sizes, and threads write their rows at places fixed in advance.
//
// | format               | codes                                        | scales                         | zero points                               |
// | -------------------- | -------------------------------------------- | ------------------------------ | ----------------------------------------- |
// | pack-quantized       | `weight_packed` i32 [rows, ceil(cols*b/32)]  | f32, f16, bf16 [rows, groups]  | i32 [ceil(rows*b/32), groups], along rows |
// | int-quantized        | `weight` i8 [rows, cols]                     | as above                       | i8, as the scales                         |
// | float-quantized      | `weight` f8_e4m3 [rows, cols]                | as above                       | none                                      |
// | nvfp4-pack-quantized | `weight_packed` u8 [rows, cols/2]            | f8_e4m3 [rows, cols/16]        | none                                      |
// | mxfp4-pack-quantized | `weight_packed` u8 [rows, cols/2]            | u8 exponents [rows, cols/32]   | none                                      |
// | mxfp8-quantized      | `weight` f8_e4m3 [rows, cols]                | u8 exponents [rows, cols/32]   | none                                      |
//
// `weight_scale` is [rows, groups], [rows, 1] or [1], and of tiles [ceil(rows/tile rows), ceil(cols/tile columns)];
// pack-quantized adds `weight_shape`, i64 [2], nvfp4 `weight_global_scale`, f32 [1], by which scales are divided. With one
// scale per tensor the zero point is not packed: i8 [1]. A static scale of the inputs is `input_scale` [1], its zero point
// `input_zero_point` i8 [1]; a global one `input_global_scale` f32 [1]. Columns that were grouped in an order of their own
// have `weight_g_idx`, i32 [cols].
//
// Source: compressed-tensors 0.19, `compressors/`; `weight_g_idx`: 0.14.
import {
  PithError,
  groupsPerRow,
  restoredDType,
  storedScaleCount,
  type ActivationQuantization,
  type QuantizationScheme,
  type StoredScheme,
} from '@pith/tensor-core';
import type { StoredDType } from '../safetensors/stored-dtype.ts';
import type { CompressedFormat } from './read-group.ts';

/** What a stored tensor of a quantized weight holds. */
export type PieceRole =
  | 'codes'
  | 'scales'
  | 'zeroPoints'
  | 'globalScale'
  | 'groupIndex'
  | 'shape'
  | 'inputScale'
  | 'inputZeroPoint'
  | 'inputGlobalScale';

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
  /** What scales in `f8_e4m3` are divided by. */
  readonly globalScale?: number;
}

/**
 * The format that the reference library picks for a scheme: packed integers where activations stay as they are, plain
 * bytes where they are quantized too (`activations`), floats by their scales.
 */
export function compressedFormat(scheme: StoredScheme, activations: boolean): CompressedFormat {
  if (scheme.kind === 'affine' || scheme.kind === 'table' || scheme.kind === 'int')
    return activations ? 'int-quantized' : 'pack-quantized';
  if (scheme.scaleDType === 'f8_e4m3') return 'nvfp4-pack-quantized';
  if (scheme.scaleDType !== 'f8_e8m0') return 'float-quantized';
  return scheme.dtype === 'f4_e2m1' ? 'mxfp4-pack-quantized' : 'mxfp8-quantized';
}

/**
 * The stored tensors of a quantized weight, in the order of {@link PieceRole}.
 *
 * @throws PithError `CT_SCHEME_UNSUPPORTED` (codes that the format lacks; groups of another size than it has),
 * `CT_SHAPE_UNSUPPORTED` (not a matrix, or groups that do not divide the columns), `CT_NAME_UNSUPPORTED`
 * (a name that does not end in `.weight`).
 */
export function storedPieces(weight: QuantizedShape, format: CompressedFormat): readonly StoredPiece[] {
  const { activations } = weight;
  const [rows, columns] = checkWeight(weight, format);
  const scheme = weight.scheme as QuantizationScheme;
  const module = weight.name.slice(0, -'.weight'.length);
  const { granularity } = scheme;
  const groups = groupsPerRow(granularity, columns);
  const scaleShape =
    granularity.kind === 'tensor' ? [1] : [storedScaleCount(granularity, rows, columns) / groups, groups];
  const piece = (role: PieceRole, suffix: string, dtype: StoredDType, shape: readonly number[]): StoredPiece => {
    const width =
      dtype === 'i64' ? 8 : dtype === 'i32' || dtype === 'f32' ? 4 : dtype === 'f16' || dtype === 'bf16' ? 2 : 1;
    return { role, name: module + suffix, dtype, shape, byteLength: shape.reduce((a, b) => a * b, width) };
  };
  const packed = format === 'pack-quantized';
  const scaleDType = scheme.scaleDType === 'f8_e8m0' ? 'u8' : scheme.scaleDType;
  const pieces: StoredPiece[] = [];
  if (scheme.kind === 'float') {
    if (scheme.dtype === 'f4_e2m1') pieces.push(piece('codes', '.weight_packed', 'u8', [rows, columns / 2]));
    else pieces.push(piece('codes', '.weight', 'f8_e4m3', [rows, columns]));
  } else if (packed) {
    pieces.push(piece('codes', '.weight_packed', 'i32', [rows, Math.ceil((columns * scheme.bits) / 32)]));
  } else pieces.push(piece('codes', '.weight', 'i8', [rows, columns]));
  pieces.push(piece('scales', '.weight_scale', scaleDType, scaleShape));
  if (scheme.kind === 'int' && !scheme.symmetric) {
    const packedRows = packed && granularity.kind !== 'tensor';
    pieces.push(
      packedRows
        ? piece('zeroPoints', '.weight_zero_point', 'i32', [Math.ceil((rows * scheme.bits) / 32), groups])
        : piece('zeroPoints', '.weight_zero_point', 'i8', scaleShape),
    );
  }
  if (scheme.scaleDType === 'f8_e4m3') pieces.push(piece('globalScale', '.weight_global_scale', 'f32', [1]));
  if (weight.groupIndex) pieces.push(piece('groupIndex', '.weight_g_idx', 'i32', [columns]));
  if (packed) pieces.push(piece('shape', '.weight_shape', 'i64', [2]));
  if (activations?.kind === 'tensor-static') {
    pieces.push(piece('inputScale', '.input_scale', restoredDType(scheme), [1]));
    if (!activations.symmetric) pieces.push(piece('inputZeroPoint', '.input_zero_point', 'i8', [1]));
  } else if (activations?.kind === 'group-dynamic' && activations.scaleDType === 'f8_e4m3') {
    pieces.push(piece('inputGlobalScale', '.input_global_scale', 'f32', [1]));
  }
  return pieces;
}

function checkWeight(weight: QuantizedShape, format: CompressedFormat): [number, number] {
  const { name, shape, scheme } = weight;
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
  const why = unsupported(weight, format);
  if (why !== undefined) throw new PithError('CT_SCHEME_UNSUPPORTED', `${operation}: ${why}`, { details });
  return [rows!, columns!];
}

/** Group sizes that the formats of 8-bit scales have. */
const GROUP_SIZES = { 'nvfp4-pack-quantized': 16, 'mxfp4-pack-quantized': 32, 'mxfp8-quantized': 32 } as const;

function unsupported({ scheme, groupIndex }: QuantizedShape, format: CompressedFormat): string | undefined {
  if (scheme.kind === 'affine' || scheme.kind === 'table') {
    return scheme.kind === 'affine'
      ? 'the format has no offsets in floating point; store it as mlx or hqq, or quantize it with another method'
      : 'the format has no codes of a table; restore it and quantize again';
  }
  const { granularity } = scheme;
  if (compressedFormat(scheme, format === 'int-quantized') !== format) {
    return `${scheme.kind === 'float' ? scheme.dtype : `int${scheme.bits}`} codes do not go into ${format}`;
  }
  if (scheme.kind === 'float' && scheme.dtype === 'f8_e5m2') {
    return `the format knows f8_e4m3 only, got ${scheme.dtype}; use fp8 e4m3`;
  }
  const size = format in GROUP_SIZES ? GROUP_SIZES[format as keyof typeof GROUP_SIZES] : undefined;
  if (size !== undefined && (granularity.kind !== 'group' || granularity.size !== size)) {
    return `${format} has groups of ${size} columns, got ${granularity.kind === 'group' ? granularity.size : granularity.kind}`;
  }
  if (format === 'float-quantized' && scheme.kind === 'float' && scheme.dtype === 'f4_e2m1') {
    return `fp4 codes have scales of 8 bits, got ${scheme.scaleDType}; use nvfp4 or mxfp4`;
  }
  if (scheme.kind === 'int' && (scheme.bits < 2 || scheme.bits > 8))
    return `2 to 8 bits are stored, got ${scheme.bits}`;
  if (scheme.kind === 'int' && granularity.kind === 'block') return 'integers have no tiles of one scale; use groups';
  if (groupIndex !== undefined && (format !== 'pack-quantized' || granularity.kind !== 'group')) {
    return `columns in another order (act-order) go with packed integers in groups, got ${format}`;
  }
  if (groupIndex !== undefined && scheme.kind === 'int' && 32 % scheme.bits !== 0) {
    return (
      `columns in another order (act-order) are stored with 2, 4 or 8 bits, got ${scheme.bits}, which the versions of ` +
      'the library that read such columns pack in another way; quantize with actOrder "weight", or store it in the format gptq ' +
      '(--format gptq)'
    );
  }
  return undefined;
}
