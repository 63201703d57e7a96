// What a receipt holds. Everything but `run` depends on the source and the options alone: two runs of the same job differ
// in `run` only. docs/receipts.md explains the hashes.

import type { HubOrigin } from '../source/open-source.ts';
import type { PlannedStage, PlannedStep } from '../plan/types.ts';

/** The hash of a tensor's stored bytes. */
export interface TensorHash {
  /** Name in the file. */
  readonly name: string;
  /** File that it lies in. */
  readonly file: string;
  /** Dtype as it is stored: `bf16`, `i32`. */
  readonly dtype: string;
  /** Outermost axis first. */
  readonly shape: readonly number[];
  /** Stored bytes. */
  readonly bytes: number;
  /** Bytes of a leaf of the hash tree. */
  readonly leafBytes: number;
  /** SHA-256 over the digests of the leaves, lower-case hexadecimal. */
  readonly sha256: string;
}

/** The hash of a file, or of its header where the rest are tensors. */
export interface FileHash {
  /** Name within the artefact; folders with slashes: `onnx/model.onnx`. */
  readonly name: string;
  /** Bytes of the whole file. */
  readonly bytes: number;
  /** How many of the first bytes are hashed: all of them, or the header of a file of tensors. */
  readonly hashedBytes: number;
  /** SHA-256 of those bytes, lower-case hexadecimal. */
  readonly sha256: string;
}

/** How a quantized weight differs from the dense one. */
export interface WeightError {
  /** Mean squared difference of restored and original weights. */
  readonly mse: number;
  /** `10 log10(sum of squares / sum of squared differences)` in dB; null where nothing was lost, or nothing is left. */
  readonly snrDb: number | null;
  /** Largest absolute difference. */
  readonly maxError: number;
  /** Share of weights that lie more than half a step outside of the range of the codes, 0 to 1; of rounding alone. */
  readonly clipped?: number;
}

/** What became of one tensor of the source. */
export interface WeightReceipt {
  /** Name in the source. */
  readonly name: string;
  /** `keep`, `omit` (it was stored twice, and the copy is left out), or what was done, joined by `+`: `prune+quantize`. */
  readonly action: string;
  /** Why, in words. */
  readonly reason: string;
  /** Outermost axis first. */
  readonly shape: readonly number[];
  /** Bytes in the source. */
  readonly bytesBefore: number;
  /** Bytes of all tensors that it became. */
  readonly bytesAfter: number;
  /** What each stage did, in order. */
  readonly steps?: readonly PlannedStep[];
  /** How the restored weight differs from that of the source, where the two can be compared. */
  readonly error?: WeightError;
}

/** How quality was measured. */
export interface QualityProtocol {
  /** How the text was tokenized. */
  readonly tokenization: string;
  /** Positions of a window, BOS included. */
  readonly context: number;
  /** The token that opens each window. */
  readonly bosTokenId: number;
  /** Tokens of the text from one window to the next. */
  readonly stride: number;
  /** Tokens that are predicted in each window. */
  readonly predictedPerWindow: number;
  /** What happened to the tokens that fill no window. */
  readonly tail: string;
  /** Precision of logits and sums. */
  readonly precision: string;
  /** Windows of the text. */
  readonly windows: number;
}

/** Perplexity on a text. */
export interface PerplexityReceipt {
  /** `exp(nll)`. */
  readonly perplexity: number;
  /** Mean negative log-likelihood of the predicted tokens, in nats. */
  readonly nll: number;
}

/** Quality of an artefact, and its distance from the source. */
export interface ComparisonReceipt extends PerplexityReceipt {
  /** Mean KL(source || artefact) of the next-token distributions, in nats. */
  readonly kl: number;
  /** 99th percentile of the same over the tokens. */
  readonly klP99: number;
  /** Share of tokens for which both find the same next token most likely, 0 to 1. */
  readonly top1Agreement: number;
}

/** Quality before and after. */
export interface QualityReceipt {
  /** How it was measured. */
  readonly protocol: QualityProtocol;
  /** SHA-256 of the text, which is not kept. */
  readonly textSha256: string;
  /** Predicted tokens. */
  readonly tokens: number;
  /** The source. */
  readonly before: PerplexityReceipt;
  /** The artefact. */
  readonly after: ComparisonReceipt;
}

