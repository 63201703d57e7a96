// Where the batches of a run come from.
import type { HostTensors, Signature } from '@pith/tensor-core';

/** Batches by step. */
export interface BatchSource {
  /** Names, shapes and dtypes of a batch's tensors. */
  readonly signature: Signature;
  /**
   * The batch of step `step`, counted from 0: a pure function of the step, so that a resumed run sees the same data. The
   * arrays may be overwritten by the next call.
   */
  batch(step: number): HostTensors;
}
