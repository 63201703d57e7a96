// What is known of a model before anything is computed: each technique says from this alone what it will do to which
// tensor, so that several in a row can be planned from headers.
import {
  restoredDType,
  type ActivationQuantization,
  type DType,
  type StoredScheme,
  type WeightTensor,
} from '@pith/tensor-core';
import type { Architecture } from '../architecture/architecture.ts';
import { describeArchitecture } from '../architecture/registry.ts';
import { readModelConfig } from '../config/read-config.ts';
import type { KeyValueForm, KeyValueQuantization } from '../run/key-value-form.ts';

/** A stored weight as far as headers tell. */
export interface PlannedWeight {
  /** Checkpoint name of the dense form. */
  readonly name: string;
  /** Shape of the dense value, outermost axis first. */
  readonly shape: readonly number[];
  /** Representation, see `WeightTensor`. */
  readonly kind: WeightTensor['kind'];
  /** Bytes in storage, metadata tensors included. */
  readonly byteLength: number;
  /** Dtype of the values; of the scales for a quantized weight, of the left factor for a factored one. */
  readonly dtype: DType;
  /** Of a quantized weight, or of the factors of a factored one where they are quantized. */
  readonly scheme?: StoredScheme;
  /** True where columns are grouped in an order of their own (act-order), so that a group index is stored. */
  readonly grouped?: boolean;
  /** How the runtime quantizes the inputs of a quantized weight; scales that calibration finds stand for any. */
  readonly activations?: ActivationQuantization;
  /** What scales in `f8_e4m3` are divided by, where that is known before anything is computed. */
  readonly globalScale?: number;
  /** Of a factored weight. */
  readonly rank?: number;
  /** Share of weights that are zero, 0 to 1, where a technique made them so. */
  readonly sparsity?: number;
}

/** How kept keys and values will be coded, before calibration has found the scales. */
export interface PlannedKeyValues extends KeyValueForm, Pick<KeyValueQuantization, 'scaleDType'> {
  /** Why each scale is there, by checkpoint name. */
  readonly reasons: ReadonlyMap<string, string>;
}

/** A model before anything is computed. */
export interface PlannedModel {
  /** The parsed config.json, as the stages before this one leave it. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Table of the architecture that belongs to `config`. */
  readonly architecture: Architecture;
  /** Weights by checkpoint name. */
  readonly weights: ReadonlyMap<string, PlannedWeight>;
  /** How kept keys and values are coded; absent where they stay as they are. */
  readonly keyValueCache?: PlannedKeyValues;
}

/** What a technique will do to one tensor. */
export interface WeightChange {
  /** Checkpoint name. */
  readonly name: string;
  /** A verb: `quantize`, `prune`, `factorize`, `scale`, `remove`, `slice`, `train`. */
  readonly action: string;
  /** Why, or with what, in words. */
  readonly reason: string;
  /** What it becomes; null where it goes. Its name differs from `name` where it is renamed (layers that move up). */
  readonly after: PlannedWeight | null;
}

/** Something that does not fit; a plan with problems is not carried out. */
export interface TechniqueProblem {
  /** Stable, in capitals: `GROUP_DOES_NOT_DIVIDE`. */
  readonly code: string;
  /** Tensor, module or option. */
  readonly name: string;
  /** Constraint, value, remedy. */
  readonly message: string;
}

/** What a technique will do. */
export interface TechniquePlan {
  /** Tensors that change, in the order of the table; all others are kept. */
  readonly changes: readonly WeightChange[];
  /** Everything that does not fit, at once. */
  readonly problems: readonly TechniqueProblem[];
  /** What people should know: linears that cannot be folded, layers left alone, and why. */
  readonly notices: readonly string[];
  /** Members of config.json that change; undefined removes one. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** How kept keys and values will be coded, where it codes them. */
  readonly keyValueCache?: PlannedKeyValues;
}

/** The facts of a stored weight that headers tell. */
export function plannedWeight(weight: WeightTensor): PlannedWeight {
  const { name, shape, kind, byteLength } = weight;
  const common = { name, shape, kind, byteLength };
  switch (weight.kind) {
    case 'quantized':
      return {
        ...common,
        dtype: restoredDType(weight.scheme),
        scheme: weight.scheme,
        ...(weight.groupIndex && { grouped: true }),
        ...(weight.activations && { activations: weight.activations }),
        ...(weight.globalScale !== undefined && { globalScale: weight.globalScale }),
      };
    case 'factored': {
      const left = plannedWeight(weight.left);
      return { ...common, dtype: left.dtype, rank: weight.rank, ...(left.scheme && { scheme: left.scheme }) };
    }
    default:
      return { ...common, dtype: weight.dtype };
  }
}

/**
 * The model that a plan leaves.
 *
 * @throws PithError `CONFIG_INVALID`, `ARCHITECTURE_UNSUPPORTED` when the changed config is no longer one.
 */
export function afterPlan(model: PlannedModel, plan: TechniquePlan): PlannedModel {
  const weights = new Map<string, PlannedWeight>(model.weights);
  for (const { name } of plan.changes) weights.delete(name);
  for (const { after } of plan.changes) if (after) weights.set(after.name, after);
  const { keyValueCache } = plan;
  if (plan.config === undefined) return { ...model, weights, ...(keyValueCache && { keyValueCache }) };
  const config: Record<string, unknown> = { ...model.config };
  for (const [key, value] of Object.entries(plan.config)) {
    if (value === undefined) delete config[key];
    else config[key] = value;
  }
  const architecture = describeArchitecture(readModelConfig(config));
  return { config, architecture, weights, ...(keyValueCache && { keyValueCache }) };
}
