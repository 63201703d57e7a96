// Batches from windows that were cut already: those that calibration and evaluation use.
import { PithError, randomStream } from '@pith/tensor-core';
import type { HostTensor, HostTensors, Signature } from '@pith/tensor-core';
import type { BatchSource } from './batch-source.ts';

/** Options of {@link windowBatches}. */
export interface WindowBatchesOptions {
  /** int32 [context] each, all of one length: a token that opens the window and `context - 1` tokens that are predicted. */
  readonly windows: readonly Int32Array[];
  /** Windows in a batch. */
  readonly batchSize: number;
  /** Decides the order of the windows. */
  readonly seed: number;
}

/** Batches, and which windows they are made of. */
export interface WindowBatches extends BatchSource {
  /** Indices of the windows in batch `step`, in order: for what was stored by window. */
  windowsOf(step: number): readonly number[];
}

/**
 * Windows in an order of their own in every epoch; a batch may hold the end of one epoch and the beginning of the next.
 *
 * Batches: `ids` (all tokens but the last) and `targets` (all but the first), int32 [batchSize, context - 1].
 *
 * @throws PithError `TRAIN_DATA_TOO_SHORT` when there is no window, `TRAIN_WINDOWS_INVALID` when they differ in length.
 */
export function windowBatches({ windows, batchSize, seed }: WindowBatchesOptions): WindowBatches {
  const [first] = windows;
  if (first === undefined || first.length < 2) {
    throw new PithError(
      'TRAIN_DATA_TOO_SHORT',
      `training data: needs at least one window of two tokens, got ${windows.length} windows` +
        `${first === undefined ? '' : ` of ${first.length}`}; give more text or a shorter context`,
      { details: { windows: windows.length } },
    );
  }
  const odd = windows.findIndex(({ length }) => length !== first.length);
  if (odd >= 0 || !Number.isSafeInteger(batchSize) || batchSize < 1) {
    throw new PithError(
      'TRAIN_WINDOWS_INVALID',
      `training data: windows must have one length and the batch size be a whole number from 1, got ` +
        `${odd < 0 ? '' : `${windows[odd]!.length} tokens in window ${odd} for ${first.length} and `}a batch size of ${batchSize}`,
      { details: { batchSize, context: first.length } },
    );
  }
  const tokens = first.length - 1;
  const shape = [batchSize, tokens];
  const signature: Signature = { ids: { shape, dtype: 'int32' }, targets: { shape, dtype: 'int32' } };
  const ids: HostTensor<'i32'> = { dtype: 'i32', shape, data: new Int32Array(batchSize * tokens) };
  const targets: HostTensor<'i32'> = { dtype: 'i32', shape, data: new Int32Array(batchSize * tokens) };
  const orders = new Map<number, Uint32Array>();
  const windowAt = (position: number): number => {
    const epoch = Math.floor(position / windows.length);
    let order = orders.get(epoch);
    if (order === undefined) {
      order = randomStream(seed, `order of epoch ${epoch}`).permutation(windows.length);
      if (orders.size > 1) orders.clear();
      orders.set(epoch, order);
    }
    return order[position % windows.length]!;
  };
  const windowsOf = (step: number) => Array.from({ length: batchSize }, (_, row) => windowAt(step * batchSize + row));
  return {
    signature,
    windowsOf,
    batch(step): HostTensors {
      windowsOf(step).forEach((index, row) => {
        const window = windows[index]!;
        ids.data.set(window.subarray(0, tokens), row * tokens);
        targets.data.set(window.subarray(1), row * tokens);
      });
      return { ids, targets };
    },
  };
}
