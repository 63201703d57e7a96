// How much each block changes the hidden states that pass through it: the block influence of Men et al. 2024 (ShortGPT,
// section 3.1), by which blocks are chosen that a model can do without.
import { PithError, throwIfStopped } from '@pith/tensor-core';
import type { Device, RunOptions } from '@pith/tensor-core';
import type { LanguageModel } from '../language-model.ts';
import { restoreBlock } from '../run/restore.ts';
import { memoryActivations, type ActivationStore } from './activations.ts';
import { BlockPrograms } from './block-programs.ts';
import { batchWindows, CALIBRATION_BATCH_TOKENS, embedBatches, hiddenKey } from './window-batches.ts';

/** Options of {@link blockInfluences}. */
export interface BlockInfluenceOptions extends RunOptions {
  /** Where the blocks run. */
  readonly device: Device;
  /** Calibration windows, int32 [context] each, all of one length. */
  readonly windows: readonly Int32Array[];
  /** Most tokens that run together; {@link CALIBRATION_BATCH_TOKENS} when left out, one window at least. */
  readonly batchTokens?: number;
  /** Where hidden states wait between blocks; in memory when left out. It is disposed in the end. */
  readonly activations?: ActivationStore;
}

/** What a block does to the hidden states. */
export interface BlockInfluence {
  /** Index of the block. */
  readonly block: number;
  /** Mean over all tokens of the cosine between a token's hidden state before and after the block, -1 to 1. */
  readonly similarity: number;
  /** `1 - similarity`: 0 for a block that only scales what passes through it. */
  readonly influence: number;
}

/**
 * The influence of every block on calibration windows, from one run of the model, block by block.
 *
 * Cosines and their sums over a batch in f32, sums over batches in f64.
 *
 * @throws PithError `CALIBRATION_EMPTY`, `ACTIVATIONS_NOT_FINITE`, `STOPPED`.
 */
export async function blockInfluences(model: LanguageModel, options: BlockInfluenceOptions): Promise<BlockInfluence[]> {
  const { device, windows, signal, progress } = options;
  if (windows.length === 0) {
    throw new PithError(
      'CALIBRATION_EMPTY',
      'block influence: needs at least one window, got none; give a longer text',
    );
  }
  const { blocks } = model.architecture;
  const batches = batchWindows(windows, options.batchTokens ?? CALIBRATION_BATCH_TOKENS);
  const store = options.activations ?? memoryActivations();
  const programs = new BlockPrograms(model.architecture, windows[0].length, device);
  const influences: BlockInfluence[] = [];
  try {
    await embedBatches(model, batches, store, device);
    const buffers = new Map<string, Float32Array>();
    for (const block of blocks) {
      const local = Object.entries(await restoreBlock(model, block, buffers));
      const weights = new Map(local.map(([name, tensor]) => [`${block.path}.${name}`, tensor]));
      let sum = 0;
      for (const [i, batch] of batches.entries()) {
        throwIfStopped(signal, 'block influence');
        const key = hiddenKey(block.index, batch);
        const next = batches[i + 1] && hiddenKey(block.index, batches[i + 1]);
        const hidden = await store.read(key, next);
        const wanted = new Map([[block.path, ['cosine' as const]]]);
        const into = store.take(hidden.length);
        const { output, reduced } = await programs.run(block, batch.count, hidden, weights, wanted, into);
        sum += reduced.get(block.path)!.get('cosine')![0][0];
        await store.drop(key);
        await store.write(hiddenKey(block.index + 1, batch), output);
      }
      const similarity = sum / (windows.length * windows[0].length);
      if (!Number.isFinite(similarity)) {
        throw new PithError(
          'ACTIVATIONS_NOT_FINITE',
          `block influence: the hidden states of ${block.path} must be finite, got NaN or infinity; ` +
            'evaluate the model first, its weights overflow',
          { details: { block: block.path } },
        );
      }
      influences.push({ block: block.index, similarity, influence: 1 - similarity });
      progress?.({ phase: 'influence', item: block.path, done: block.index + 1, total: blocks.length, unit: 'block' });
    }
  } finally {
    await programs.dispose();
    await store.dispose();
  }
  return influences;
}
