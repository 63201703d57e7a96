// `quantization_config` of config.json under `quant_method: "compressed-tensors"`: what it says, and which of it Pith
// can restore.
//
// Which group a module belongs to: transformers and vLLM decide by `targets` (a class name such as "Linear", a module
// name, or `re:` with a Python regular expression) and `ignore`. Pith decides by the tensors that are stored (see
// `find-weights.ts`), because regular expressions from strangers can be made to run for ever.
//
// Source: compressed-tensors 0.20, `quantization/quant_config.py` and `quant_args.py`.
import { z } from 'zod';
import { PithError, type ActivationQuantization } from '@pith/tensor-core';
import type { JsonValue } from '../json/parse-json.ts';
import type { SparseFormat } from './sparse-pieces.ts';

/** Formats that Pith reads and writes. */
export type CompressedFormat = 'pack-quantized' | 'int-quantized' | 'float-quantized';

/** Formats of the package that are refused by name, with what is missing. */
const MISSING: Readonly<Record<string, string>> = Object.freeze({
  'nvfp4-pack-quantized': 'FP4 codes with FP8 scales and a global scale',
  'mxfp4-pack-quantized': 'FP4 codes with shared exponents',
  'mxfp6-pack-quantized': 'FP6 codes with shared exponents',
  'mxfp8-quantized': 'FP8 codes with shared exponents',
  'marlin-24': 'sparse weights in the order of one kernel',
  fakequant: 'weights that were never compressed',
  dense: 'weights that were never compressed',
});

const args = z.object({
  num_bits: z.int().min(1).max(32).default(8),
  type: z.enum(['int', 'float']).default('int'),
  symmetric: z.boolean().default(true),
  group_size: z.int().nullish(),
  strategy: z.string().nullish(),
  block_structure: z.unknown().optional(),
  dynamic: z.union([z.boolean(), z.string()]).nullish(),
  actorder: z.union([z.string(), z.boolean()]).nullish(),
  scale_dtype: z.string().nullish(),
});

const group = z.object({
  targets: z.array(z.string()).default([]),
  weights: args.nullish(),
  input_activations: args.nullish(),
  output_activations: args.nullish(),
  format: z.string().nullish(),
});

