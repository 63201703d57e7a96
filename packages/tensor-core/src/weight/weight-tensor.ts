// A stored weight is a value with a shape and a representation (design 2b). Techniques turn one representation into
// another; writers accept those that their format can hold and refuse the others by name.
import type { DType } from '../dtype/dtype.ts';
import type { FileLocation } from './byte-source.ts';

/** Which weights share one scale. Rows are output channels. */
export type Granularity = TensorGranularity | ChannelGranularity | GroupGranularity | BlockGranularity;

/** One scale for the whole weight. */
export interface TensorGranularity {
  /** Tells the union apart. */
  readonly kind: 'tensor';
}

/** One scale for each row. */
export interface ChannelGranularity {
  /** Tells the union apart. */
  readonly kind: 'channel';
}

/** One scale for each run of `size` columns of a row. */
export interface GroupGranularity {
  /** Tells the union apart. */
  readonly kind: 'group';
  /** Columns of a group; divides the columns of the weight. */
  readonly size: number;
}

/** One scale for each tile of `rows` rows and `columns` columns; tiles at the right and lower edge may be smaller. */
export interface BlockGranularity {
  /** Tells the union apart. */
  readonly kind: 'block';
  /** Rows of a tile. */
  readonly rows: number;
  /** Columns of a tile. */
  readonly columns: number;
}

/** Dtypes that scales are stored in. */
export type ScaleDType = 'f32' | 'f16' | 'bf16';

/** Dtypes that scales of 8 bits are stored in: exponents (MX), or e4m3 beside one f32 for the whole tensor (NVFP4). */
export type MicroScaleDType = 'f8_e8m0' | 'f8_e4m3';

/** Integer codes: `value = (code - zeroPoint) * scale`, code in [-2^(bits-1), 2^(bits-1) - 1]. */
export interface IntegerScheme {
  /** Tells the union apart. */
  readonly kind: 'int';
  /** 2 to 8. */
  readonly bits: number;
  /** Without zero points. */
  readonly symmetric: boolean;
  /** Which weights share a scale and a zero point. */
  readonly granularity: Granularity;
  /** What scales are stored in. */
  readonly scaleDType: ScaleDType;
}

/** Floating-point codes: `value = code * scale`. */
export interface FloatScheme {
  /** Tells the union apart. */
  readonly kind: 'float';
  /** Format of the codes. */
  readonly dtype: 'f8_e4m3' | 'f8_e5m2' | 'f4_e2m1';
  /** Which weights share a scale. */
  readonly granularity: Granularity;
  /** What scales are stored in. Scales in `f8_e4m3` are divided by the `globalScale` of the weight. */
  readonly scaleDType: ScaleDType | MicroScaleDType;
}

/** Integer codes from 0 with an offset in floating point (MLX): `value = code * scale + bias`, code in [0, 2^bits - 1]. */
export interface AffineScheme {
  /** Tells the union apart. */
  readonly kind: 'affine';
  /** 2 to 8. */
  readonly bits: number;
  /** Which weights share a scale and a bias. */
  readonly granularity: GroupGranularity;
  /** What scales and biases are stored in; products are rounded to it, then sums. */
  readonly scaleDType: ScaleDType;
}

/** Codes that number the values of a table (bitsandbytes): `value = table[code] * scale`. */
export interface TableScheme {
  /** Tells the union apart. */
  readonly kind: 'table';
  /** Its 16 values, see `codeTable`. */
  readonly table: CodeTable;
  /** Which weights share a scale, the largest magnitude among them. */
  readonly granularity: GroupGranularity;
  /** What scales are restored in. */
  readonly scaleDType: 'f32';
  /** What a runtime rounds restored values to; here they stay f32. */
  readonly valueDType: ScaleDType;
}

/** Tables of 16 values in [-1, 1]: normal quantiles (QLoRA), or a sign, two bits of exponent and one of mantissa. */
export type CodeTable = 'nf4' | 'fp4';

/** How the methods of Pith code weights. */
export type QuantizationScheme = IntegerScheme | FloatScheme;

/** How a quantized weight is coded: by a method, or as a format of its own has it. */
export type StoredScheme = QuantizationScheme | AffineScheme | TableScheme;

/** Codes of 8 bits for the inputs of a linear layer, one scale per token, found while the model runs. */
export interface TokenActivations {
  /** Tells the union apart. */
  readonly kind: 'token-dynamic';
  /** What the inputs are rounded to. */
  readonly dtype: 'i8' | 'f8_e4m3';
  /** Without zero points. */
  readonly symmetric: boolean;
}

/** Codes of 8 bits for the inputs of a linear layer, one scale for all of them, found in calibration. */
export interface TensorActivations {
  /** Tells the union apart. */
  readonly kind: 'tensor-static';
  /** What the inputs are rounded to. */
  readonly dtype: 'i8' | 'f8_e4m3';
  /** Without a zero point. */
  readonly symmetric: boolean;
  /** `value = (code - zeroPoint) * scale`; positive, a value of the weight's scale dtype. */
  readonly scale: number;
  /** Code of the value 0, -128 to 127; 0 where symmetric. */
  readonly zeroPoint: number;
}

