// The common frame of evaluations: plan, programs, groups of windows, slices of the vocabulary, progress. What is made
// of the slices is up to the caller.
import { throwIfStopped } from '@pith/tensor-core';
import type { HostTensor, HostTensors, Program } from '@pith/tensor-core';
import type { LanguageModel } from '../language-model.ts';
import { ForwardPass } from '../run/forward-pass.ts';
import { headFeeds } from '../run/head-programs.ts';
import type { HeadShape } from '../run/head-programs.ts';
import { DEFAULT_MEMORY_BYTES, planMemory } from '../run/memory-plan.ts';
import { PhaseClock } from '../run/phase-clock.ts';
import { alternate, prefetch } from '../run/prefetch.ts';
import type { RestoreBuffers } from '../run/restore.ts';
import { clampTargets, restoreHead, vocabularySlices } from '../run/vocabulary-slices.ts';
import type { VocabularySlice } from '../run/vocabulary-slices.ts';
import { groupWindows } from './batches.ts';
import type { WindowGroup } from './batches.ts';
import type { EvaluationCost, EvaluationOptions } from './options.ts';

/** One of the models that run on the same windows. */
export interface SessionModel {
  readonly model: LanguageModel;
  /** Prefix of its inputs in the head program. */
  readonly prefix: string;
}

/** What an evaluation makes of the windows. */
export interface SessionTask {
  readonly operation: string;
  readonly models: readonly SessionModel[];
  readonly windows: readonly Int32Array[];
  /** Compiles the head program at one shape. */
  compileHead(shape: HeadShape): Promise<Program>;
  /** Called once per group, before its slices. */
  onGroup(group: WindowGroup): void;
  /** Takes the outputs of the head program for one batch and slice. */
  onSlice(batch: number, slice: VocabularySlice, outputs: HostTensors): void;
  /** Called when all slices of a group are in. */
  onGroupDone(group: WindowGroup): void;
}

/** Runs a task; see {@link SessionTask}. */
export async function runSession(task: SessionTask, options: EvaluationOptions): Promise<EvaluationCost> {
  const { operation, models, windows } = task;
  const { device, signal, progress, memoryLimitBytes = DEFAULT_MEMORY_BYTES } = options;
  const clock = new PhaseClock();
  const context = windows[0].length;
  const plan = {
    ...planMemory({
      models: models.map(({ model }) => model),
      context,
      windows: windows.length,
      limitBytes: memoryLimitBytes,
    }),
    ...options.plan,
  };
  const slices = vocabularySlices(models[0].model.config.vocabularySize, plan.vocabularySlice);
  const runs = Math.ceil(windows.length / plan.batch);
  const layers = models.reduce((sum, { model }) => sum + model.config.layers, 0);
  const total = runs * (layers + slices.length);
  let done = 0;
  const step = (item: string) => progress?.({ phase: operation, item, done: ++done, total, unit: 'step' });

  const passes: ForwardPass[] = [];
  const heads = new Map<number, Program>();
  const rows = plan.batch * context;
  try {
    for (const { model } of models) {
      const shape = { batch: plan.batch, tokens: context, prefetch: plan.prefetch };
      passes.push(
        await ForwardPass.create(model, {
          ...shape,
          device,
          clock,
          operation,
          onStep: step,
          ...(signal && { signal }),
        }),
      );
    }
    for (const { start, end } of slices) {
      if (heads.has(end - start)) continue;
      heads.set(end - start, await clock.time('compile', task.compileHead({ rows, vocabulary: end - start })));
    }
    const buffers = alternate(() => models.map(() => new Map() as RestoreBuffers), plan.prefetch);
    const restore = (slice: VocabularySlice) => {
      const sets = buffers();
      return Promise.all(models.map(({ model }, i) => restoreHead(model, slice, sets[i])));
    };
    for (const group of groupWindows(windows, plan)) {
      task.onGroup(group);
      const hidden: HostTensor<'f32'>[][] = [];
      for (const pass of passes) hidden.push(await pass.run(group.batches));
      const loading = prefetch(slices, restore, plan.prefetch);
      try {
        for (;;) {
          const next = await clock.time('restore', loading.next());
          if (next.done) break;
          const [slice, weights] = next.value;
          const fixed = Object.assign(
            {},
            ...models.map(({ model, prefix }, i) => headFeeds(model.architecture, weights[i], prefix)),
          ) as HostTensors;
          for (let batch = 0; batch < group.batches.length; batch++) {
            throwIfStopped(signal, operation);
            const targets = clampTargets(group.targets[batch], slice);
            const feeds: Record<string, HostTensor> = {
              ...fixed,
              targets: { dtype: 'i32', shape: [rows], data: targets },
            };
            models.forEach(({ model, prefix }, i) => {
              feeds[`${prefix}hidden`] = { ...hidden[i][batch], shape: [rows, model.config.hiddenSize] };
            });
            task.onSlice(batch, slice, await clock.time('head', heads.get(slice.end - slice.start)!.run(feeds)));
            step(models[0].model.architecture.head.path);
          }
        }
      } finally {
        await loading.return();
      }
      task.onGroupDone(group);
    }
  } finally {
    await Promise.all([...passes, ...heads.values()].map((made) => made.dispose()));
  }
  const seconds = clock.total();
  const predicted = windows.length * (context - 1);
  return {
    seconds,
    tokensPerSecond: predicted / seconds,
    phases: clock.phases(),
    peakMemoryBytes: plan.peakBytes,
  };
}