const config = z.object({
  quant_method: z.string(),
  format: z.string().nullish(),
  quantization_status: z.string().nullish(),
  config_groups: z.record(z.string(), z.union([group, z.array(z.string())])).optional(),
  ignore: z.array(z.string()).nullish(),
  sparsity_config: z.looseObject({ format: z.string().nullish() }).nullish(),
  version: z.string().nullish(),
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
  readonly strategy: 'tensor' | 'channel' | 'group';
  /** Columns of a group; only for strategy `group`. */
  readonly groupSize?: number;
  /** How a runtime quantizes the inputs; absent: not at all. */
  readonly activations?: Pick<ActivationQuantization, 'kind' | 'dtype' | 'symmetric'>;
  /** Modules that it is for: names, classes, or `re:` patterns. Not used for reading. */
  readonly targets: readonly string[];
}

/** What a checkpoint's `quantization_config` says. */
export interface CompressedConfig {
  /** Groups that have weights. */
  readonly groups: readonly CompressedGroup[];
  /** Modules that stay dense: names, classes, or `re:` patterns. */
  readonly ignore: readonly string[];
  /** How weights are stored that are sparse and not quantized; absent where there are none. */
  readonly sparsity?: SparseFormat;
  /** Version of the library that wrote the checkpoint. */
  readonly version: string | undefined;
}

/**
 * Reads a `quantization_config`. Fields that do not change the stored values (observers, `zp_dtype`) are passed over.
 *
 * @throws PithError `CT_CONFIG_INVALID`, `CT_METHOD_UNSUPPORTED` (another quant_method), `CT_FORMAT_UNSUPPORTED` and
 * `CT_SCHEME_UNSUPPORTED` (naming what is missing).
 */
export function readQuantizationConfig(value: JsonValue, file: string): CompressedConfig {
  const method =
    typeof value === 'object' && value !== null && 'quant_method' in value ? value.quant_method : undefined;
  if (typeof method === 'string' && method !== 'compressed-tensors') {
    throw new PithError(
      'CT_METHOD_UNSUPPORTED',
      `read quantization_config: ${file} has weights quantized by "${method.slice(0, 80)}", only compressed-tensors is ` +
        `read; start from the unquantized checkpoint`,
      { details: { file, method } },
    );
  }
  const parsed = config.safeParse(value);
  if (!parsed.success) {
    const problems = parsed.error.issues.slice(0, 10).map((issue) => `${issue.path.join('.')}: ${issue.message}`);
    throw new PithError(
      'CT_CONFIG_INVALID',
      `read quantization_config: ${file} must hold a compressed-tensors configuration: ${problems.join('; ')}; get the ` +
        `file again`,
      { details: { file, problems } },
    );
  }
  const { data } = parsed;
  const sparse = data.sparsity_config?.format;
  const sparsity = sparse === 'sparse-bitmask' || sparse === 'sparse-24-bitmask' ? sparse : undefined;
  if (sparse && sparse !== 'dense' && sparsity === undefined) throw unsupportedFormat(sparse, file);
  if (sparsity === undefined && data.config_groups === undefined) throw nothingSaid(file);
  const groups = Object.entries(data.config_groups ?? {}).flatMap(([name, one]) => {
    if (Array.isArray(one)) throw unsupportedScheme(`the preset "${name}" instead of its values`, name, file);
    return one.weights ? [readGroup(name, one, data.format, file)] : [];
  });
  const common = { groups, ignore: data.ignore ?? [], version: data.version ?? undefined };
  return sparsity === undefined ? common : { ...common, sparsity };
}

function readGroup(
  name: string,
  one: z.infer<typeof group>,
  globalFormat: string | null | undefined,
  file: string,
): CompressedGroup {
  const weights = one.weights!;
  const format = one.format ?? globalFormat ?? 'dense';
  if (format !== 'pack-quantized' && format !== 'int-quantized' && format !== 'float-quantized') {
    throw unsupportedFormat(format, file);
  }
  const { group_size: size, num_bits: bits, type, symmetric } = weights;
  const strategy =
    weights.strategy ?? (size === undefined || size === null ? 'tensor' : size > 0 ? 'group' : 'channel');
  if (strategy !== 'tensor' && strategy !== 'channel' && strategy !== 'group') {
    throw unsupportedScheme(`strategy "${strategy}"`, name, file);
  }
  if (weights.actorder === 'group' || weights.actorder === true) {
    throw unsupportedScheme('columns in another order (actorder "group")', name, file);
  }
  if (strategy === 'group' && !(typeof size === 'number' && size > 0)) {
    throw unsupportedScheme('groups without a size', name, file);
  }
  if (type === 'int' ? bits < 2 || bits > 8 : bits !== 8)
    throw unsupportedScheme(`${bits}-bit ${type} codes`, name, file);
  if (type === 'float' && !symmetric) throw unsupportedScheme('floating-point codes with zero points', name, file);
  if ((type === 'float') !== (format === 'float-quantized')) {
    throw unsupportedScheme(`${type} codes in the format ${format}`, name, file);
  }
  if (weights.scale_dtype === 'torch.uint8') throw unsupportedScheme('scales that are exponents', name, file);
  const activations = readActivations(one.input_activations, name, file);
  return {
    name,
    format,
    type,
    bits,
    symmetric,
    strategy,
    targets: one.targets,
    ...(activations && { activations }),
    ...(strategy === 'group' && { groupSize: size! }),
  };
}

function nothingSaid(file: string): PithError {
  return new PithError(
    'CT_CONFIG_INVALID',
    `read quantization_config: ${file} must have config_groups or a sparsity_config with a format, it has neither; get the ` +
      'file again',
    { details: { file } },
  );
}

function readActivations(
  given: z.infer<typeof args> | null | undefined,
  name: string,
  file: string,
): CompressedGroup['activations'] {
  if (given === null || given === undefined) return undefined;
  const { num_bits: bits, type, symmetric, strategy, dynamic } = given;
  if (bits !== 8) throw unsupportedScheme(`${bits}-bit activations`, name, file);
  const dtype = type === 'int' ? 'i8' : 'f8_e4m3';
  if (dtype === 'f8_e4m3' && !symmetric)
    throw unsupportedScheme('floating-point activations with zero points', name, file);
  if (dynamic === true && strategy === 'token') return { kind: 'token-dynamic', dtype, symmetric };
  if (dynamic !== true && typeof dynamic !== 'string' && (strategy ?? 'tensor') === 'tensor') {
    return { kind: 'tensor-static', dtype, symmetric };
  }
  throw unsupportedScheme(
    `activations with ${dynamic ? 'dynamic' : 'static'} scales per ${strategy ?? 'tensor'}`,
    name,
    file,
  );
}

function unsupportedFormat(format: string, file: string): PithError {
  const missing = MISSING[format];
  return new PithError(
    'CT_FORMAT_UNSUPPORTED',
    `read quantization_config: ${file} has the format "${format.slice(0, 80)}", which is not read yet` +
      `${missing === undefined ? '' : ` (missing: ${missing})`}; pack-quantized, int-quantized and float-quantized are`,
    { details: { file, format } },
  );
}

function unsupportedScheme(what: string, name: string, file: string): PithError {
  return new PithError(
    'CT_SCHEME_UNSUPPORTED',
    `read quantization_config: config group "${name.slice(0, 80)}" of ${file} has ${what}, which is not read yet`,
    { details: { file, group: name, what } },
  );
}
