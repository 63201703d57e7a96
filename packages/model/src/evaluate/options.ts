import type { Device, RunOptions } from '@pith/tensor-core';
import type { MemoryPlan } from '../run/memory-plan.ts';

/** What every evaluation accepts. */
export interface EvaluationOptions extends RunOptions {
  /** Where the compiled programs run. */
  readonly device: Device;
  /**
   * `quantized`: where the weights say that a runtime quantizes their inputs (W8A8, FP8), or the model that it codes the keys and
   * values it keeps, these are rounded as it would; `weights-only` leaves them alone. `quantized` when left out, except for `logits`.
   */
  readonly activations?: 'quantized' | 'weights-only';
  /** Memory that the evaluation may use, bytes; 3 GiB when left out. */
  readonly memoryLimitBytes?: number;
  /** Overrides parts of the memory plan: for benchmarks, and for tests that want many small pieces. */
  readonly plan?: Partial<Omit<MemoryPlan, 'peakBytes'>>;
}

/** What an evaluation cost. */
export interface EvaluationCost {
  /** Wall time, seconds. */
  readonly seconds: number;
  /** Predicted tokens per second of wall time, restoring of weights and compiling included. */
  readonly tokensPerSecond: number;
  /** Seconds by phase: `compile`, `embed`, `restore` (waiting for weights), `blocks`, `head`, `other`. */
  readonly phases: Readonly<Record<string, number>>;
  /** The plan's estimate of the peak, bytes. */
  readonly peakMemoryBytes: number;
}
