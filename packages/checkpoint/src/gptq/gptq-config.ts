// `quantization_config` of config.json under `quant_method: "gptq"`.
//
// Source: AutoGPTQ 0.7.1 and GPTQModel 7.7 (`QuantizeConfig`), as transformers 5.17 reads it. What only says how the codes
// were found (damping, order of the layers) is passed over.
import { z } from 'zod';
import { FormatFaults } from '../formats/read-modules.ts';
import type { JsonValue } from '../json/parse-json.ts';

/** Bits of codes that the format packs. */
export const GPTQ_BITS: readonly number[] = Object.freeze([2, 3, 4, 8]);
/** Largest group that is believed. */
const MOST_GROUP = 2 ** 24;

export const gptqFaults = new FormatFaults('GPTQ', 'gptq');

const config = z.object({
  bits: z.int().min(1).max(32),
  group_size: z.int().min(-1).max(MOST_GROUP).nullish(),
  desc_act: z.boolean().nullish(),
  sym: z.boolean().nullish(),
  checkpoint_format: z.string().max(100).nullish(),
  pack_dtype: z.string().max(100).nullish(),
  is_marlin_format: z.boolean().nullish(),
  dynamic: z.union([z.record(z.string(), z.unknown()), z.literal(false)]).nullish(),
});

/** What a checkpoint says of its GPTQ weights. */
export interface GptqConfig {
  /** 2, 3, 4 or 8. */
  readonly bits: number;
  /** Columns of a group; -1 for all of them. */
  readonly groupSize: number;
  /** True where `g_idx` gives columns a group in another order than they lie in. */
  readonly actOrder: boolean;
  /** Zero points are half of the range. */
  readonly symmetric: boolean;
  /** What is added to a stored zero point: 1 in version 1, 0 in version 2. */
  readonly zeroOffset: 0 | 1;
  /** True where modules may have bits and groups of their own. */
  readonly mixed: boolean;
}

/**
 * Reads a GPTQ configuration.
 *
 * @throws PithError `GPTQ_CONFIG_INVALID`, `GPTQ_UNSUPPORTED` (layouts of single kernels, other bits, other words).
 */
export function readGptqConfig(value: JsonValue, file: string): GptqConfig {
  const given = gptqFaults.config(config, value, file);
  const format = given.checkpoint_format ?? 'gptq';
  const instead = 'convert it with GPTQModel to checkpoint_format "gptq"';
  if ((format !== 'gptq' && format !== 'gptq_v2') || given.is_marlin_format === true) {
    throw gptqFaults.unsupported(
      `weights in the layout of a kernel ("${given.is_marlin_format === true ? 'marlin' : format}")`,
      file,
      instead,
    );
  }
  if (!GPTQ_BITS.includes(given.bits)) {
    throw gptqFaults.unsupported(`codes of ${given.bits} bits`, file, `${GPTQ_BITS.join(', ')} bits are`);
  }
  if ((given.pack_dtype ?? 'int32') !== 'int32') {
    throw gptqFaults.unsupported(`codes packed into ${given.pack_dtype}`, file, instead);
  }
  const groupSize = given.group_size ?? -1;
  if (groupSize === 0) throw gptqFaults.unsupported('groups of 0 columns', file, 'correct group_size in config.json');
  return {
    bits: given.bits,
    groupSize,
    actOrder: given.desc_act ?? false,
    symmetric: given.sym ?? true,
    zeroOffset: format === 'gptq_v2' ? 0 : 1,
    mixed: typeof given.dynamic === 'object' && given.dynamic !== null && Object.keys(given.dynamic).length > 0,
  };
}
