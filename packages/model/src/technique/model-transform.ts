// The contract for techniques that need the whole model at once (removing layers, training, decomposing across layers);
// those that work block by block are a `BlockPass`.
import type { WeightTensor } from '@pith/tensor-core';
import type { LanguageModel } from '../language-model.ts';
import type { Intervention, PassContext } from '../calibrate/pass.ts';
import type { PlannedModel, TechniquePlan } from './planned-model.ts';

/** What a transform may use. */
export interface TransformContext extends PassContext {
  /** Windows to calibrate or train on, int32 [context] each; empty where none were given. */
  readonly windows: readonly Int32Array[];
  /** Windows to judge by, int32 [context] each, for techniques that go on until quality falls. */
  readonly evaluationWindows?: readonly Int32Array[];
  /** Models that teach, opened by the caller; the first is the main one. */
  readonly teachers?: readonly LanguageModel[];
  /** A directory of its own that outlives a killed run, where it may keep state to resume from. */
  readonly directory?: string;
  /** Bytes of memory that it may use. */
  readonly memoryBytes?: number;
}

/** What a transform made. */
export interface TransformResult {
  /** All weights of the new model by checkpoint name; untouched ones are those of the source, still lazy. */
  readonly weights: ReadonlyMap<string, WeightTensor>;
  /** Members of config.json that change; undefined removes one. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Facts per tensor or layer for the receipt. JSON only. */
  readonly records: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  /** Numerical rescues and exceptions from the plan. */
  readonly interventions: readonly Intervention[];
}

/** A technique that turns a model into another in one go. */
export interface ModelTransform {
  /** `structure`, `tucker`. */
  readonly name: string;
  /** Validated, frozen, JSON only: what the receipt records. */
  readonly config: Readonly<Record<string, unknown>>;
  /** True where it needs calibration windows. */
  readonly calibrated: boolean;
  /**
   * What it will do, from headers alone; a choice that needs data (which layers) is said as a count and in words. `teachers`:
   * how many models of the context will teach, where the caller knows; what does not go with that is a problem of the plan.
   */
  plan(model: PlannedModel, teachers?: number): TechniquePlan;
  /** Does it. The source is not mutated. */
  apply(model: LanguageModel, context: TransformContext): Promise<TransformResult>;
}
