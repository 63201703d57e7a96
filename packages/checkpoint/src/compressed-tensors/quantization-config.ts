// `quantization_config` of config.json under `quant_method: "compressed-tensors"`: what it says, and which of it Pith
// can restore.
//
// Which group a module belongs to: transformers and vLLM decide by `targets` (a class name such as "Linear", a module
// name, or `re:` with a Python regular expression) and `ignore`. Pith decides by the tensors that are stored (see
// `find-modules.ts`), because regular expressions from strangers can be made to run for ever.
//
// Source: compressed-tensors 0.19, `quantization/quant_config.py` and `quant_args.py`.
import { z } from 'zod';
import { PithError, validationProblems } from '@pith/tensor-core';
import type { JsonValue } from '../json/parse-json.ts';
import { argsSchema, groupSchema, MAX_NAME_LENGTH } from './config-schema.ts';
import { MARLIN_24, readMarlinGroup, type MarlinGroup } from './marlin-24.ts';
import { presetGroup } from './presets.ts';
import { readGroup, type CompressedGroup } from './read-group.ts';
import { readKvCacheScheme, type KvCacheScheme } from './kv-cache-scheme.ts';
import type { SparseFormat } from './sparse-pieces.ts';

/** Most config groups that are read. */
const MAX_GROUPS = 1024;
/** Most names in a list of targets or of ignored modules. */
const MAX_NAMES = 200_000;

const names = z.array(z.string().max(MAX_NAME_LENGTH)).max(MAX_NAMES);

const config = z.object({
  quant_method: z.string(),
  format: z.string().nullish(),
  quantization_status: z.string().nullish(),
  config_groups: z
    .record(z.string().max(MAX_NAME_LENGTH), z.unknown())
    .refine((groups) => Object.keys(groups).length <= MAX_GROUPS, `at most ${MAX_GROUPS} groups are read`)
    .optional(),
  ignore: names.nullish(),
  kv_cache_scheme: argsSchema.nullish(),
  sparsity_config: z.looseObject({ format: z.string().nullish() }).nullish(),
  version: z.string().nullish(),
});

/** What a checkpoint's `quantization_config` says. */
export interface CompressedConfig {
  /** Groups that have weights, those of marlin-24 apart. */
  readonly groups: readonly CompressedGroup[];
  /** Groups whose weights are stored as marlin-24. */
  readonly marlin: readonly MarlinGroup[];
  /** Modules that stay dense: names, classes, or `re:` patterns. */
  readonly ignore: readonly string[];
  /** How a runtime quantizes the keys and values that it keeps; absent: not at all. */
  readonly kvCache?: KvCacheScheme;
  /** How weights are stored that are sparse; absent where there are none. */
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
  const data = parse(config, value, '', file);
  const sparsity = readSparsity(data.sparsity_config?.format, file);
  const groups: CompressedGroup[] = [];
  const marlin: MarlinGroup[] = [];
  for (const [name, given] of Object.entries(data.config_groups ?? {})) {
    const whole = Array.isArray(given) ? presetGroup(name, given, file) : given;
    const one = parse(groupSchema, whole, `config_groups.${name.slice(0, 80)}.`, file);
    if (one.weights && (one.format ?? data.format) === MARLIN_24) {
      marlin.push(readMarlinGroup(name, one, file));
      continue;
    }
    const found = readGroup(name, one, { format: data.format, file });
    if (found) groups.push(found);
  }
  const kvCache = data.kv_cache_scheme ? readKvCacheScheme(data.kv_cache_scheme, file) : undefined;
  if (sparsity === undefined && data.config_groups === undefined && kvCache === undefined) throw nothingSaid(file);
  return {
    ...{ groups, marlin },
    ignore: data.ignore ?? [],
    ...(kvCache && { kvCache }),
    ...(sparsity && { sparsity }),
    version: data.version ?? undefined,
  };
}

/** A value as its schema has it, or an error with the first offenders, their paths after `at`. */
function parse<S extends z.ZodType>(schema: S, value: unknown, at: string, file: string): z.output<S> {
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  const problems = validationProblems(parsed.error)
    .slice(0, 10)
    .map(({ path, message }) => `${at}${path}: ${message}`);
  throw new PithError(
    'CT_CONFIG_INVALID',
    `read quantization_config: ${file} must hold a compressed-tensors configuration: ${problems.join('; ')}; get the ` +
      `file again`,
    { details: { file, problems } },
  );
}

function readSparsity(format: string | null | undefined, file: string): SparseFormat | undefined {
  if (!format || format === 'dense') return undefined;
  if (format === 'sparse-bitmask' || format === 'sparse-24-bitmask') return format;
  throw new PithError(
    'CT_FORMAT_UNSUPPORTED',
    `read quantization_config: ${file} has sparse weights in the format "${format.slice(0, 80)}", which is not read; ` +
      'sparse-bitmask and sparse-24-bitmask are',
    { details: { file, format } },
  );
}

function nothingSaid(file: string): PithError {
  return new PithError(
    'CT_CONFIG_INVALID',
    `read quantization_config: ${file} must have config_groups, a kv_cache_scheme, or a sparsity_config with a format, it ` +
      'has none of them; get the file again',
    { details: { file } },
  );
}
