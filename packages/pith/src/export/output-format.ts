// What `--format` means where a method codes the weights. One rule: a format alone stores the codes of the method, whatever they
// are, and refuses those that it cannot hold exactly; a variant behind a colon names the codes too, and stands for the scheme.
// Nothing is ever rounded a second time on its way into a format.
import { schemeName, WEIGHT_FORMATS, weightFormat, type WeightFormat } from '@pith/checkpoint';
import { parseScheme } from '@pith/quant';
import { nearestWord, PithError, type StoredScheme } from '@pith/tensor-core';
import { codedFormat, type Coding } from './codings.ts';

/** A format in which the codes of methods are stored. */
export interface OutputFormat {
  /** As it was asked for: `mlx:4`. */
  readonly text: string;
  /** How codes lie in files. */
  readonly format: WeightFormat;
  /** Which codes they must be; any that the format holds when left out. */
  readonly coding?: Coding;
}

/** Formats that hold no codes of methods, and what they do instead. */
export const ROUNDING_FORMATS: Readonly<Record<string, string>> = Object.freeze({
  gguf: 'makes its blocks itself, with --calibration or --imatrix for what counts',
  onnx: 'rounds while it is written',
  bitsandbytes: 'rounds to a table of its own',
  safetensors: 'holds dense weights',
});

/** Name and variant of a format as it is typed, in lower case; the variant is undefined where there is no colon. */
export function splitFormat(text: string): { readonly name: string; readonly variant: string | undefined } {
  const [name = '', ...rest] = text.toLowerCase().split(':');
  return { name, variant: rest.length === 0 ? undefined : rest.join(':') };
}

/**
 * A format in which the codes of methods are stored, with its variant.
 *
 * @throws PithError `FORMAT_HOLDS_NO_CODES` for a format that rounds by itself, `FORMAT_UNKNOWN`, `FORMAT_VARIANT_UNKNOWN`.
 */
export function outputFormat(text = 'compressed-tensors'): OutputFormat {
  const { name, variant } = splitFormat(text);
  if (Object.hasOwn(ROUNDING_FORMATS, name)) throw holdsNoCodes(text, `${name} ${ROUNDING_FORMATS[name]}`);
  const format = weightFormat(name);
  if (variant === undefined) return { text, format };
  const coded = codedFormat(name);
  if (coded === undefined || !(coded.variants.includes(variant) || coded.accepts(variant))) {
    const known = coded?.variants ?? [];
    const near = nearestWord(variant, known);
    throw new PithError(
      'FORMAT_VARIANT_UNKNOWN',
      `format: ${name} must have a variant behind its colon, got "${variant.slice(0, 60)}"; ` +
        (known.length === 0 ? 'it has none, name a scheme' : `known are ${known.join(', ')}`) +
        (near === undefined ? '' : `; did you mean ${near}?`),
      { details: { format: name, got: variant.slice(0, 60), known: [...known] } },
    );
  }
  return { text, format, coding: coded.coding(variant) };
}

/** Of a format that only its own rounding fills. */
export function holdsNoCodes(text: string, why: string): PithError {
  return new PithError(
    'FORMAT_HOLDS_NO_CODES',
    `format: codes of a method must be stored in one of ${WEIGHT_FORMATS.join(', ')}, got "${text.slice(0, 60)}": ${why}; ` +
      'write it from the dense model (pith export), or choose one of these',
    { details: { format: text.slice(0, 60), known: [...WEIGHT_FORMATS] } },
  );
}

/**
 * The scheme that a variant stands for.
 *
 * @param asked scheme that was named beside it; must have the codes of the variant.
 * @throws PithError `FORMAT_HOLDS_NO_CODES` for a variant whose codes no method makes, `FORMAT_SCHEME_DIFFERS`, `SCHEME_UNKNOWN`.
 */
export function schemeOfVariant({ text, coding }: OutputFormat, asked: string | undefined): string | undefined {
  if (coding === undefined) return asked;
  if (coding.scheme === undefined) throw holdsNoCodes(text, 'no method makes its codes');
  if (asked === undefined) return coding.scheme;
  const { weights, activations } = parseScheme(asked);
  if (activations === undefined && coding.holds({ scaleDType: 'f32', ...weights } as StoredScheme)) return asked;
  throw new PithError(
    'FORMAT_SCHEME_DIFFERS',
    `format: "${text}" stands for the scheme ${coding.scheme}, got ${asked} beside it; leave one of the two out`,
    { details: { format: text, scheme: asked, variant: coding.scheme } },
  );
}

/** What of coded weights is not as the variant of a format has it; empty without a variant. */
export function otherCodes(
  { text, coding }: OutputFormat,
  weights: Iterable<{ readonly name: string; readonly scheme?: StoredScheme }>,
) {
  if (coding === undefined) return [];
  return [...weights].flatMap(({ name, scheme }) => {
    if (scheme === undefined || coding.holds(scheme)) return [];
    const plain = text.split(':')[0]!;
    const message =
      `store "${name}" as ${text}: its codes must be those of the variant${coding.scheme === undefined ? '' : ` (${coding.scheme})`}, ` +
      `got ${schemeName(scheme)}; quantize it alike, or name the format alone (${plain})`;
    return [{ code: 'FORMAT_SCHEME_DIFFERS', name, message }];
  });
}
