// Raw logits of a short text, to compare runtimes. Layer by layer like everything else here.
import { PithError } from '@pith/tensor-core';
import type { HostTensor } from '@pith/tensor-core';
import { ForwardPass } from '../run/forward-pass.ts';
import { compileLogits, headFeeds } from '../run/head-programs.ts';
import { DEFAULT_MEMORY_BYTES, planMemory } from '../run/memory-plan.ts';
import { PhaseClock } from '../run/phase-clock.ts';
import { weightsOnly } from '../run/weights-only.ts';
import { restoreHead, vocabularySlices } from '../run/vocabulary-slices.ts';
import type { LanguageModel } from '../language-model.ts';
import type { EvaluationOptions } from './options.ts';
import { requireHead } from './require-head.ts';
import { checkIds } from './windows.ts';

/** Options of {@link logits}. */
export interface LogitOptions extends EvaluationOptions {
  /** Segment (token type) of each token, of models that have such; the first for all when left out. */
  readonly segments?: ArrayLike<number>;
}

/** @throws PithError `EVALUATION_OPTIONS`. */
export function checkSegments(
  { architecture: { tokenTypes }, config }: LanguageModel,
  given: ArrayLike<number>,
  tokens: number,
): Int32Array {
  const segments = Int32Array.from(given);
  const rows = tokenTypes?.rows ?? 0;
  if (segments.length === tokens && segments.every((segment) => segment >= 0 && segment < rows)) return segments;
  throw new PithError(
    'EVALUATION_OPTIONS',
    rows === 0
      ? `segments: ${config.modelType} has none; leave them out`
      : `segments: must be ${tokens} numbers from 0 to ${rows - 1}, one for each token, got ${segments.length}`,
    { details: { tokens, segments: segments.length, rows } },
  );
}

/**
 * Logits of the next token at every position (of a masked language model those of the token itself), of the stored weights: where these ask a runtime to quantize activations, that
 * is done with `activations: 'quantized'` only, because runtimes are compared by what they compute without it.
 *
 * @param ids Token ids as they are: no BOS is added.
 * @returns f32 [1, tokens, vocabulary].
 * @throws PithError `TOKEN_OUT_OF_RANGE`, `EVALUATION_OPTIONS` for no ids or more than the model has positions,
 * `MEMORY_LIMIT`, `STOPPED`.
 */
export async function logits(
  given: LanguageModel,
  ids: ArrayLike<number>,
  options: LogitOptions,
): Promise<HostTensor<'f32'>> {
  const { device, signal, progress, memoryLimitBytes = DEFAULT_MEMORY_BYTES } = options;
  const model = options.activations === 'quantized' ? given : weightsOnly(given);
  const { architecture, config } = model;
  const tokens = ids.length;
  if (tokens === 0 || tokens > config.maxPositions) {
    throw new PithError('EVALUATION_OPTIONS', `logits: needs 1 to ${config.maxPositions} token ids, got ${tokens}`, {
      details: { tokens, maxPositions: config.maxPositions },
    });
  }
  const input = Int32Array.from(ids);
  checkIds(input, config.vocabularySize);
  const segments = options.segments && checkSegments(model, options.segments, tokens);
  requireHead(model, 'logits');
  const plan = {
    ...planMemory({ models: [model], context: tokens, windows: 1, limitBytes: memoryLimitBytes }),
    ...options.plan,
  };
  const slices = vocabularySlices(config.vocabularySize, plan.vocabularySlice);
  const operation = 'logits';
  const total = config.layers + slices.length;
  let done = 0;
  const step = (item: string) => progress?.({ phase: operation, item, done: ++done, total, unit: 'step' });
  const clock = new PhaseClock();
  const shape = { batch: 1, tokens, prefetch: plan.prefetch };
  const pass = await ForwardPass.create(model, {
    ...shape,
    device,
    clock,
    operation,
    onStep: step,
    ...(signal && { signal }),
  });
  try {
    const [hidden] = await pass.run([input], undefined, segments && [segments]);
    const rows = { ...hidden, shape: [tokens, config.hiddenSize] };
    const data = new Float32Array(tokens * config.vocabularySize);
    for (const slice of slices) {
      const length = slice.end - slice.start;
      const program = await compileLogits(architecture, { rows: tokens, vocabulary: length }, device);
      try {
        const weights = headFeeds(architecture, await restoreHead(model, slice));
        const part = (await program.run({ ...weights, hidden: rows }))['logits'].data as Float32Array;
        for (let row = 0; row < tokens; row++) {
          data.set(part.subarray(row * length, (row + 1) * length), row * config.vocabularySize + slice.start);
        }
      } finally {
        await program.dispose();
      }
      step(architecture.head.path);
    }
    return { dtype: 'f32', shape: [1, tokens, config.vocabularySize], data };
  } finally {
    await pass.dispose();
  }
}
