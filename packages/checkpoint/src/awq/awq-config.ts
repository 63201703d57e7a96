// `quantization_config` of config.json under `quant_method: "awq"`.
//
// Source: AutoAWQ 0.2.9, as transformers 5.17 and vLLM read it.
import { z } from 'zod';
import { FormatFaults } from '../formats/read-modules.ts';
import type { JsonValue } from '../json/parse-json.ts';

export const awqFaults = new FormatFaults('AWQ', 'awq');

const config = z.object({
  bits: z.int().min(1).max(32),
  group_size: z
    .int()
    .min(-1)
    .max(2 ** 24)
    .nullish(),
  zero_point: z.boolean().nullish(),
  version: z.string().max(100).nullish(),
});

/** What a checkpoint says of its AWQ weights. */
export interface AwqConfig {
  /** Columns of a group; -1 for all of them. */
  readonly groupSize: number;
}

/**
 * Reads an AWQ configuration.
 *
 * @throws PithError `AWQ_CONFIG_INVALID`, `AWQ_UNSUPPORTED` (layouts other than GEMM, bits other than 4).
 */
export function readAwqConfig(value: JsonValue, file: string): AwqConfig {
  const { bits, version, group_size: groupSize } = awqFaults.config(config, value, file);
  const layout = (version ?? 'gemm').toLowerCase();
  if (layout !== 'gemm') {
    throw awqFaults.unsupported(`weights in the layout "${layout}"`, file, 'convert it with AutoAWQ to version "gemm"');
  }
  if (bits !== 4) throw awqFaults.unsupported(`codes of ${bits} bits`, file, '4 bits are');
  if (groupSize === 0) throw awqFaults.unsupported('groups of 0 columns', file, 'correct group_size in config.json');
  return { groupSize: groupSize ?? 128 };
}