/** A numerical rescue, or something done other than planned. */
export interface Intervention {
  /** Id of the stage. */
  readonly stage: string;
  /** Stable, in capitals: `DAMPING_RAISED`. */
  readonly code: string;
  /** Module, tensor, or what else it is about. */
  readonly where: string;
  /** What was done, in words. */
  readonly message: string;
  /** The numbers behind it. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** What a stage did. */
export interface StageReceipt extends PlannedStage {
  /** Facts per tensor or layer, as the method records them: errors, damping, ranks, losses. */
  readonly records: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

/** The text that stages were calibrated on. */
export interface CalibrationReceipt {
  /** SHA-256 of the text, which is not kept. */
  readonly textSha256: string;
  /** Tokens of the text. */
  readonly textTokens: number;
  /** Windows that were used. */
  readonly windows: number;
  /** Positions of a window, BOS included. */
  readonly context: number;
  /** Which windows of the text: the first, or a choice by the seed. */
  readonly choose: 'first' | 'random';
  /** Seed of a random choice; null for the first windows. */
  readonly seed: number | null;
}

/** What the model says before and after. */
export interface SampleReceipt {
  /** The text that both continue. */
  readonly prompt: string;
  /** Continuation by the source, most likely tokens. */
  readonly before: string;
  /** Continuation by the artefact, most likely tokens. */
  readonly after: string;
}

/** The source of an artefact. */
export interface SourceReceipt {
  /** `model_type` of its config. */
  readonly architecture: string;
  /** Where on a hub it comes from, where it was read from the cache of one. */
  readonly hub?: HubOrigin;
  /** Files that the artefact depends on. */
  readonly files: readonly FileHash[];
  /** Tensors that were read. */
  readonly tensors: readonly TensorHash[];
  /** Over all of the above. */
  readonly sha256: string;
}

/** The content of an artefact. */
export interface OutputReceipt {
  /** Format of the artefact: `compressed-tensors`, `gguf`. */
  readonly format: string;
  /** Every file but the receipt itself. */
  readonly files: readonly FileHash[];
  /** Every tensor. */
  readonly tensors: readonly TensorHash[];
}

/** Sizes. */
export interface TotalsReceipt {
  /** Values in the tensors that were read. */
  readonly parameters: number;
  /** Bytes of the source's tensor files. */
  readonly bytesBefore: number;
  /** Bytes of the artefact's tensor files. */
  readonly bytesAfter: number;
  /** Bits of all stored tensors for each parameter. */
  readonly bitsPerWeight: number;
}

/** The machine of a run. */
export interface HostReceipt {
  /** Version of Node. */
  readonly node: string;
  /** Operating system: `linux`. */
  readonly platform: string;
  /** Processor architecture: `x64`. */
  readonly architecture: string;
  /** Processors that could be used. */
  readonly processors: number;
}

/** What differs from run to run. */
export interface RunReceipt {
  /** When the first of the runs that made the artefact began, ISO 8601. */
  readonly started: string;
  /** When the receipt was written, ISO 8601. */
  readonly finished: string;
  /** Wall time of the last run; a resumed one took longer in all. */
  readonly seconds: number;
  /** Most resident memory of the last run. */
  readonly peakMemoryBytes: number;
  /** Threads of the last run. */
  readonly threads: number;
  /** Units of work that earlier, interrupted runs had finished. */
  readonly resumedUnits: number;
  /** Units of work in all. */
  readonly units: number;
  /** The machine of the last run. */
  readonly host: HostReceipt;
}

/** The record that a run leaves in its artefact. */
export interface Receipt {
  /** Version of this layout. */
  readonly receipt: 1;
  /** What was done. */
  readonly operation: 'quantize' | 'prune' | 'factorize' | 'distill' | 'compress' | 'export';
  /** Versions of the packages that decide the bytes. */
  readonly versions: Readonly<Record<string, string>>;
  /** Options after defaults were filled in. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Hash of the plan: equal plans of equal sources write equal bytes. */
  readonly planSha256: string;
  /** What was read. */
  readonly source: SourceReceipt;
  /** What was written. */
  readonly output: OutputReceipt;
  /** What became of each tensor of the source. */
  readonly weights: readonly WeightReceipt[];
  /** The stages, in the order in which they ran; absent in receipts of the first version. */
  readonly stages?: readonly StageReceipt[];
  /** Where stages looked at a text. */
  readonly calibration?: CalibrationReceipt;
  /** Numerical rescues and exceptions. Round to nearest needs none. */
  readonly interventions: readonly Intervention[];
  /** What people were told by the plan. */
  readonly notices?: readonly string[];
  /** Sizes. */
  readonly totals: TotalsReceipt;
  /** Where a text was given to evaluate on. */
  readonly quality?: QualityReceipt;
  /** With an evaluation, where the model has a tokenizer. */
  readonly samples?: readonly SampleReceipt[];
  /** SHA-256 of everything above in canonical JSON: a receipt that was edited does not verify. */
  readonly seal: string;
  /** What differs from run to run. */
  readonly run: RunReceipt;
}
