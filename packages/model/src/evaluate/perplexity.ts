// Perplexity of a text. The protocol is in `windows.ts`, the layer-by-layer pass in `session.ts`.
import { compileScore } from '../run/head-programs.ts';
import type { LanguageModel } from '../language-model.ts';
import { requireCausal } from './require-head.ts';
import { addLogs } from './log-sum.ts';
import type { EvaluationCost, EvaluationOptions } from './options.ts';
import { quantizesActivations, weightsOnly } from '../run/weights-only.ts';
import { runSession } from './session.ts';
import { checkFinite, cutWindows, tokensOf } from './windows.ts';
import type { EvaluationProtocol, WindowOptions } from './windows.ts';

/** A text that the model's tokenizer cuts into tokens. */
export interface PlainText {
  /** The whole text. */
  readonly text: string;
}

/** A text that is already tokens. */
export interface TokenText {
  /** Tokens of the whole text, without BOS. */
  readonly ids: Int32Array;
}

/** The text to evaluate on. */
export type EvaluationText = PlainText | TokenText;

/** Options of {@link perplexity}. */
export type PerplexityOptions = EvaluationOptions & WindowOptions & EvaluationText;

/** Outcome of {@link perplexity}. */
export interface PerplexityResult extends EvaluationCost {
  /** `exp(nll)`. */
  readonly perplexity: number;
  /** Mean negative log-likelihood of the predicted tokens, natural logarithm. */
  readonly nll: number;
  /** Predicted tokens. */
  readonly tokens: number;
  /** Tokens of the text. */
  readonly textTokens: number;
  /** Tokens of the text that no window holds. */
  readonly droppedTokens: number;
  /** Mean negative log-likelihood of each window, f64. */
  readonly windowNll: Float64Array;
  /** How it was measured. */
  readonly protocol: EvaluationProtocol;
}

/** The protocol, with what was done to activations, keys and values of a model. */
export function measuredProtocol(protocol: EvaluationProtocol, model: LanguageModel): EvaluationProtocol {
  const { keyValueCache } = model;
  return Object.freeze({
    ...protocol,
    activations: quantizesActivations(model) ? 'quantized' : 'f32',
    ...(keyValueCache && { keyValues: keyValueCache.dtype }),
  });
}

/** The tokens of an evaluation text. */
export function idsOf(model: LanguageModel, source: EvaluationText, operation = 'evaluate'): Int32Array {
  return 'ids' in source ? source.ids : tokensOf(model, source.text, operation);
}

/**
 * Perplexity of a text under a model, layer by layer: peak memory is a few layers, not the model.
 *
 * Logits and their log-sums are f32 and reduced on the device; sums over tokens and over slices of the vocabulary are f64.
 *
 * @throws PithError what `cutWindows` throws, `LOGITS_NOT_FINITE`, `MEMORY_LIMIT`, `STOPPED`.
 */
export async function perplexity(given: LanguageModel, options: PerplexityOptions): Promise<PerplexityResult> {
  const model = options.activations === 'weights-only' ? weightsOnly(given) : given;
  requireCausal(model, 'evaluate');
  const cut = cutWindows(model, idsOf(model, options), options);
  const windowNll = new Float64Array(cut.windows.length);
  let state: { logSum: Float64Array; target: Float32Array; targets: Int32Array }[] = [];
  const cost = await runSession(
    {
      operation: 'evaluate',
      models: [{ model, prefix: '' }],
      windows: cut.windows,
      compileHead: (shape) => compileScore(model.architecture, shape, options.device),
      onGroup: ({ targets }) => {
        state = targets.map((ids) => ({
          logSum: new Float64Array(ids.length).fill(-Infinity),
          target: new Float32Array(ids.length),
          targets: ids,
        }));
      },
      onSlice: (batch, { start, end }, outputs) => {
        const { logSum, target, targets } = state[batch];
        const [sliceSum, sliceTarget] = [
          outputs['logSum'].data as Float32Array,
          outputs['target'].data as Float32Array,
        ];
        for (let row = 0; row < targets.length; row++) {
          logSum[row] = addLogs(logSum[row], sliceSum[row]);
          if (targets[row] >= start && targets[row] < end) target[row] = sliceTarget[row];
        }
      },
      onGroupDone: ({ first, count }) => {
        const { context, firstPredicted, predictedPerWindow } = cut.protocol;
        const perBatch = state[0].targets.length / context;
        for (let i = 0; i < count; i++) {
          const { logSum, target } = state[Math.floor(i / perBatch)];
          const row = (i % perBatch) * context;
          let sum = 0;
          for (let t = row + firstPredicted - 1; t < row + context - 1; t++) sum += logSum[t] - target[t];
          windowNll[first + i] = sum / predictedPerWindow;
        }
      },
    },
    options,
  );
  const nll = windowNll.reduce((a, b) => a + b, 0) / windowNll.length;
  checkFinite(nll, 'evaluate', 'the model');
  return {
    perplexity: Math.exp(nll),
    nll,
    tokens: cut.windows.length * cut.protocol.predictedPerWindow,
    textTokens: cut.textTokens,
    droppedTokens: cut.droppedTokens,
    windowNll,
    protocol: measuredProtocol(cut.protocol, model),
    ...cost,
  };
}
