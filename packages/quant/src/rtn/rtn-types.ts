// What goes into and comes out of rounding to nearest: configuration, plan, destinations and error report.
import type {
  ActivationQuantization,
  DType,
  FileLocation,
  QuantizationScheme,
  RunOptions,
  ScaleDType,
} from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';
import type { RangeRule } from '../range/range.ts';
import type { SchemeRule } from '../scheme/scheme-rules.ts';
import type { CodeStorage, Scheme } from '../scheme/scheme.ts';
import type { Piece, PieceName } from './pieces.ts';

/** What a caller asks for. Validated and frozen by `rtnConfig`. */
export interface RtnOptions {
  /** A name (`w4g128`) or a scheme. */
  readonly scheme: string | Scheme;
  /**
   * Other schemes by module pattern: `{ lm_head: 'w8', 'mlp.down_proj': 'w8g128' }`. Modules that match are quantized even
   * where no `include` matches them; of several patterns that match the last counts.
   */
  readonly schemeFor?: Readonly<Record<string, string | Scheme>>;
  /** A rule, or its name (`mse`, `percentile:99.9`). `minmax` when left out. */
  readonly range?: string | RangeRule;
  /** Dtype of the scales; the weight's own when left out. */
  readonly scaleDType?: ScaleDType;
  /**
   * Patterns of the linear layers that are quantized (see `moduleMatcher`); every linear layer of the blocks when left
   * out. The output projection is quantized only when a pattern matches it, embeddings never.
   */
  readonly include?: readonly string[];
  /** Patterns of linear layers that are kept; stronger than `include`. */
  readonly ignore?: readonly string[];
}

/** Validated options with every default filled in; frozen. */
export interface RtnConfig {
  /** Tells methods apart. */
  readonly method: 'rtn';
  /** How weights are coded. */
  readonly scheme: Scheme;
  /** How those of modules that match a pattern are coded. */
  readonly schemeFor: readonly SchemeRule[];
  /** How ranges are chosen. */
  readonly range: RangeRule;
  /** Patterns; empty: every linear layer of the blocks. */
  readonly include: readonly string[];
  /** Patterns. */
  readonly ignore: readonly string[];
}

/** What the plan needs to know of a tensor of the checkpoint. */
export interface PlannedTensor {
  /** Checkpoint name: `model.layers.0.mlp.up_proj.weight`. */
  readonly name: string;
  /** Stored dtype. */
  readonly dtype: DType;
  /** Outermost axis first. */
  readonly shape: readonly number[];
  /** Stored bytes. */
  readonly byteLength: number;
}

/** What happens to one tensor. */
export interface TensorPlan {
  /** Checkpoint name. */
  readonly name: string;
  /** What is done. */
  readonly action: 'quantize' | 'keep';
  /** Why, in words: `linear layer (query)`, `output projection: kept by default, include "lm_head" to quantize it`. */
  readonly reason: string;
  /** Module path, for linear layers and the embedding. */
  readonly module?: string;
  /** Stored bytes of the dense tensor. */
  readonly bytesBefore: number;
  /** Exact, without the metadata that a container adds (weight_shape, header). */
  readonly bytesAfter: number;
  /** Present for `quantize`. */
  readonly quantize?: WeightPlan;
}

/** All that is settled about one weight before its values are read. */
export interface WeightPlan {
  /** Checkpoint name. */
  readonly name: string;
  /** Module path: `model.layers.0.mlp.up_proj`. */
  readonly module: string;
  /** Output channels, input channels. */
  readonly shape: readonly [rows: number, columns: number];
  /** Stored dtype. */
  readonly dtype: 'f32' | 'f16' | 'bf16';
  /** How it is coded, dtype of the scales included. */
  readonly scheme: QuantizationScheme;
  /** How the runtime quantizes its inputs; absent: not at all, or calibration has to say. */
  readonly activations?: ActivationQuantization;
  /** The names of all weights that share its global scale, its own among them; with scales in e4m3. */
  readonly sharesGlobalScale?: readonly string[];
  /** How its codes are stored. */
  readonly storage: CodeStorage;
  /** How its ranges are chosen. */
  readonly range: RangeRule;
  /** The tensors that it becomes. */
  readonly pieces: readonly Piece[];
}

