// `quantization` of config.json, as mlx-lm writes it (and again as `quantization_config`): bits and group size of all
// modules, and under the path of a module what it has of its own, or false where it is dense.
//
// Source: mlx-lm 0.32 (`utils.load_model`, `quantize_model`).
import { z } from 'zod';
import { FormatFaults } from '../formats/read-modules.ts';
import type { JsonValue } from '../json/parse-json.ts';
import { MICRO_MODES } from './micro-modes.ts';

/** Bits of affine codes. */
export const MLX_BITS: readonly number[] = Object.freeze([2, 3, 4, 5, 6, 8]);
/** Columns of a group. */
export const MLX_GROUPS: readonly number[] = Object.freeze([32, 64, 128]);
/** Most modules with entries of their own. */
const MOST_MODULES = 100_000;

export const mlxFaults = new FormatFaults('MLX', 'mlx');

const entry = z.object({
  bits: z.int().min(1).max(32).optional(),
  group_size: z.int().min(1).max(65536).optional(),
  mode: z.string().max(100).nullish(),
});
const config = entry.catchall(z.unknown());

/** How a module is coded. */
export interface MlxCoding {
  /** Bits of a code. */
  readonly bits: number;
  /** Columns of a group. */
  readonly groupSize: number;
  /** `affine`, or a name of `MICRO_MODES`. */
  readonly mode: string;
}

/** What a checkpoint says of its MLX weights. */
export interface MlxConfig {
  /** Of a module by its path. */
  codingOf(module: string): MlxCoding;
}

/** What a mode has where nothing is said; those of floating-point codes have nothing else. */
const DEFAULTS: Readonly<Record<string, { readonly bits: number; readonly groupSize: number }>> = {
  affine: { bits: 4, groupSize: 64 },
  ...MICRO_MODES,
};

/**
 * Reads an MLX configuration.
 *
 * @throws PithError `MLX_CONFIG_INVALID`, `MLX_UNSUPPORTED` (modes, bits and groups that MLX does not have).
 */
export function readMlxConfig(value: JsonValue, file: string): MlxConfig {
  const given = mlxFaults.config(config, value, file);
  const modules = new Map<string, MlxCoding>();
  const global = codingOf(given, undefined, file);
  const entries = Object.entries(given).filter(([, one]) => typeof one === 'object' && one !== null);
  if (entries.length > MOST_MODULES) {
    throw mlxFaults.unsupported(`entries for ${entries.length} modules`, file, `at most ${MOST_MODULES} are`);
  }
  for (const [module, one] of entries) {
    modules.set(module, codingOf(mlxFaults.config(entry, one as JsonValue, file), global, file));
  }
  return { codingOf: (module) => modules.get(module) ?? global };
}

function codingOf(given: z.infer<typeof entry>, global: MlxCoding | undefined, file: string): MlxCoding {
  const mode = given.mode ?? global?.mode ?? 'affine';
  const known = Object.hasOwn(DEFAULTS, mode) ? DEFAULTS[mode] : undefined;
  if (known === undefined) {
    throw mlxFaults.unsupported(`the mode "${mode}"`, file, `${Object.keys(DEFAULTS).join(', ')} are`);
  }
  const same = global?.mode === mode ? global : undefined;
  const bits = given.bits ?? same?.bits ?? known.bits;
  const groupSize = given.group_size ?? same?.groupSize ?? known.groupSize;
  if (mode === 'affine' && !(MLX_BITS.includes(bits) && MLX_GROUPS.includes(groupSize))) {
    throw mlxFaults.unsupported(
      `codes of ${bits} bits in groups of ${groupSize}`,
      file,
      `${MLX_BITS.join(', ')} bits and groups of ${MLX_GROUPS.join(', ')} are`,
    );
  }
  if (mode !== 'affine' && (bits !== known.bits || groupSize !== known.groupSize)) {
    throw mlxFaults.unsupported(
      `${mode} of ${bits} bits in groups of ${groupSize}`,
      file,
      `${known.bits} bits and groups of ${known.groupSize} are`,
    );
  }
  return { bits, groupSize, mode };
}
