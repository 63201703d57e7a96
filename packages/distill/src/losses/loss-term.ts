// What a student is told: a list of terms, each with a weight that may change during the run.
import type { Divergence } from '@pith/model';

/** A weight over the steps of a run. */
export interface TermWeight {
  /** At the first step. */
  readonly from: number;
  /** At the last step of the change. */
  readonly to: number;
  /** `constant` stays at `from`; `linear` and `cosine` go to `to`. */
  readonly curve: 'constant' | 'linear' | 'cosine';
  /** Steps of the change; all steps of the run when left out. */
  readonly steps?: number;
}

/**
 * Which block of the student learns from which of the teacher: `uniform` spreads the student's blocks over the teacher's,
 * the last learning from the last; `last` is the last pair alone; pairs count blocks from 0.
 */
export type LayerMap = 'uniform' | 'last' | readonly (readonly [student: number, teacher: number])[];

/** The teacher's distribution of the next token (Hinton et al. 2015). */
export interface SoftTerm {
  /** Tells the union apart. */
  readonly kind: 'soft';
  /** How distributions are compared. */
  readonly divergence: Divergence;
  /** Divides both logits; the loss is multiplied by its square. */
  readonly temperature: number;
  /** Factor in the sum. */
  readonly weight: TermWeight;
}

/** The tokens of the text: cross-entropy. */
export interface HardTerm {
  /** Tells the union apart. */
  readonly kind: 'hard';
  /** Factor in the sum. */
  readonly weight: TermWeight;
}

/** Hidden states after blocks (Romero et al. 2015), through a learnt projection where the widths differ. */
export interface HiddenTerm {
  /** Tells the union apart. */
  readonly kind: 'hidden';
  /** `mse`: squared distance, divided by the mean square of the teacher's; `cosine`: one minus the cosine of each token's states. */
  readonly measure: 'mse' | 'cosine';
  /** Pairs of blocks. */
  readonly layers: LayerMap;
  /** A projection is learnt even where the widths agree. */
  readonly project: boolean;
  /** Factor in the sum. */
  readonly weight: TermWeight;
}

/** Attention probabilities, head by head (Jiao et al. 2020; Zagoruyko and Komodakis 2017): needs as many heads in both. */
export interface AttentionTerm {
  /** Tells the union apart. */
  readonly kind: 'attention';
  /** `kl`: divergence of each row of probabilities; `mse`: mean squared difference of the probabilities. */
  readonly measure: 'kl' | 'mse';
  /** Pairs of blocks. */
  readonly layers: LayerMap;
  /** Factor in the sum. */
  readonly weight: TermWeight;
}

/** What is related with what. */
export type RelationPair = 'qk' | 'qq' | 'kk' | 'vv';

/**
 * Scaled products of queries, keys or values between tokens, taken over relation heads of which both models have the same
 * number, whatever their heads (Wang et al. 2021, MiniLMv2).
 */
export interface RelationsTerm {
  /** Tells the union apart. */
  readonly kind: 'relations';
  /** Relations that are transferred; their losses are averaged. */
  readonly pairs: readonly RelationPair[];
  /** Relation heads; the most that fit both models when null. */
  readonly heads: number | null;
  /** Pairs of blocks. */
  readonly layers: LayerMap;
  /** Factor in the sum. */
  readonly weight: TermWeight;
}

/** One term of a distillation loss. */
export type LossTerm = SoftTerm | HardTerm | HiddenTerm | AttentionTerm | RelationsTerm;

/** The weight of a term at a step of a run of `total` steps. */
export function weightAt({ from, to, curve, steps }: TermWeight, step: number, total: number): number {
  if (curve === 'constant') return from;
  const last = Math.max(1, (steps ?? total) - 1);
  const done = Math.min(1, step / last);
  return from + (to - from) * (curve === 'linear' ? done : (1 - Math.cos(Math.PI * done)) / 2);
}
