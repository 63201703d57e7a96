// The name of an output, looked at before any work.
import { PithError } from '@pith/tensor-core';

/**
 * Refuses an empty name, which the system would take for the current directory: a variable of a script that was not set.
 *
 * @throws PithError `OUTPUT_NAME_EMPTY`
 */
export function requireOutputName(operation: string, output: string): void {
  if (output !== '') return;
  throw new PithError('OUTPUT_NAME_EMPTY', `${operation}: the output must have a name, got an empty text; name one`, {
    details: { path: output },
  });
}
