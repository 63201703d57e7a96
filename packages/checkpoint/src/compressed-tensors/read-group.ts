// A config group: how its weights are coded and stored, and how a runtime codes their inputs.
import { PithError, type Granularity, type MicroScaleDType } from '@pith/tensor-core';
import { readActivations, type ActivationForm } from './read-activations.ts';
import { strategyOf, unsupportedScheme, type GroupArgs, type QuantizationArgs } from './config-schema.ts';

/** Formats that Pith reads and writes. */
export type CompressedFormat =
  | 'pack-quantized'
  | 'int-quantized'
  | 'float-quantized'
  | 'nvfp4-pack-quantized'
  | 'mxfp4-pack-quantized'
  | 'mxfp8-quantized';

/** What a format allows of its weights; `scales` where they have a dtype of their own. */
interface FormatRule {
  readonly type: 'int' | 'float';
  readonly bits: readonly number[];
  readonly strategies: readonly string[];
  /** The one group size that runtimes and the library know. */
  readonly groupSize?: number;
  readonly scales?: MicroScaleDType;
}

const PLAIN = ['tensor', 'channel', 'group'];

const RULES: Readonly<Record<CompressedFormat, FormatRule>> = Object.freeze({
  'pack-quantized': { type: 'int', bits: [2, 3, 4, 5, 6, 7, 8], strategies: PLAIN },
  'int-quantized': { type: 'int', bits: [2, 3, 4, 5, 6, 7, 8], strategies: PLAIN },
  'float-quantized': { type: 'float', bits: [8], strategies: [...PLAIN, 'block'] },
  'nvfp4-pack-quantized': {
    type: 'float',
    bits: [4],
    strategies: ['tensor_group', 'group'],
    groupSize: 16,
    scales: 'f8_e4m3',
  },
  'mxfp4-pack-quantized': { type: 'float', bits: [4], strategies: ['group'], groupSize: 32, scales: 'f8_e8m0' },
  'mxfp8-quantized': { type: 'float', bits: [8], strategies: ['group'], groupSize: 32, scales: 'f8_e8m0' },
});

/** Names of the dtypes that scales of a format of their own may be said to have. */
const SCALE_NAMES: Readonly<Record<MicroScaleDType, string>> = Object.freeze({
  f8_e8m0: 'torch.uint8',
  f8_e4m3: 'torch.float8_e4m3fn',
});

/** Formats of the package that are refused by name, with what is missing. */
const MISSING: Readonly<Record<string, string>> = Object.freeze({
  'mxfp6-pack-quantized': 'FP6 codes with shared exponents',
  fakequant: 'weights that were never compressed',
  dense: 'weights that were never compressed',
});

/** How the weights of one group are coded. */
export interface CompressedGroup {
  /** Key in `config_groups`. */
  readonly name: string;
  /** Layout of the stored tensors. */
  readonly format: CompressedFormat;
  /** Integer or floating-point codes. */
  readonly type: 'int' | 'float';
  /** Bits of a code. */
  readonly bits: number;
  /** Without zero points. */
  readonly symmetric: boolean;
  /** Which weights share a scale. */
  readonly granularity: Granularity;
  /** Dtype of the scales where the format prescribes one. */
  readonly scaleDType?: MicroScaleDType;
  /** How a runtime quantizes the inputs; absent: not at all. */
  readonly activations?: ActivationForm;
  /** Modules that it is for: names, classes, or `re:` patterns. Not used for reading. */
  readonly targets: readonly string[];
}

/** What a group is read with. */
export interface GroupContext {
  /** `format` of the whole configuration, for groups that have none. */
  readonly format: string | null | undefined;
  /** For errors. */
  readonly file: string;
}

/**
 * Reads a group; undefined for one that says nothing of weights.
 *
 * @throws PithError `CT_FORMAT_UNSUPPORTED`, `CT_SCHEME_UNSUPPORTED`.
 */
export function readGroup(
  name: string,
  one: GroupArgs,
  { format: globalFormat, file }: GroupContext,
): CompressedGroup | undefined {
  const { weights, targets } = one;
  if (!weights) return undefined;
  const format = formatOf(one.format ?? globalFormat ?? 'dense', weights, file);
  const refuse = (what: string) => unsupportedScheme(what, name, file);
  const { num_bits: bits, type, symmetric, group_size: size } = weights;
  const rule = RULES[format];
  const strategy = strategyOf(weights);
  if (type !== rule.type) throw refuse(`${type} codes in the format ${format}`);
  if (!rule.bits.includes(bits)) throw refuse(`${bits}-bit ${type} codes in the format ${format}`);
  if (!rule.strategies.includes(strategy)) throw refuse(`strategy "${strategy.slice(0, 40)}" in the format ${format}`);
  if (type === 'float' && !symmetric) throw refuse('floating-point codes with zero points');
  if (rule.groupSize !== undefined && size !== rule.groupSize) {
    throw refuse(`groups of ${String(size)} in the format ${format}, which has groups of ${rule.groupSize}`);
  }
  const scales = weights.scale_dtype;
  if (rule.scales === undefined ? scales === SCALE_NAMES.f8_e8m0 : scales && scales !== SCALE_NAMES[rule.scales]) {
    throw refuse(`scales in ${scales} in the format ${format}`);
  }
  const activations = readActivations(one.input_activations, refuse);
  return {
    ...{ name, format, type, bits, symmetric, targets },
    granularity: granularityOf(weights, strategy, refuse),
    ...(rule.scales && { scaleDType: rule.scales }),
    ...(activations && { activations }),
  };
}

/** The format; the oldest files call both plain layouts "naive-quantized". */
function formatOf(format: string, { type }: QuantizationArgs, file: string): CompressedFormat {
  if (format === 'naive-quantized') return type === 'int' ? 'int-quantized' : 'float-quantized';
  if (Object.hasOwn(RULES, format)) return format as CompressedFormat;
  const missing = Object.hasOwn(MISSING, format) ? MISSING[format] : undefined;
  throw new PithError(
    'CT_FORMAT_UNSUPPORTED',
    `read quantization_config: ${file} has the format "${format.slice(0, 80)}", which is not read` +
      `${missing === undefined ? '' : ` (missing: ${missing})`}; ${Object.keys(RULES).join(', ')} are`,
    { details: { file, format } },
  );
}

function granularityOf(weights: QuantizationArgs, strategy: string, refuse: (what: string) => PithError): Granularity {
  if (strategy === 'tensor' || strategy === 'channel') return { kind: strategy };
  if (strategy === 'block') {
    const [rows, columns] = weights.block_structure ?? [];
    if (rows === undefined || columns === undefined) throw refuse('blocks without a block_structure');
    return { kind: 'block', rows, columns };
  }
  const { group_size: size } = weights;
  if (typeof size !== 'number' || size <= 0) throw refuse('groups without a size');
  return { kind: 'group', size };
}
