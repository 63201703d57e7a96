// What is kept of a teacher's distributions: at each position its k most likely tokens, their probabilities, and what is
// left for all others. The student trains from it without the teacher.
import type { BatchSource, TopTargets, WindowBatches } from '@pith/model';
import type { HostTensor, HostTensors } from '@pith/tensor-core';
import type { Tensor, Tensor2D, Tensor3D } from '@tensorflow/tfjs-core';
import type { TeacherView } from '../losses/build-loss.ts';

/** A teacher's most likely tokens for each window of a text. */
export interface TeacherCache {
  /** Windows that it holds. */
  readonly windows: number;
  /** Positions of a window that are predicted. */
  readonly tokens: number;
  /** Tokens kept at each position. */
  readonly top: number;
  /** Temperature at which the probabilities were taken. */
  readonly temperature: number;
  /**
   * Writes one window: `ids` int32 [tokens, top], `probabilities` f32 [tokens, top], `rest` f32 [tokens], each from
   * `position * tokens` positions on.
   */
  readWindow(
    index: number,
    into: { ids: Int32Array; probabilities: Float32Array; rest: Float32Array },
    position: number,
  ): void;
}

/** Names of the cached tensors in a batch. */
const NAMES = { ids: 'teacher-ids', probabilities: 'teacher-probabilities', rest: 'teacher-rest' } as const;

/** Batches with what the teacher said about their windows. */
export function cachedBatches(batches: WindowBatches, cache: TeacherCache): BatchSource {
  const [batch, tokens] = batches.signature['ids']!.shape as [number, number];
  const shape = [batch, tokens, cache.top];
  const size = batch * tokens * cache.top;
  const ids: HostTensor<'i32'> = { dtype: 'i32', shape, data: new Int32Array(size) };
  const probabilities: HostTensor<'f32'> = { dtype: 'f32', shape, data: new Float32Array(size) };
  const rest: HostTensor<'f32'> = { dtype: 'f32', shape: [batch, tokens], data: new Float32Array(batch * tokens) };
  return {
    signature: {
      ...batches.signature,
      [NAMES.ids]: { shape, dtype: 'int32' },
      [NAMES.probabilities]: { shape },
      [NAMES.rest]: { shape: [batch, tokens] },
    },
    batch: (step): HostTensors => {
      const into = { ids: ids.data, probabilities: probabilities.data, rest: rest.data };
      batches.windowsOf(step).forEach((window, row) => cache.readWindow(window, into, row));
      return {
        ...batches.batch(step),
        [NAMES.ids]: ids,
        [NAMES.probabilities]: probabilities,
        [NAMES.rest]: rest,
      };
    },
  };
}

/** The teacher as a batch of {@link cachedBatches} shows it. */
export function cachedView(batch: Readonly<Record<string, Tensor>>): TeacherView {
  const top: TopTargets = {
    ids: batch[NAMES.ids] as Tensor3D,
    probabilities: batch[NAMES.probabilities] as Tensor3D,
    rest: batch[NAMES.rest] as Tensor2D,
  };
  return { top };
}
