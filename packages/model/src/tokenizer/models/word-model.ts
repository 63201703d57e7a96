import { PithError } from '@pith/tensor-core';

/** What a model of a tokenizer.json does: the ids of one word, as normalizer and pre-tokenizer leave it. */
export type WordModel = (word: string) => ArrayLike<number>;

/** A fault met while a text is turned into ids or back. */
export function failure(operation: string, reason: string): PithError {
  const short = reason.slice(0, 300);
  return new PithError('TOKENIZER_FAILED', `${operation}: ${short}`, { details: { reason: short } });
}
