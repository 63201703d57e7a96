// What a model says before and after: a glance beside the numbers.
import { stat } from 'node:fs/promises';
import { openCheckpointAt } from '@pith/model/node';
import type { RunOptions } from '@pith/tensor-core';
import { generate } from '../generate/generate.ts';
import type { SampleReceipt } from '../receipt/types.ts';
import { readText } from './read-text.ts';

/** Words of the prompt, and tokens of the answer. */
const WORDS = 8;
const TOKENS = 40;
/** Largest model that is asked: a larger one takes longer than a glance is worth. */
const MOST_BYTES = 2e9;

/** Continuations of the first words of a text by source and artefact; none without a tokenizer, or for large models. */
export async function takeSamples(
  artefact: string,
  source: string,
  text: string,
  run: RunOptions & { readonly threads: number },
): Promise<readonly SampleReceipt[]> {
  if (text.endsWith('.json') || (await stat(text)).size === 0) return [];
  const { weightFileBytes, files, close } = await openCheckpointAt(source);
  await close();
  if (weightFileBytes > MOST_BYTES || !files.some(({ name }) => name === 'tokenizer.json')) return [];
  const prompt = (await readText(text)).text.trim().split(/\s+/).slice(0, WORDS).join(' ');
  const say = async (model: string): Promise<string> =>
    (
      await generate(model, {
        prompt,
        maxTokens: TOKENS,
        threads: run.threads,
        ...(run.signal && { signal: run.signal }),
      })
    ).text;
  return [{ prompt, before: await say(source), after: await say(artefact) }];
}
