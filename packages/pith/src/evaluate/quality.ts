// Quality before and after, for a receipt.
import type { QualityReceipt } from '../receipt/types.ts';
import { evaluate, type EvaluateOptions } from './evaluate.ts';

/** Evaluates an artefact against its source on the same windows. */
export async function measureQuality(
  artefact: string,
  source: string,
  options: Omit<EvaluateOptions, 'reference'>,
): Promise<QualityReceipt> {
  const result = await evaluate(artefact, { ...options, reference: source });
  const { protocol, perplexity, nll, tokens } = result;
  return {
    protocol: { ...protocol },
    textSha256: result.text.sha256,
    tokens,
    before: { perplexity: result.referencePerplexity!, nll: Math.log(result.referencePerplexity!) },
    after: { perplexity, nll, kl: result.kl!, klP99: result.klP99!, top1Agreement: result.top1Agreement! },
  };
}