/** A reason why the plan cannot be carried out. */
export interface PlanProblem {
  /** Tensor or pattern that it is about. */
  readonly name: string;
  /** Stable: `GROUP_DOES_NOT_DIVIDE`, `DTYPE_NOT_QUANTIZABLE`, `PATTERN_MATCHES_NOTHING`, `RANGE_UNSUPPORTED`. */
  readonly code: string;
  /** "operation: constraint, got value". */
  readonly message: string;
  /** What would fit. */
  readonly remedy: string;
}

/** What rounding to nearest will do to a model. */
export interface RtnPlan {
  /** What was asked for. */
  readonly config: RtnConfig;
  /** One entry per tensor, in the given order. */
  readonly tensors: readonly TensorPlan[];
  /** Bytes of all tensors. */
  readonly bytesBefore: number;
  /** Bytes of all tensors and pieces. */
  readonly bytesAfter: number;
  /** Stored bits of the quantized weights, scales and zero points included, per weight; 0 when none is quantized. */
  readonly bitsPerWeight: number;
  /** Paths of the linear layers that stay dense, a tied output projection included: `ignore` of a quantization config. */
  readonly keptLinears: readonly string[];
  /** Empty when it can be carried out. */
  readonly problems: readonly PlanProblem[];
}

/** A place in an existing file. */
export interface FileDestination extends FileLocation {
  /** Tells the union apart. */
  readonly kind: 'file';
}

/** Memory that is overwritten. */
export interface MemoryDestination {
  /** Tells the union apart. */
  readonly kind: 'memory';
  /** As many bytes as the piece has. */
  readonly bytes: Uint8Array;
}

/** Where the bytes of a piece go. */
export type PieceDestination = FileDestination | MemoryDestination;

/** A destination for each piece of the plan. */
export type PieceDestinations = Readonly<Partial<Record<PieceName, PieceDestination>>>;

/**
 * How `(code - zeroPoint) * scale` in f32 differs from the dense weight. Sums are in f64 and do not depend on the number
 * of threads; squares below 2^-126 of the largest in a group count as 0.
 */
export interface QuantizationError {
  /** Weights. */
  readonly count: number;
  /** Mean squared difference. */
  readonly mse: number;
  /** `10 log10(sum of squares / sum of squared differences)` in dB; Infinity when nothing differs. */
  readonly signalToNoise: number;
  /** Largest |difference|. */
  readonly maxAbsError: number;
  /** Share of weights that lie more than one step outside the range of the codes, 0 to 1. */
  readonly clippedFraction: number;
  /** Sum of squared differences. */
  readonly sumSquaredError: number;
  /** Sum of the squares of the dense values. */
  readonly sumSquares: number;
  /** Groups whose scale came out as 0 and was replaced by the epsilon of its dtype (all-zero groups). */
  readonly zeroScales: number;
}

/** SHA-256 of one chunk, for receipts that name inputs and outputs by hash. */
export interface ChunkHash {
  /** `source`: bytes of the dense weight; otherwise the piece. */
  readonly of: 'source' | PieceName;
  /** Byte offset of the chunk in the tensor. */
  readonly offset: number;
  /** Bytes of the chunk. */
  readonly byteLength: number;
  /** 64 hexadecimal digits. */
  readonly sha256: string;
}

/** What came of one weight. */
export interface WeightResult {
  /** Checkpoint name. */
  readonly name: string;
  /** How it differs from the dense weight. */
  readonly error: QuantizationError;
  /** In the order of the offsets; empty unless asked for. */
  readonly hashes: readonly ChunkHash[];
  /** Bytes of all pieces. */
  readonly bytesWritten: number;
}

/** How `quantizeInto` runs. */
export interface QuantizeIntoOptions extends RunOptions {
  /** Threads and shared memory that it runs on. */
  readonly pool: KernelPool;
  /** Hash every chunk that is read and written; off when left out. */
  readonly hash?: boolean;
  /** Input bytes per chunk, about; 4 MiB when left out. Never changes the result. */
  readonly chunkBytes?: number;
  /**
   * With scales in e4m3: what they are divided by (`globalScaleOf`), for weights that share it. Found from the weight alone,
   * which is then read once more, when left out.
   */
  readonly globalScale?: number;
}
