// Quantizations that are exports: where a format is named with a variant and nothing is said of a method, it rounds as its own
// tools do, and `quantize` writes the very files of `exportModel`.
import { outputFormat, ROUNDING_FORMATS, schemeOfVariant, splitFormat, holdsNoCodes } from '../export/output-format.ts';
import type { QuantizeOptions } from './types.ts';

/** Options that say how a method codes weights. */
const OF_METHODS = [
  'scheme',
  'schemeFor',
  'range',
  'scaleDType',
  'actOrder',
  'damping',
  'norm',
  'importance',
  'steps',
  'learningRate',
  'data',
  'include',
  'ignore',
] as const satisfies readonly (keyof QuantizeOptions)[];

/**
 * The format as exports know it, where the rounding is its own; undefined where a method codes the weights.
 *
 * @throws PithError `FORMAT_HOLDS_NO_CODES` where options of a method go with a format that only rounds by itself.
 */
export function ownRounding(options: QuantizeOptions): string | undefined {
  const { format, method } = options;
  if (format === undefined) return undefined;
  const { name, variant } = splitFormat(format);
  const only = Object.hasOwn(ROUNDING_FORMATS, name);
  if (!only && variant === undefined) return undefined;
  const said = OF_METHODS.filter((key) => isSaid((options as Readonly<Record<string, unknown>>)[key])).map(String);
  if (options.generic === true) said.push('generic');
  if (method !== undefined && method !== 'rtn') said.unshift(`method ${method}`);
  if (said.length === 0 && name !== 'safetensors') return format;
  if (only)
    throw holdsNoCodes(
      format,
      `${name} ${ROUNDING_FORMATS[name]}${said.length === 0 ? '' : `; got also ${said.join(', ')}`}`,
    );
  return undefined;
}

/**
 * The options with the scheme that the variant of their format stands for, and with the format of the method where it has one of
 * its own: HQQ's zero points have no place in the usual one.
 *
 * @throws PithError as `schemeOfVariant`, `outputFormat`
 */
export function withVariantScheme<T extends QuantizeOptions>(options: T): T {
  const { format, scheme: asked, method } = options;
  if (format === undefined && method === 'hqq') return { ...options, format: 'hqq' };
  // A name that there is not is told with the other options.
  if (format === undefined || splitFormat(format).variant === undefined) return options;
  const scheme = schemeOfVariant(outputFormat(format), asked);
  return scheme === undefined ? options : { ...options, scheme };
}

function isSaid(value: unknown): boolean {
  if (value === undefined) return false;
  return typeof value !== 'object' || value === null || Object.keys(value).length > 0;
}
