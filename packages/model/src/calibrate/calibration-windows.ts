// The windows that techniques are calibrated on: cut by the protocol of the perplexity (`evaluate/windows.ts`), the first
// ones of the text or a seeded choice of them. The same options give the same tokens for every technique.
import { PithError, randomStream } from '@pith/tensor-core';
import { idsOf, type EvaluationText } from '../evaluate/perplexity.ts';
import { cutWindows, DEFAULT_CONTEXT } from '../evaluate/windows.ts';
import type { LanguageModel } from '../language-model.ts';
import type { Intervention } from './pass.ts';

/** Windows where no number is given, as in the papers on post-training quantization and pruning. */
export const DEFAULT_CALIBRATION_SAMPLES = 128;

/** Which windows of the text are taken, beside the text itself. */
export interface CalibrationChoice {
  /** Windows to take; {@link DEFAULT_CALIBRATION_SAMPLES} when left out. A text with fewer gives all that it has. */
  readonly samples?: number;
  /** Positions of a window, BOS included; {@link DEFAULT_CONTEXT} when left out, or the model's positions where those are fewer. */
  readonly context?: number;
  /**
   * `first`: the first windows of the text. `random`: windows from all over the text, by the seed, in the order of the
   * text. `random` where a seed is given, otherwise `first`.
   */
  readonly choose?: 'first' | 'random';
  /** Seed of a random choice; 0 when left out. */
  readonly seed?: number;
}

/** Options of {@link calibrationWindows}. */
export type CalibrationOptions = CalibrationChoice & EvaluationText;

/** Windows to calibrate on. */
export interface CalibrationWindows {
  /** int32 [context] each: BOS, then `context - 1` consecutive tokens of the text. */
  readonly windows: readonly Int32Array[];
  /** Which windows of the text these are, counted from 0, ascending. */
  readonly indices: readonly number[];
  /** Windows that the text has. */
  readonly available: number;
  /** Tokens of the text. */
  readonly textTokens: number;
  /** Positions of a window, BOS included. */
  readonly context: number;
  /** How they were chosen. */
  readonly choose: 'first' | 'random';
  /** Seed of a random choice; null for the first windows. */
  readonly seed: number | null;
  /** `FEWER_CALIBRATION_WINDOWS` where the text has fewer windows than were asked for. */
  readonly interventions: readonly Intervention[];
}

/**
 * Cuts a text into windows to calibrate on: [BOS] and `context - 1` tokens each, no overlap, the incomplete tail dropped.
 *
 * @throws PithError `CALIBRATION_OPTIONS`, `CALIBRATION_EMPTY` for a text without tokens, `CALIBRATION_TOO_SHORT` when it
 * does not fill one window, `CALIBRATION_ONE_TOKEN` when the windows repeat one token (98% and more), `TOKENIZER_MISSING`,
 * `BOS_MISSING`, `TOKEN_OUT_OF_RANGE`.
 */
export function calibrationWindows(model: LanguageModel, options: CalibrationOptions): CalibrationWindows {
  const { maxPositions } = model.config;
  const { samples = DEFAULT_CALIBRATION_SAMPLES, context = Math.min(DEFAULT_CONTEXT, maxPositions) } = options;
  const { choose = options.seed === undefined ? 'first' : 'random', seed = 0 } = options;
  checkOptions({ samples, context, choose, seed: options.seed, maxPositions });
  const ids = idsOf(model, options, 'calibration');
  if (ids.length === 0) {
    throw new PithError('CALIBRATION_EMPTY', 'calibration: the text must have tokens, it has none; give a longer text');
  }
  if (ids.length < context - 1) {
    throw new PithError(
      'CALIBRATION_TOO_SHORT',
      `calibration: one window of ${context} positions takes ${context - 1} tokens, the text has ${ids.length}; ` +
        `give a longer text, or a context of at most ${ids.length + 1}`,
      { details: { tokens: ids.length, context, largestContext: ids.length + 1 } },
    );
  }
  const cut = cutWindows(model, ids, { context, operation: 'calibration' }).windows;
  const all = Array.from(cut.keys());
  const indices =
    choose === 'first' || samples >= cut.length
      ? all.slice(0, samples)
      : Array.from(randomStream(seed, 'calibration').permutation(cut.length).subarray(0, samples)).sort(
          (a, b) => a - b,
        );
  const windows = indices.map((index) => cut[index]);
  const { token, times, tokens } = mostFrequent(windows);
  if (context > 2 && times >= ONE_TOKEN_SHARE * tokens) {
    throw new PithError(
      'CALIBRATION_ONE_TOKEN',
      `calibration: the text must be like what the model will read, got token ${token} repeated ` +
        `${times} times among ${tokens}; give real text`,
      { details: { token, times, tokens, windows: windows.length, context } },
    );
  }
  return Object.freeze({
    windows,
    indices,
    available: cut.length,
    textTokens: ids.length,
    context,
    choose,
    seed: choose === 'random' ? seed : null,
    interventions: windows.length < samples ? [fewer(windows.length, samples, ids.length, context)] : [],
  });
}

/** Of the tokens of a text like those of a model's training no one makes up so much; the first of a text may differ. */
const ONE_TOKEN_SHARE = 0.98;

/** The token that windows hold most often, BOS aside. */
function mostFrequent(windows: readonly Int32Array[]): { token: number; times: number; tokens: number } {
  const counts = new Map<number, number>();
  let tokens = 0;
  for (const window of windows) {
    for (const id of window.subarray(1)) counts.set(id, (counts.get(id) ?? 0) + 1);
    tokens += window.length - 1;
  }
  const [token, times] = [...counts].reduce((most, entry) => (entry[1] > most[1] ? entry : most), [-1, 0] as [
    number,
    number,
  ]);
  return { token, times, tokens };
}

function checkOptions(given: {
  samples: number;
  context: number;
  choose: string;
  seed: number | undefined;
  maxPositions: number;
}): void {
  const { samples, context, choose, seed, maxPositions } = given;
  const problems: string[] = [];
  if (!Number.isInteger(samples) || samples < 1) problems.push(`samples must be at least 1, got ${samples}`);
  if (!Number.isInteger(context) || context < 2 || context > maxPositions)
    problems.push(`context must be 2 to ${maxPositions} (positions of the model), got ${context}`);
  if (choose !== 'first' && choose !== 'random') problems.push(`choose must be first or random, got ${choose}`);
  if (choose === 'first' && seed !== undefined)
    problems.push(`the first windows have no seed, got ${seed}; leave the seed out or choose random`);
  if (seed !== undefined && (!Number.isSafeInteger(seed) || seed < 0))
    problems.push(`seed must be an integer from 0 to 2^53 - 1, got ${seed}`);
  if (problems.length === 0) return;
  throw new PithError('CALIBRATION_OPTIONS', `calibration: ${problems.join('; ')}`, {
    details: { problems, ...given },
  });
}

function fewer(windows: number, samples: number, tokens: number, context: number): Intervention {
  return {
    code: 'FEWER_CALIBRATION_WINDOWS',
    where: 'calibration',
    message:
      `The text has ${windows} whole windows of ${context} positions, ${samples} were asked for; all of them are used. ` +
      'Give a longer text or a shorter context.',
    details: { windows, samples, tokens, context },
  };
}
