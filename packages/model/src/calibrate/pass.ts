// The contract between techniques and the block runner (design 3): a pass says what it needs to know, gets one stage of
// one block at a time, and gives back new representations of its weights.
import type { Device, ProgressListener, WeightTensor } from '@pith/tensor-core';
import type { KernelPool } from '@pith/tensor-core/node';
import type { BlockSpec, KeptPart, LinearSpec } from '../architecture/architecture.ts';
import type { KeyValueForm } from '../run/key-value-form.ts';
import type { PlannedModel, TechniquePlan } from '../technique/planned-model.ts';
import type { InputStatistic, InputStatistics } from './statistic.ts';
import type { GradientNeeds, WeightGradient } from './weight-gradient.ts';

/** What a pass may use while it works. */
export interface PassContext {
  /** Where compiled programs run. */
  readonly device: Device;
  /** Threads for kernels. */
  readonly pool: KernelPool;
  /** Seed of everything random; derive streams by name, so that results do not depend on order. */
  readonly seed: number;
  /** Stops the work between two steps. */
  readonly signal?: AbortSignal;
  /** Told of steps done. */
  readonly progress?: ProgressListener;
}

/** A numerical rescue or an exception from the plan: part of the receipt, never only a log line. */
export interface Intervention {
  /** Stable, in capitals: `DAMPING_RAISED`, `DEAD_COLUMNS`, `RETRIED_IN_F64`. */
  readonly code: string;
  /** Module path or tensor name. */
  readonly where: string;
  /** One sentence for people. */
  readonly message: string;
  /** The numbers behind it. JSON only. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** The linears of a block that are rewritten together, and what is known of their inputs. */
export interface Stage {
  /** The block. */
  readonly block: BlockSpec;
  /** The linears of the stage, in the order of the table. */
  readonly linears: readonly LinearSpec[];
  /** Every stored tensor of the block by checkpoint name, as earlier passes and stages left them. */
  readonly weights: ReadonlyMap<string, WeightTensor>;
  /** Statistics by input group (`LinearSpec.inputGroup`). */
  readonly statistics: ReadonlyMap<string, InputStatistics>;
  /**
   * Gradients by checkpoint name of the weight, where the pass asked for them: of the model as it was before the first
   * pass touched it.
   */
  readonly gradients?: ReadonlyMap<string, WeightGradient>;
  /**
   * Mean squared difference that other values of some weights make to the output of the block on its first calibration
   * tokens: `changed` are f32 values by checkpoint name, all other weights are those of the stage. One run of the block
   * for each call; absent where nothing can be run.
   */
  readonly outputError?: (changed: ReadonlyMap<string, Float32Array>) => Promise<number>;
}

/** Smallest and largest values of keys or values by key-value head, f32 [keyValueHeads] each. */
export interface HeadRanges {
  /** Smallest values. */
  readonly min: Float32Array;
  /** Largest values. */
  readonly max: Float32Array;
}

/** What a block keeps of the calibration text, as its rewritten weights make it: keys after the rotary embedding. */
export type KeyValueRanges = Readonly<Record<KeptPart, HeadRanges>>;

/** Scales for the keys and values of a block. */
export interface KeyValueResult {
  /** f32 [1] or [keyValueHeads], of keys and of values. */
  readonly scales: Readonly<Record<KeptPart, Float32Array>>;
  /** Facts for the receipt, of keys and of values. JSON only. */
  readonly records: Readonly<Record<KeptPart, Readonly<Record<string, unknown>>>>;
}

/** How a pass has kept keys and values coded. */
export interface KeyValueCoding extends KeyValueForm {
  /** The scales of a block, from what it keeps of the whole calibration text. */
  scales(ranges: KeyValueRanges, block: BlockSpec): KeyValueResult;
}

/** What a pass did to a stage. */
export interface StageResult {
  /** New representations by checkpoint name; tensors that are left out stay as they are. */
  readonly weights: ReadonlyMap<string, WeightTensor>;
  /** Facts per tensor for the receipt, by checkpoint name: errors, damping, ratios. JSON only. */
  readonly records: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Rescues and exceptions. */
  readonly interventions: readonly Intervention[];
}

/** A technique at work on one block after the other. */
export interface BlockPass {
  /** `gptq`, `wanda`. */
  readonly name: string;
  /** Validated, frozen, JSON only: what the receipt records. */
  readonly config: Readonly<Record<string, unknown>>;
  /** What it will do to which tensors of the blocks, from headers alone. */
  plan(model: PlannedModel): TechniquePlan;
  /** Statistics that it wants of a linear's input; empty for a linear that it leaves alone. */
  needs(linear: LinearSpec): readonly InputStatistic[];
  /** Gradients of the loss that it wants of a linear's weight; none when left out. */
  readonly needsGradients?: GradientNeeds;
  /**
   * Most bytes that `apply` takes for a linear beside what it is given; when left out, three times the values in f32 and
   * twice the Gram matrix in f64.
   */
  workspaceBytes?(linear: LinearSpec): number;
  /** True where it changes what a linear of the same stage gets as input (scales folded into the norm before). */
  readonly changesInputs?: boolean;
  /** Codes the keys and values that a runtime keeps; asked when all passes have rewritten a block. Of one pass of a run. */
  readonly keyValues?: KeyValueCoding;
  /** Rewrites one stage. Nothing that it is given is mutated. */
  apply(stage: Stage, context: PassContext): Promise<StageResult>;
}
