// How far one model is from another on the same text: divergence of the next-token distributions, agreement of the most
// likely token, perplexities; all from one pass over the same windows.
import { PithError } from '@pith/tensor-core';
import { compileComparison, MODEL, REFERENCE } from '../run/head-programs.ts';
import type { LanguageModel } from '../language-model.ts';
import { requireCausal } from './require-head.ts';
import { addLogs } from './log-sum.ts';
import type { EvaluationCost, EvaluationOptions } from './options.ts';
import { idsOf, measuredProtocol } from './perplexity.ts';
import type { EvaluationText } from './perplexity.ts';
import { weightsOnly } from '../run/weights-only.ts';
import { runSession } from './session.ts';
import { checkFinite, cutWindows, DEFAULT_CONTEXT } from './windows.ts';
import type { EvaluationProtocol, WindowOptions } from './windows.ts';

/** Options of {@link compare}. The text is tokenized by the reference's tokenizer. */
export type CompareOptions = EvaluationOptions & WindowOptions & EvaluationText;

/** Outcome of {@link compare}. */
export interface CompareResult extends EvaluationCost {
  /** Mean over the predicted tokens of KL(reference || model) of the next-token distributions, nats. */
  readonly kl: number;
  /** 99th percentile over the predicted tokens of the same divergence (nearest rank), nats. */
  readonly klP99: number;
  /** Share of the predicted tokens where both find the same token most likely (the first one at a tie). */
  readonly top1Agreement: number;
  /** `exp(nll)`. */
  readonly perplexity: number;
  /** `exp(referenceNll)`. */
  readonly referencePerplexity: number;
  /** `perplexity / referencePerplexity`. */
  readonly perplexityRatio: number;
  /** Mean negative log-likelihood under the model, natural logarithm. */
  readonly nll: number;
  /** The same under the reference. */
  readonly referenceNll: number;
  /** Predicted tokens. */
  readonly tokens: number;
  /** Tokens of the text. */
  readonly textTokens: number;
  /** Tokens of the text that no window holds. */
  readonly droppedTokens: number;
  /** How it was measured. */
  readonly protocol: EvaluationProtocol;
}

/** What is known of one model's distributions so far, one entry per row. */
class Side {
  readonly logSum: Float64Array;
  readonly target: Float32Array;
  readonly top: Float32Array;
  readonly topIndex: Int32Array;

  constructor(rows: number) {
    this.logSum = new Float64Array(rows).fill(-Infinity);
    this.target = new Float32Array(rows);
    this.top = new Float32Array(rows).fill(-Infinity);
    this.topIndex = new Int32Array(rows).fill(-1);
  }
}

/** Nearest-rank percentile: the smallest value that at least `share` of the values do not exceed. Sorts in place. */
export function percentile(values: Float64Array, share: number): number {
  return values.sort()[Math.max(0, Math.ceil(share * values.length) - 1)];
}

function checkPair(model: LanguageModel, reference: LanguageModel, context: number): void {
  const [a, b] = [reference.config, model.config];
  const problems = [
    ...(a.vocabularySize !== b.vocabularySize ? [`vocabulary sizes ${a.vocabularySize} and ${b.vocabularySize}`] : []),
    ...(context > b.maxPositions ? [`context ${context} with ${b.maxPositions} positions of the model`] : []),
    ...(a.bosTokenId !== b.bosTokenId ? [`BOS ${a.bosTokenId} and ${b.bosTokenId}`] : []),
  ];
  if (problems.length === 0) return;
  throw new PithError(
    'COMPARE_MISMATCH',
    `compare: reference and model must share vocabulary, BOS and the context, got ${problems.join('; ')}; the same windows must mean the same to both`,
    { details: { problems } },
  );
}

/**
 * Compares a model with a reference over the windows of a text.
 *
 * The divergence is exact over the whole vocabulary. Slices of it are joined by the chain rule: with slices S, shares
 * w = P(S) and v = Q(S), KL(P || Q) = sum of w (KL of the distributions within S + log w - log v). Within a slice it is
 * f32, across slices and tokens f64.
 *
 * @throws PithError `COMPARE_MISMATCH`, what `cutWindows` throws, `LOGITS_NOT_FINITE`, `MEMORY_LIMIT`,
 * `STOPPED`.
 */
