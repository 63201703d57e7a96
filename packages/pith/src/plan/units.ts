// The units of work of a plan: one for each source tensor that leads to bytes in the output.
import type { StoredTensor } from '@pith/checkpoint';
import type { PieceName, WeightPlan } from '@pith/quant';

/** An output tensor that a unit writes, in the order of its digests. */
export interface UnitOutput {
  /** Name in the output. */
  readonly name: string;
  /** What it holds. */
  readonly role: 'copy' | 'shape' | 'encoded' | PieceName;
}

/** A tensor that is copied as it is. */
export interface CopyUnit {
  readonly kind: 'copy';
  readonly source: StoredTensor;
  readonly outputs: readonly UnitOutput[];
}

/** A weight that is quantized. */
export interface QuantizeUnit {
  readonly kind: 'quantize';
  readonly source: StoredTensor;
  readonly weight: WeightPlan;
  readonly outputs: readonly UnitOutput[];
}

/** A weight that is rounded in memory and arranged by its format. */
export interface EncodeUnit {
  readonly kind: 'encode';
  readonly source: StoredTensor;
  readonly weight: WeightPlan;
  readonly outputs: readonly UnitOutput[];
}

/** A piece of work that is journalled when done; its id is the name of its source tensor. */
export type Unit = CopyUnit | QuantizeUnit | EncodeUnit;
