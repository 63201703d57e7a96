// What a checkpoint of an unknown architecture holds, in a few words: names of tensors with numbers taken out.
import { isPithError, PithError } from '@pith/tensor-core';

/** Kinds of tensors that a message names. */
const SHOWN = 12;

/** Names of tensors with their numbers as `*`, each once. */
export function tensorKinds(names: Iterable<string>): string[] {
  return [...new Set([...names].map((name) => name.slice(0, 200).replace(/\d+/g, '*')))];
}

/**
 * Does what needs a table; an architecture that has none is refused with the names of the tensors that nobody understands.
 *
 * @throws PithError `ARCHITECTURE_UNSUPPORTED`, and what `work` throws.
 */
export function withTensorNames<T>(names: Iterable<string>, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!isPithError(error) || error.code !== 'ARCHITECTURE_UNSUPPORTED') throw error;
    const kinds = tensorKinds(names);
    const more = kinds.length > SHOWN ? ` and ${kinds.length - SHOWN} more` : '';
    throw new PithError(
      'ARCHITECTURE_UNSUPPORTED',
      `${error.message}; its tensors: ${kinds.slice(0, SHOWN).join(', ')}${more}. Rounding to nearest works on its matrices ` +
        'all the same when it is asked for with --generic',
      { cause: error, details: { ...(error.details as object), tensors: kinds.slice(0, 256) } },
    );
  }
}