export async function compare(
  givenModel: LanguageModel,
  givenReference: LanguageModel,
  options: CompareOptions,
): Promise<CompareResult> {
  const [model, reference] = [givenModel, givenReference].map((given) =>
    options.activations === 'weights-only' ? weightsOnly(given) : given,
  );
  for (const one of [model, reference]) requireCausal(one, 'compare');
  checkPair(model, reference, options.context ?? DEFAULT_CONTEXT);
  const cut = cutWindows(reference, idsOf(reference, options), options);
  const { context, firstPredicted, predictedPerWindow } = cut.protocol;
  const tokens = cut.windows.length * predictedPerWindow;
  const divergences = new Float64Array(tokens);
  let at = 0;
  let agreed = 0;
  const nll = { model: 0, reference: 0 };
  let state: { reference: Side; model: Side; kl: Float64Array; targets: Int32Array }[] = [];
  const cost = await runSession(
    {
      operation: 'compare',
      models: [
        { model: reference, prefix: REFERENCE },
        { model, prefix: MODEL },
      ],
      windows: cut.windows,
      compileHead: (shape) => compileComparison(reference.architecture, model.architecture, shape, options.device),
      onGroup: ({ targets }) => {
        state = targets.map((ids) => ({
          reference: new Side(ids.length),
          model: new Side(ids.length),
          kl: new Float64Array(ids.length),
          targets: ids,
        }));
      },
      onSlice: (batch, { start, end }, outputs) => {
        const { reference: a, model: b, kl, targets } = state[batch];
        const values = (name: string) => outputs[name].data as Float32Array;
        const sliceKl = values('kl');
        const sums = { a: values(`${REFERENCE}logSum`), b: values(`${MODEL}logSum`) };
        for (let row = 0; row < targets.length; row++) {
          const [sumA, sumB] = [addLogs(a.logSum[row], sums.a[row]), addLogs(b.logSum[row], sums.b[row])];
          // Both parts, the one so far and the new slice, weighted by what the reference gives them.
          const part = (klPart: number, logA: number, logB: number) =>
            logA === -Infinity ? 0 : Math.exp(logA - sumA) * (klPart + (logA - sumA) - (logB - sumB));
          kl[row] = part(kl[row], a.logSum[row], b.logSum[row]) + part(sliceKl[row], sums.a[row], sums.b[row]);
          a.logSum[row] = sumA;
          b.logSum[row] = sumB;
        }
        for (const [side, prefix] of [
          [a, REFERENCE],
          [b, MODEL],
        ] as const) {
          const [top, target] = [values(`${prefix}top`), values(`${prefix}target`)];
          const index = outputs[`${prefix}topIndex`].data as Int32Array;
          for (let row = 0; row < targets.length; row++) {
            if (targets[row] >= start && targets[row] < end) side.target[row] = target[row];
            if (top[row] > side.top[row]) {
              side.top[row] = top[row];
              side.topIndex[row] = start + index[row];
            }
          }
        }
      },
      onGroupDone: ({ count }) => {
        const perBatch = state[0].targets.length / context;
        for (let i = 0; i < count; i++) {
          const { reference: a, model: b, kl } = state[Math.floor(i / perBatch)];
          const first = (i % perBatch) * context;
          for (let row = first + firstPredicted - 1; row < first + context - 1; row++) {
            divergences[at++] = kl[row];
            agreed += a.topIndex[row] === b.topIndex[row] ? 1 : 0;
            nll.reference += a.logSum[row] - a.target[row];
            nll.model += b.logSum[row] - b.target[row];
          }
        }
      },
    },
    options,
  );
  const [modelNll, referenceNll] = [nll.model / tokens, nll.reference / tokens];
  checkFinite(modelNll, 'compare', 'the model');
  checkFinite(referenceNll, 'compare', 'the reference');
  return {
    kl: divergences.reduce((a, b) => a + b, 0) / tokens,
    klP99: percentile(divergences, 0.99),
    top1Agreement: agreed / tokens,
    perplexity: Math.exp(modelNll),
    referencePerplexity: Math.exp(referenceNll),
    perplexityRatio: Math.exp(modelNll - referenceNll),
    nll: modelNll,
    referenceNll,
    tokens,
    textTokens: cut.textTokens,
    droppedTokens: cut.droppedTokens,
    protocol: measuredProtocol(cut.protocol, model),
    ...cost,
  };
}
