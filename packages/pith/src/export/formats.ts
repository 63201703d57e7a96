// The formats that models are exported to: one line each.
import { nearestWord, PithError } from '@pith/tensor-core';
import type { ExportFormat } from './format.ts';
import { codedExports } from './formats/coded.ts';
import { compressedTensorsExport } from './formats/compressed-tensors.ts';
import { gguf } from './formats/gguf.ts';
import { onnx } from './formats/onnx.ts';
import { safetensors } from './formats/safetensors.ts';

/** Every format, in the order of the help. */
export const EXPORT_FORMATS: readonly ExportFormat[] = [
  gguf,
  onnx,
  safetensors,
  compressedTensorsExport,
  ...codedExports,
];

/** A format and one of its variants. */
export interface ChosenFormat {
  readonly format: ExportFormat;
  /** `''` for a format without variants. */
  readonly variant: string;
}

/**
 * Reads `NAME[:VARIANT]`.
 *
 * @throws PithError `FORMAT_UNKNOWN`, `FORMAT_VARIANT_UNKNOWN` with what is known and the nearest of it.
 */
export function parseFormat(text: string, formats: readonly ExportFormat[] = EXPORT_FORMATS): ChosenFormat {
  const colon = text.indexOf(':');
  const name = (colon < 0 ? text : text.slice(0, colon)).toLowerCase();
  const format = formats.find((candidate) => candidate.name === name);
  if (format === undefined) {
    const known = formats.map((candidate) => candidate.name);
    throw unknown('FORMAT_UNKNOWN', 'a format', name, known);
  }
  if (colon < 0) return { format, variant: format.variants[0] ?? '' };
  const variant = text.slice(colon + 1).toLowerCase();
  if (format.variants.includes(variant) || format.accepts?.(variant) === true) return { format, variant };
  throw unknown('FORMAT_VARIANT_UNKNOWN', `a variant of ${name}`, variant, format.variants);
}

function unknown(code: string, what: string, got: string, known: readonly string[]): PithError {
  const near = nearestWord(got, known);
  const list = known.length === 0 ? 'it has none' : `known are ${known.join(', ')}`;
  return new PithError(
    code,
    `export: --format must name ${what}, got "${got.slice(0, 60)}"; ${list}` +
      (near === undefined ? '' : `; did you mean ${near}?`),
    { details: { got: got.slice(0, 60), known: [...known], ...(near !== undefined && { near }) } },
  );
}
