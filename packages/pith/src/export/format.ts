// The contract of a format that models are exported to. Each format is one file under `formats/` and one line in
// `formats.ts`: it says what it will write, tensor by tensor, and writes it into a directory that nobody looks at yet. Names,
// renames, receipts and what is refused are the business of `exportModel`.
import type { OpenModel } from '@pith/model/node';
import type { RunOptions } from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';
import type { PlannedTensor, PlanProblem } from '../plan/types.ts';
import type { FileHash, Intervention, TensorHash, WeightError } from '../receipt/types.ts';
import type { CalibrationOptions } from '../recipe/types.ts';

/** What a format is asked for beside its variant. A format refuses (by a problem) what it has no use for. */
export interface ExportRequest {
  /** Base name of the output, without a directory: `x.gguf`. */
  readonly name: string;
  /** Most bytes of tensors in a file; the format's own default when left out. */
  readonly shardBytes?: number;
  /** Text that statistics of inputs are measured on. */
  readonly calibration?: CalibrationOptions;
  /** Path of a file with statistics of inputs. */
  readonly importance?: string;
  /** Memory that may be used, in bytes. */
  readonly memoryBytes?: number;
  /** Threads. What is written does not depend on it. */
  readonly threads: number;
  /** Seed of everything random. */
  readonly seed: number;
}

/** Where and with what a format writes. */
export interface ExportContext extends RunOptions {
  /** Absolute path of an empty directory: every file that the artefact consists of goes there, under its final name. */
  readonly directory: string;
  /** Threads for kernels, hashing and files. */
  readonly pool: KernelPool;
}

/** What a format says of what it has written. */
export interface WrittenContent {
  /**
   * Hashes of files that the format knows already: those of tensors by their headers (`hashedBytes`). Every other file is
   * hashed as a whole by `exportModel`.
   */
  readonly files?: readonly FileHash[];
  /** Tensors in those files. */
  readonly tensors?: readonly TensorHash[];
  /** Hashes of tensors of the source that were taken while they were read, by name; `exportModel` reads and hashes the others. */
  readonly source?: ReadonlyMap<string, Pick<TensorHash, 'leafBytes' | 'sha256'>>;
  /** How the weights that were written differ from those of the model, by name there; those that are exact may be left out. */
  readonly errors?: ReadonlyMap<string, WeightError>;
  /** Numerical rescues and exceptions. */
  readonly interventions?: readonly Intervention[];
}

/** An export that is planned, from headers alone. */
export interface PreparedExport {
  /**
   * Names of the files of a format whose output is a file, in order: the first of a split one is what readers open. The name
   * that was asked for alone when left out.
   */
  readonly files?: readonly string[];
  /** What will happen to every weight of the model, by its name there. */
  readonly tensors: readonly PlannedTensor[];
  /** Bytes of all files that hold tensors; exact where `exact` is not false. */
  readonly bytesAfter: number;
  /** Bytes of the stored tensors alone, for the bits of a weight. */
  readonly dataBytes: number;
  /** What people should know. */
  readonly notices: readonly string[];
  /** Everything that does not fit; nothing is written where there is any. */
  readonly problems: readonly PlanProblem[];
  /** Options after defaults were filled in, for the receipt: everything that the bytes depend on. No paths. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Most resident memory that writing needs, in bytes: an upper estimate. */
  readonly peakMemoryBytes: number;
  /** Writes the artefact. */
  write(context: ExportContext): Promise<WrittenContent>;
}

/** A format. */
export interface ExportFormat {
  /** Name on the command line: `gguf`. */
  readonly name: string;
  /** One line of help. */
  readonly summary: string;
  /** Names behind the colon, the default first; empty for a format without variants. */
  readonly variants: readonly string[];
  /** True for further variants that are too many to be listed (`w4g128`); none when left out. */
  readonly accepts?: (variant: string) => boolean;
  /** Whether the output is one file (with its receipt beside it) or a directory (with its receipt inside). */
  readonly output: 'file' | 'directory';
  /** Whether Pith opens the artefact as a `<model>`: needed for an evaluation. */
  readonly readable: boolean;
  /** What a variant is, in words, for help and receipts. */
  describe(variant: string): string;
  /**
   * Plans an export; reads headers only.
   *
   * @param variant one of `variants`, or accepted; `''` for a format that has none.
   * @throws PithError for a model that the format cannot hold at all. What does not fit is listed in `problems`.
   */
  prepare(model: OpenModel, variant: string, request: ExportRequest): Promise<PreparedExport>;
}
