// The windows of a calibration in batches, and their hidden states before the first block.
import type { Device } from '@pith/tensor-core';
import type { LanguageModel } from '../language-model.ts';
import { embedTokens } from '../run/embed.ts';
import { compileEmbedding } from '../run/programs.ts';
import type { ActivationStore } from './activations.ts';

/** Tokens that run together where nothing else is asked for: matrix products are at full speed. */
export const CALIBRATION_BATCH_TOKENS = 2048;

/** Windows that run together. */
export interface WindowBatch {
  /** Batches are counted from 0. */
  readonly slot: number;
  /** Windows. */
  readonly count: number;
  /** Token ids, [count, context] row-major. */
  readonly ids: Int32Array;
}

/**
 * Windows in each batch: `most`, or fewer where that leaves no smaller batch at the end, for which programs would have to
 * be made too.
 */
export function batchSize(windows: number, most: number): number {
  for (let size = Math.min(windows, most); 2 * size > most; size--) if (windows % size === 0) return size;
  return Math.ceil(windows / Math.ceil(windows / most));
}

/** Windows of one length in batches of at most `tokens` tokens, of one window at least; the last batch may be smaller. */
export function batchWindows(windows: readonly Int32Array[], tokens: number): WindowBatch[] {
  const context = windows[0].length;
  const size = batchSize(windows.length, Math.max(1, Math.floor(tokens / context)));
  const batches: WindowBatch[] = [];
  for (let from = 0; from < windows.length; from += size) {
    const members = windows.slice(from, from + size);
    const ids = new Int32Array(members.length * context);
    members.forEach((window, i) => ids.set(window, i * context));
    batches.push({ slot: batches.length, count: members.length, ids });
  }
  return batches;
}

/** Key of the hidden states of a batch after `depth` blocks in an {@link ActivationStore}. */
export const hiddenKey = (depth: number, { slot }: WindowBatch): string => `hidden.${depth}.${slot}`;

/** Writes the embedding of every batch, f32 [count, context, hidden], as the hidden states of depth 0. */
export async function embedBatches(
  model: LanguageModel,
  batches: readonly WindowBatch[],
  store: ActivationStore,
  device: Device,
): Promise<void> {
  let shape = 0;
  let program;
  try {
    for (const batch of batches) {
      const { count, ids } = batch;
      if (shape !== count) {
        await program?.dispose();
        program = await compileEmbedding(model.architecture, { batch: count, tokens: ids.length / count }, device);
        shape = count;
      }
      await store.write(hiddenKey(0, batch), (await embedTokens(model, program!, ids, ids.length / count)).data);
    }
  } finally {
    await program?.dispose();
  }
}