/** Floating-point codes for the inputs of a linear layer, one scale for each run of `size` features, found while the model runs. */
export interface GroupActivations {
  /** Tells the union apart. */
  readonly kind: 'group-dynamic';
  /** What the inputs are rounded to. */
  readonly dtype: 'f8_e4m3' | 'f4_e2m1';
  /** Without zero points, always. */
  readonly symmetric: true;
  /** Features of a group. */
  readonly size: number;
  /** What scales are rounded to. */
  readonly scaleDType: 'f32' | MicroScaleDType;
  /**
   * With scales in `f8_e4m3`, from calibration: they are chosen as `globalScale * absmax / 6` and divided by it again. A
   * positive f32.
   */
  readonly globalScale?: number;
}

/** How a runtime quantizes the inputs of a linear layer before it multiplies. */
export type ActivationQuantization = TokenActivations | TensorActivations | GroupActivations;

/** What every representation of a weight can do. Rows are axis 0; a weight of rank 1 has rows of one value. */
export interface WeightBase {
  /** Name in the checkpoint, without the suffixes of a representation: `model.layers.0.mlp.up_proj.weight`. */
  readonly name: string;
  /** Shape of the dense value, outermost axis first; a linear layer's weight is [out features, in features]. */
  readonly shape: readonly number[];
  /** Exact bytes that this representation takes in storage, metadata tensors included. */
  readonly byteLength: number;
  /** The dense value, or rows `start` to `end` (exclusive) of it, as f32 [rows, ...shape.slice(1)] row-major. */
  toF32(start?: number, end?: number): Promise<Float32Array>;
  /** The same representation restricted to rows `start` to `end` (exclusive); nothing is read. */
  slice(start: number, end: number): WeightTensor;
}

/** One value per element, in any dtype. */
export interface DenseWeight extends WeightBase {
  /** Tells the union apart. */
  readonly kind: 'dense';
  /** Format of the values. */
  readonly dtype: DType;
  /** The stored little-endian bytes of rows `start` to `end`. */
  bytes(start?: number, end?: number): Promise<Uint8Array>;
  /** Where the bytes lie in a local file, for workers that read by themselves. */
  readonly file?: FileLocation;
}

/** Codes of rows, unpacked: one signed byte (int) or one byte of bits (float) per weight. */
export interface CodeBlock {
  /** [rows, columns] row-major; unsigned for floats, affine codes and tables. */
  readonly codes: Int8Array | Uint8Array;
  /**
   * What codes are multiplied by, as f32: [rows, groups per row]; one value for granularity `tensor`. For granularity `block`
   * each row has the scales of the tiles that it crosses; a global scale has been divided by.
   */
  readonly scales: Float32Array;
  /** [rows, groups per row] in code units; absent for symmetric schemes. */
  readonly zeroPoints?: Int8Array;
  /** Like the scales; present for affine schemes. */
  readonly biases?: Float32Array;
}

/** Codes, scales and zero points. */
export interface QuantizedWeight extends WeightBase {
  /** Tells the union apart. */
  readonly kind: 'quantized';
  /** How it is coded. */
  readonly scheme: StoredScheme;
  /** Group of each column, where columns were permuted before grouping (act-order); int32 [columns]. */
  readonly groupIndex?: Int32Array;
  /** What stored scales in `f8_e4m3` are divided by, a positive f32; present with them, and only then. */
  readonly globalScale?: number;
  /** How the runtime quantizes what it multiplies this weight with; absent: not at all. */
  readonly activations?: ActivationQuantization;
  /** Codes, scales and zero points of rows `start` to `end` (exclusive). */
  block(start?: number, end?: number): Promise<CodeBlock>;
}

/** Values where a mask keeps them, zero elsewhere. */
export interface SparseWeight extends WeightBase {
  /** Tells the union apart. */
  readonly kind: 'sparse';
  /** `bitmask`: one bit for each weight and the kept values; `2:4`: two of each four columns kept, with two bits for each kept one. */
  readonly layout: 'bitmask' | '2:4';
  /** Format of the kept values. */
  readonly dtype: DType;
  /** Values that are stored. */
  readonly kept: number;
  /** Kept values and mask of rows `start` to `end` (exclusive). */
  block(start?: number, end?: number): Promise<SparseBlock>;
}

/** Rows of a sparse weight. */
export interface SparseBlock {
  /** Little-endian bytes of the kept values, row after row, in the order of the columns. */
  readonly values: Uint8Array;
  /** 1 where a value is kept, [rows, columns] row-major. */
  readonly mask: Uint8Array;
}

/** Blocks that only their own format reads: GGUF's types, bitsandbytes'. */
export interface PackedWeight extends WeightBase {
  /** Tells the union apart. */
  readonly kind: 'packed';
  /** What the format calls its blocks: `q4_k`, `nf4`. */
  readonly coding: string;
  /** What restored values are best stored in. */
  readonly dtype: 'f32' | 'f16' | 'bf16';
  /** The stored bytes of rows `start` to `end`; absent where they do not lie side by side, or in another order. */
  bytes?(start?: number, end?: number): Promise<Uint8Array>;
}

/** A matrix as a product: `value = left right`, run as two linears. */
export interface FactoredWeight extends WeightBase {
  /** Tells the union apart. */
  readonly kind: 'factored';
  /** Columns of `left`, rows of `right`. */
  readonly rank: number;
  /** [rows, rank]; applied last. */
  readonly left: DenseWeight | QuantizedWeight;
  /** [rank, columns]; applied first. */
  readonly right: DenseWeight | QuantizedWeight;
}

/** A weight in any of its representations. */
export type WeightTensor = DenseWeight | QuantizedWeight | SparseWeight | FactoredWeight | PackedWeight;
