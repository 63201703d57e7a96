// The formats in which quantized weights can be written, by the names that options and recipes have. A format is added with
// a line in the table.
import { nearestWord, PithError } from '@pith/tensor-core';
import { compressedTensors } from '../compressed-tensors/format.ts';
import { awq } from '../awq/format.ts';
import { gptq } from '../gptq/format.ts';
import { hqq } from '../hqq/format.ts';
import { mlx } from '../mlx/format.ts';
import type { WeightFormat } from './weight-format.ts';

const FORMATS: Readonly<Record<string, WeightFormat>> = Object.freeze({
  'compressed-tensors': compressedTensors,
  gptq,
  awq,
  mlx,
  hqq,
});

/** The names that {@link weightFormat} knows, the default first. */
export const WEIGHT_FORMATS: readonly string[] = Object.freeze(Object.keys(FORMATS));

/**
 * A format by its name.
 *
 * @throws PithError `FORMAT_UNKNOWN` with the nearest name.
 */
export function weightFormat(name: string): WeightFormat {
  const format = Object.hasOwn(FORMATS, name) ? FORMATS[name] : undefined;
  if (format !== undefined) return format;
  const near = nearestWord(name, WEIGHT_FORMATS);
  throw new PithError(
    'FORMAT_UNKNOWN',
    `format: must be one of ${WEIGHT_FORMATS.join(', ')}, got "${name.slice(0, 60)}"` +
      (near === undefined ? '; name one of these' : `; did you mean ${near}?`),
    { details: { format: name.slice(0, 200), known: WEIGHT_FORMATS } },
  );
}
