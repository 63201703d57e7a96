// Quality before and after, for a receipt.
import { cutWindows, tokensOf } from '@pith/model';
import { openModel } from '@pith/model/node';
import type { QualityReceipt } from '../receipt/types.ts';
import { evaluate, type EvaluateOptions } from './evaluate.ts';
import { readTextOrIds } from './read-text.ts';

/**
 * Refuses a text that could not be evaluated on: nothing is computed.
 *
 * @throws PithError `TEXT_NOT_READABLE`, `TEXT_NOT_UTF8`, `TEXT_TOO_SHORT`, `TOKENIZER_MISSING`, `BOS_MISSING`,
 * `EVALUATION_OPTIONS`.
 */
export async function checkText(
  source: string,
  { data, context }: Pick<EvaluateOptions, 'data' | 'context'>,
): Promise<void> {
  const { content } = await readTextOrIds(data);
  const model = await openModel(source);
  try {
    const ids = 'ids' in content ? content.ids : tokensOf(model, content.text);
    cutWindows(model, ids, context === undefined ? {} : { context });
  } finally {
    await model.close();
  }
}

/** Evaluates an artefact against its source on the same windows. */
export async function measureQuality(
  artefact: string,
  source: string,
  options: Omit<EvaluateOptions, 'reference'>,
): Promise<QualityReceipt> {
  const result = await evaluate(artefact, { ...options, reference: source });
  const { protocol: measured, perplexity, nll, tokens } = result;
  // Always 1: whole windows are predicted.
  const { firstPredicted: _, ...protocol } = measured;
  return {
    protocol,
    textSha256: result.text.sha256,
    tokens,
    before: { perplexity: result.referencePerplexity!, nll: Math.log(result.referencePerplexity!) },
    after: { perplexity, nll, kl: result.kl!, klP99: result.klP99!, top1Agreement: result.top1Agreement! },
  };
}
