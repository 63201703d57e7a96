// `quantization_config` of config.json under `quant_method: "hqq"`, and the small tensors in which every module says the same of
// itself: those are what is read, the configuration is only checked.
//
// Source: hqq 0.2.8 (`HQQLinear.state_dict`), transformers 4.57 and 5 (`HqqConfig`).
import type { ScaleDType } from '@pith/tensor-core';
import { z } from 'zod';
import { FormatFaults } from '../formats/read-modules.ts';

export const hqqFaults = new FormatFaults('HQQ', 'hqq');

const parameters = z.object({
  nbits: z.number().min(1).max(8),
  group_size: z
    .int()
    .min(1)
    .max(2 ** 24)
    .nullish(),
  axis: z.int().min(0).max(1).nullish(),
});

/** What a configuration may say: the parameters of all weights, or of tags of modules. */
export const hqqConfig = z.object({
  quant_config: z.union([
    z.object({
      weight_quant_params: parameters,
      scale_quant_params: z.null().optional(),
      zero_quant_params: z.null().optional(),
    }),
    z.record(z.string(), z.unknown()),
  ]),
  skip_modules: z.array(z.string().max(1000)).max(100_000).nullish(),
});

/** How dtypes are written in tensors. */
export const HQQ_DTYPES: Readonly<Record<ScaleDType, string>> = {
  f32: 'torch.float32',
  f16: 'torch.float16',
  bf16: 'torch.bfloat16',
};

/** Suffixes of the tensors of a module that hold one number or a word. */
export const HQQ_FACTS = {
  i32: ['nbits', 'group_size', 'axis'],
  u8: [
    'packing',
    'unpack_view_dtype',
    'view_as_float',
    'quant_scale',
    'quant_zero',
    'compute_dtype',
    'offload_meta',
    'encoded_state_dict',
    'stores_quant_config',
    'channel_wise',
    'optimize',
    'round_zero',
  ],
} as const;

/** All suffixes of the tensors of a module but its bias. */
export const HQQ_SUFFIXES: readonly string[] = Object.freeze([
  'W_q',
  'scale',
  'zero',
  'shape',
  ...HQQ_FACTS.i32,
  ...HQQ_FACTS.u8,
]);
