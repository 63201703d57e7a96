// The loss of each window and its gradient with respect to the hidden states after the last block, one slice of the
// vocabulary at a time: neither the head's weights nor the logits are ever whole in memory.
import { throwIfStopped } from '@pith/tensor-core';
import type { Device, HostTensor, Program } from '@pith/tensor-core';
import { addLogs } from '../evaluate/log-sum.ts';
import type { LanguageModel } from '../language-model.ts';
import { compileHeadGradient, compileScore, headFeeds } from '../run/head-programs.ts';
import type { RestoreBuffers } from '../run/restore.ts';
import { clampTargets, restoreHead, vocabularySlices, type VocabularySlice } from '../run/vocabulary-slices.ts';
import type { ActivationStore } from './activations.ts';
import { hiddenKey, type WindowBatch } from './window-batches.ts';

/** Most bytes of a restored slice of the head, and of the logits of one window on it. */
export const HEAD_SLICE_BYTES = 64 * 2 ** 20;

/** Rows of the output projection that are worked on at once. */
export function headSlice(hidden: number, vocabulary: number, tokens: number): number {
  const most = Math.max(1, Math.floor(HEAD_SLICE_BYTES / (4 * Math.max(hidden, tokens))));
  return Math.ceil(vocabulary / Math.ceil(vocabulary / most));
}

/** Key of the gradient of a window's loss with respect to its hidden states, at the depth in hand. */
export const slopeKey = ({ slot }: WindowBatch): string => `slope.${slot}`;

/** What {@link writeLossSlopes} works on. */
export interface LossSlopeOptions {
  readonly device: Device;
  /** One window in each batch; the hidden states after the last block are in the store. */
  readonly windows: readonly WindowBatch[];
  readonly store: ActivationStore;
  /** Rows of the output projection at once; {@link headSlice} when left out. */
  readonly vocabularySlice?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes the gradient of every window's loss with respect to its hidden states after the last block, f32
 * [tokens, hidden], by {@link slopeKey}. The loss of a window is the mean negative log-likelihood of its tokens but the
 * first. Parts of slices are added in f32.
 *
 * @returns The loss of each window, f64.
 */
export async function writeLossSlopes(model: LanguageModel, options: LossSlopeOptions): Promise<Float64Array> {
  const { windows, store } = options;
  const rows = windows[0].ids.length;
  const f32 = (data: Float32Array): HostTensor => ({ dtype: 'f32', shape: [rows], data });
  const logSums = windows.map(() => new Float64Array(rows).fill(-Infinity));
  const targetLogits = windows.map(() => new Float32Array(rows));
  for await (const { window, slice, targets, program, feeds } of headRuns(model, compileScore, options)) {
    const outputs = await program.run(feeds);
    const [logSum, target] = [outputs['logSum'].data as Float32Array, outputs['target'].data as Float32Array];
    for (let t = 0; t < rows; t++) {
      logSums[window][t] = addLogs(logSums[window][t], logSum[t]);
      if (targets[t] >= slice.start && targets[t] < slice.end) targetLogits[window][t] = target[t];
    }
  }
  const losses = logSums.map((logSum, window) => {
    let sum = 0;
    for (let t = 0; t < rows - 1; t++) sum += logSum[t] - targetLogits[window][t];
    return sum / (rows - 1);
  });
  // The last token of a window predicts nothing.
  const share = new Float32Array(rows).fill(1 / (rows - 1), 0, rows - 1);
  for await (const { window, slice, targets, program, feeds } of headRuns(model, compileHeadGradient, options)) {
    const targetShare = share.map((value, t) => (targets[t] >= slice.start && targets[t] < slice.end ? value : 0));
    const { gradient } = await program.run({
      ...feeds,
      logSum: f32(Float32Array.from(logSums[window])),
      share: f32(share),
      targetShare: f32(targetShare),
    });
    const part = gradient.data as Float32Array;
    const key = slopeKey(windows[window]);
    const sum = store.take(part.length);
    if (slice.start === 0) sum.set(part);
    else {
      const before = await store.read(key);
      for (let i = 0; i < sum.length; i++) sum[i] = before[i] + part[i];
    }
    await store.write(key, sum);
  }
  return Float64Array.from(losses);
}

/** One window on one slice. */
interface HeadRun {
  /** Number of the window. */
  readonly window: number;
  readonly slice: VocabularySlice;
  /** The next token at each position; any for the last. */
  readonly targets: Int32Array;
  readonly program: Program;
  /** Weights, `hidden` and `targets`. */
  readonly feeds: Record<string, HostTensor>;
}

/** All windows on the first slice, then on the next: each slice is restored once. */
async function* headRuns(
  model: LanguageModel,
  compileHead: typeof compileScore,
  { windows, store, device, signal, vocabularySlice }: LossSlopeOptions,
): AsyncGenerator<HeadRun> {
  const { architecture } = model;
  const { hiddenSize, vocabularySize } = architecture.config;
  const rows = windows[0].ids.length;
  const length = vocabularySlice ?? headSlice(hiddenSize, vocabularySize, rows);
  const slices = vocabularySlices(vocabularySize, length);
  const nextTokens = windows.map(({ ids }) => Int32Array.from({ length: rows }, (_, t) => ids[(t + 1) % rows]));
  const keys = windows.map((window) => hiddenKey(architecture.blocks.length, window));
  const buffers: RestoreBuffers = new Map();
  const programs = new Map<number, Program>();
  try {
    for (const slice of slices) {
      const vocabulary = slice.end - slice.start;
      const program = programs.get(vocabulary) ?? (await compileHead(architecture, { rows, vocabulary }, device));
      programs.set(vocabulary, program);
      const weights = headFeeds(architecture, await restoreHead(model, slice, buffers));
      for (const [window, targets] of nextTokens.entries()) {
        throwIfStopped(signal, 'gradients');
        const hidden = await store.read(keys[window], keys[window + 1]);
        const feeds: Record<string, HostTensor> = {
          ...weights,
          hidden: { dtype: 'f32', shape: [rows, hiddenSize], data: hidden },
          targets: { dtype: 'i32', shape: [rows], data: clampTargets(targets, slice) },
        };
        yield { window, slice, targets, program, feeds };
      }
    }
  } finally {
    for (const program of programs.values()) await program.dispose();
  }
}
