// Batches for next-token training: one run of tokens, cut into windows, in an order that a seed decides.
import { PithError, randomStream } from '@pith/tensor-core';
import type { HostTensor, HostTensors, Signature } from '@pith/tensor-core';
import type { BatchSource } from './batch-source.ts';

/** Options of {@link tokenWindows}. */
export interface TokenWindowsOptions {
  /** The text as token ids. */
  readonly tokens: Int32Array;
  /** Token that opens every window. */
  readonly bos: number;
  /** Tokens that the model sees at once. */
  readonly context: number;
  /** Windows in a batch. */
  readonly batchSize: number;
  /** Decides the order of the windows. */
  readonly seed: number;
}

/**
 * Windows of the run, as the perplexity protocol cuts them: each predicts `context` tokens of the run from BOS and the
 * tokens before them, so that an epoch predicts every token once (an incomplete tail is dropped). Every epoch has an order
 * of its own; a batch may hold the end of one epoch and the beginning of the next.
 *
 * Batches: `ids` (BOS, then all targets but the last) and `targets`, int32 [batchSize, context].
 *
 * @throws PithError `TRAIN_DATA_TOO_SHORT` when there is not one window.
 */
export function tokenWindows({ tokens, bos, context, batchSize, seed }: TokenWindowsOptions): BatchSource {
  const count = Math.floor(tokens.length / context);
  if (count === 0) {
    throw new PithError(
      'TRAIN_DATA_TOO_SHORT',
      `training data: a window needs ${context} tokens, got ${tokens.length} in all; give more text or a shorter context`,
      { details: { context, tokens: tokens.length } },
    );
  }
  const shape = [batchSize, context];
  const signature: Signature = { ids: { shape, dtype: 'int32' }, targets: { shape, dtype: 'int32' } };
  const ids: HostTensor<'i32'> = { dtype: 'i32', shape, data: new Int32Array(batchSize * context) };
  const targets: HostTensor<'i32'> = { dtype: 'i32', shape, data: new Int32Array(batchSize * context) };
  let epoch = -1;
  let order = new Uint32Array(0);
  const windowAt = (position: number): number => {
    const wanted = Math.floor(position / count);
    if (wanted !== epoch) {
      order = randomStream(seed, `order of epoch ${wanted}`).permutation(count);
      epoch = wanted;
    }
    return order[position % count]!;
  };
  return {
    signature,
    batch(step): HostTensors {
      for (let row = 0; row < batchSize; row++) {
        const start = windowAt(step * batchSize + row) * context;
        targets.data.set(tokens.subarray(start, start + context), row * context);
        ids.data[row * context] = bos;
        ids.data.set(tokens.subarray(start, start + context - 1), row * context + 1);
      }
      return { ids, targets };
    },
  };
}
