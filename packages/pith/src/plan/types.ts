// What quantize is asked for and what a plan says.
import type { RunOptions } from '@pith/tensor-core';
import type { CalibrationOptions, TrainingText } from '../recipe/types.ts';

/** What `plan` and `quantize` are asked for; every field has a default. Unknown keys are refused. */
export interface QuantizeOptions {
  /** `rtn`, round to nearest (the default), or `hqq`, `gptq`, `awq`, `smoothquant`, `qat`. */
  readonly method?: string;
  /** Name of a scheme, `w4g128` (the default); see `parseScheme` of `@pith/quant`. */
  readonly scheme?: string;
  /**
   * Other schemes by module pattern, `{ lm_head: 'w8' }`. Modules that match are quantized
   * even where no `include` matches them; of several patterns that match the last counts.
   */
  readonly schemeFor?: Readonly<Record<string, string>>;
  /** How the range of values that share a scale is found: `minmax` (the default), `absmax`, `percentile:99.9`, `rms:K`, `mse`, `lp:P`. */
  readonly range?: string;
  /** `f16`, `bf16`, `f32`; the dtype of each weight when left out. */
  readonly scaleDType?: string;
  /** Of `hqq`: exponent of the norm of the errors. */
  readonly norm?: number;
  /** Of `gptq`: order in which columns are rounded, `weight` (the default), `group` or `none`. */
  readonly actOrder?: 'none' | 'weight' | 'group';
  /** Of `gptq`: added to the diagonal of the Gram matrix, as a share of its mean. */
  readonly damping?: number;
  /** Of `gptq`: whether errors of a range search count as much as the diagonal of the Gram matrix says. */
  readonly importance?: 'none' | 'hessian';
  /** Of `qat`: steps of the optimizer. */
  readonly steps?: number;
  /** Of `qat`: highest learning rate. */
  readonly learningRate?: number;
  /** Of `qat`: the text that is trained on; the calibration text when left out. */
  readonly data?: TrainingText;
  /**
   * Also calibrates scales for the keys and values that a runtime keeps: `fp8`, `int8`, `fp8-head`, `int8-head`. Needs a calibration
   * text.
   */
  readonly kvCache?: string;
  /** What calibrated methods look at. */
  readonly calibration?: CalibrationOptions;
  /** Patterns of modules to quantize; all linear layers of the blocks when left out. */
  readonly include?: readonly string[];
  /** Patterns of modules to keep. */
  readonly ignore?: readonly string[];
  /**
   * Rounds all matrices that look like linear layers where the architecture is unknown; to nearest only. False when left out: such a
   * model is refused.
   */
  readonly generic?: boolean;
  /**
   * `compressed-tensors` (the default), `gptq`, `awq`, `mlx`: how the codes of the method are stored, as they are. With a variant
   * (`mlx:4`, `gptq:4g128`) it stands for the scheme; where nothing is said of a method it rounds as the tools of the format do, and
   * so do the formats that hold no codes of methods: `bitsandbytes:nf4`, `gguf:q4_k_m`, `onnx:q4`.
   */
  readonly format?: string;
  /** Most bytes of tensors in a file; 5 GB when left out. */
  readonly shardBytes?: number;
  /** Seed of everything random; 0 when left out. Round to nearest draws no random numbers. */
  readonly seed?: number;
  /** Memory that may be used, in bytes; a plan that needs more has a problem. */
  readonly memoryBytes?: number;
  /** Threads; one for each processor when left out. The result does not depend on it. */
  readonly threads?: number;
}

/** Options of `plan`. */
export interface PlanOptions extends QuantizeOptions, RunOptions {}

/** What will happen to one tensor of the source. */
export interface PlannedTensor {
  /** Name in the source; in the output for one that is added. */
  readonly name: string;
  /**
   * `keep`, `omit` (stored twice in the source; the copy is left out), `add` (a tensor that the source has not: scales of keys and
   * values), or what is done to it: `quantize`, `prune`,
   * `factorize`, `scale`, `remove`, `slice`, `train`; several joined by `+` in the order in which they are done.
   */
  readonly action: string;
  /** Why, in words. */
  readonly reason: string;
  /** Bytes in the source. */
  readonly bytesBefore: number;
  /** Bytes of all tensors that it becomes. */
  readonly bytesAfter: number;
  /** What each stage does to it, in order; absent where nothing is done, and for round to nearest alone. */
  readonly steps?: readonly PlannedStep[];
}

/** What one stage does to one tensor. */
export interface PlannedStep {
  /** Id of the stage. */
  readonly stage: string;
  /** A verb: `quantize`. */
  readonly action: string;
  /** Why, or with what, in words. */
  readonly reason: string;
  /** Its name after the stage; null where it is gone. */
  readonly name: string | null;
  /** Its shape after the stage, outermost axis first. */
  readonly shape: readonly number[];
  /** Its bytes after the stage. */
  readonly bytesAfter: number;
}

/** A stage as it will run. */
export interface PlannedStage {
  /** Its name. */
  readonly id: string;
  /** `prune`, `factorize`, `distill`, `quantize`. */
  readonly kind: string;
  /** `gptq`. */
  readonly method: string;
  /** Model that it starts from: `source` or the id of a stage. */
  readonly from: string;
  /** Models that teach it. */
  readonly teachers: readonly string[];
  /** Options of the method after defaults were filled in. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Why a plan cannot be carried out. */
export interface PlanProblem {
  /** Stable, in capitals: `GROUP_DOES_NOT_DIVIDE`. */
  readonly code: string;
  /** Tensor, pattern or option that it is about. */
  readonly name: string;
  /** "operation: constraint, got value", and what would fit. */
  readonly message: string;
}

/** What a run will do. Made from headers alone. */
export interface Plan {
  /** `model_type` of the config: `llama`. */
  readonly architecture: string;
  /** Options after defaults were filled in. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The stages, in the order in which they run. */
  readonly stages: readonly PlannedStage[];
  /** What people should know, such as linears that a method leaves alone and why. */
  readonly notices: readonly string[];
  /** Every tensor of the source, in the order of its files; behind them what is added. */
  readonly tensors: readonly PlannedTensor[];
  /** Bytes of the source's tensor files, headers and index included. */
  readonly bytesBefore: number;
  /** Bytes of the output's tensor files, headers and index included; exactly what is then written. */
  readonly bytesAfter: number;
  /**
   * Bits of all stored tensors of the output for each parameter of the source: kept tensors, scales and zero points
   * count, headers do not. A matrix that is tied counts once.
   */
  readonly bitsPerWeight: number;
  /** The same over the quantized tensors alone; 0 when none is. */
  readonly quantizedBitsPerWeight: number;
  /** Values in all tensors of the source. */
  readonly parameters: number;
  /** Most resident memory that the run will need, in bytes: an upper estimate. */
  readonly peakMemoryBytes: number;
  /** Rough estimate in seconds, from rates measured on one machine. */
  readonly secondsEstimate: number;
  /** All that does not fit, at once; empty when the plan can be carried out. */
  readonly problems: readonly PlanProblem[];
}
